"""Running calibration inputs through a graph: statistics of activations, shapes, and errors with their place."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor, fx

from snnkern.convert import graph
from snnkern.convert.graph import ConversionError
from snnkern.convert.recipe import Site

Calibration = Tensor | Iterable[Any]
Progress = Callable[[str, float], None]
BATCH = 64


def silent(what: str, share: float) -> None:
    """The progress of those who do not ask."""


def inputs_of(batch: Any, count: int) -> tuple[Tensor, ...]:
    """The first `count` tensors of a batch: a tensor, or a loader's (x, label) tuple."""
    parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
    if len(parts) < count or not all(isinstance(part, Tensor) for part in parts[:count]):
        raise ValueError(f'calibration must give {count} tensors a batch, got {[type(p).__name__ for p in parts]}')
    return parts[:count]


def batches(calibration: Calibration, count: int) -> Iterator[tuple[Tensor, ...]]:
    """The inputs of calibration, batch by batch. Raises ValueError if there is none."""
    seen = False
    for batch in calibration.split(BATCH) if isinstance(calibration, Tensor) else calibration:
        found = inputs_of(batch, count)
        if len(found[0]):
            seen = True
            yield found
    if not seen:
        raise ValueError('calibration must hold at least one input, got none')


def length(calibration: Calibration) -> int | None:
    """How many batches there are, if that is known."""
    if isinstance(calibration, Tensor):
        return -(-len(calibration) // BATCH)
    return len(calibration) if isinstance(calibration, Sized) else None


class Observing(fx.Interpreter):
    """Runs a graph, notes the shape of every value, and counts the outputs of the activations.

    sites: the activations by node. Raises ConversionError, naming the call, where a value is NaN or infinite.
    """

    def __init__(self, net: fx.GraphModule, sites: dict[fx.Node, Site]) -> None:
        super().__init__(net)
        self.sites = sites

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta['shape'] = tuple(value.shape) if isinstance(value, Tensor) else None
        n.meta['tensor'] = _holds_tensors(value)
        if isinstance(value, Tensor) and graph.max_pool(self.module, n) is not None:
            n.meta['negative'] = n.meta.get('negative', False) or bool((value < 0).any())
        if n in self.sites:
            site = self.sites[n]
            try:
                site.sketch.add(value)
            except ValueError as error:
                raise ConversionError(f'{site.was} has {error} in calibration') from None
        return value


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, torch.Size):
        return False
    if isinstance(value, tuple | list):
        return any(_holds_tensors(part) for part in value)
    return isinstance(value, Tensor)


@torch.no_grad()
def observe(
    net: fx.GraphModule,
    sites: dict[fx.Node, Site],
    stream: Iterable[tuple[Tensor, ...]],
    total: int | None,
    progress: Progress,
) -> None:
    """Run all calibration inputs; total: how many batches there are, if that is known."""
    observing = Observing(net, sites)
    for i, batch in enumerate(stream):
        observing.run(*batch)
        progress('calibrating', min(1.0, (i + 1) / total) if total else 0.5)
