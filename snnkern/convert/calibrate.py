"""Running calibration inputs through a graph: statistics of activations, shapes, and errors with their place."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor, fx

from snnkern.convert import coding, graph
from snnkern.convert.graph import ConversionError
from snnkern.convert.probe import Runner
from snnkern.convert.recipe import Site

Calibration = Tensor | Iterable[Any]
Progress = Callable[[str, float], None]
BATCH = 64
KEPT = 64  # inputs that thresholds are tuned on


def silent(what: str, share: float) -> None:
    """The progress of those who do not ask."""


def inputs_of(batch: Any, count: int) -> tuple[Tensor, ...]:
    """The first `count` tensors of a batch, copied: a tensor, or a loader's (x, label) tuple."""
    parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
    if len(parts) < count or not all(isinstance(part, Tensor) for part in parts[:count]):
        raise ValueError(f'calibration must give {count} tensors a batch, got {[type(p).__name__ for p in parts]}')
    if len({part.shape[:1] for part in parts[:count]}) > 1 or parts[0].dim() == 0:
        raise ValueError(f'calibration must give one row per input, got {[list(p.shape) for p in parts[:count]]}')
    if any(part.is_floating_point() and not part.isfinite().all() for part in parts[:count]):
        raise ValueError('calibration must be finite, got NaN or infinite values')
    return tuple(part.clone() for part in parts[:count])  # a model may overwrite its input


def batches(calibration: Calibration, count: int, coded: bool = False) -> Iterator[tuple[Tensor, ...]]:
    """The inputs of calibration, batch by batch. Raises ValueError if there is none, for NaN, and for what cannot be
    coded as spikes, if it is to be."""
    seen = False
    if isinstance(calibration, Tensor):
        calibration = calibration.split(BATCH) if calibration.dim() else [calibration]
    elif _one_batch(calibration, count):
        calibration = zip(*(part.split(BATCH) for part in calibration), strict=True)
    for batch in calibration:
        found = inputs_of(batch, count)
        for part in found if coded else ():
            coding.check('calibration', part)
        if len(found[0]):
            seen = True
            yield found
    if not seen:
        raise ValueError('calibration must hold at least one input, got none')


def _one_batch(calibration: Calibration, count: int) -> bool:
    """Whether calibration is the tuple of tensors that a model of several inputs takes."""
    several = isinstance(calibration, tuple) and count > 1 and len(calibration) == count
    return several and all(isinstance(part, Tensor) for part in calibration)


def length(calibration: Calibration, count: int) -> int | None:
    """How many batches there are, if that is known."""
    if _one_batch(calibration, count):
        return -(-len(next(iter(calibration))) // BATCH)
    if isinstance(calibration, Tensor):
        return -(-len(calibration) // BATCH)
    return len(calibration) if isinstance(calibration, Sized) else None


class Few:
    """The first `KEPT` inputs of all batches, as far as they have one shape."""

    def __init__(self) -> None:
        self.kept: list[tuple[Tensor, ...]] = []

    def add(self, batch: tuple[Tensor, ...]) -> None:
        """Keep a batch, if there is room."""
        alike = not self.kept or all(a.shape[1:] == b.shape[1:] for a, b in zip(self.kept[0], batch, strict=True))
        if alike and sum(len(inputs[0]) for inputs in self.kept) < KEPT:
            self.kept.append(batch)

    def inputs(self) -> tuple[Tensor, ...]:
        """What was kept, as one batch."""
        return tuple(torch.cat(parts)[:KEPT] for parts in zip(*self.kept, strict=True))


class Observing(Runner):
    """Runs a graph and counts the outputs of the activations.

    sites: the activations by node. Raises ConversionError, naming the call, where a value is NaN or infinite.
    """

    def __init__(self, net: fx.GraphModule, sites: dict[fx.Node, Site]) -> None:
        super().__init__(net)
        self.sites = sites

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and graph.max_pool(self.net, n) is not None:
            n.meta['negative'] = n.meta.get('negative', False) or bool((value < 0).any())
        if n in self.sites:
            site = self.sites[n]
            try:
                site.sketch.add(value)
            except ValueError as error:
                raise ConversionError(f'{graph.where(self.net, n)} has {error} in calibration') from None
        return value


@torch.no_grad()
def observe(
    net: fx.GraphModule,
    sites: dict[fx.Node, Site],
    stream: Iterable[tuple[Tensor, ...]],
    total: int | None,
    progress: Progress,
) -> tuple[Tensor, ...]:
    """Run all calibration inputs, and keep the first few for what works on real inputs (`tune`).

    total: how many batches there are, if that is known.
    """
    observing, few = Observing(net, sites), Few()
    for i, batch in enumerate(stream):
        observing.run(*batch)
        few.add(batch)
        progress('calibrating', min(1.0, (i + 1) / total) if total else 0.5)
    return few.inputs()
