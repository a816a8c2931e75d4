"""The converted network."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern._checks import whole
from snnkern.convert.layers import Analogue, Clock, LateralPool, Spiking, Timed
from snnkern.convert.replace import Entry
from snnkern.convert.simulator import Simulator

# Of the largest layer: neurons load and store their state once a chunk, and glibc maps blocks of 32 MiB anew each time.
BYTES = 3 * 2**23


class SNN(nn.Module):
    """A converted network; `snnkern.convert.convert` makes it.

    It runs layer by layer: a layer computes a chunk of steps in one call, with time folded into the batch of
    convolutions and linear layers. The input is a constant current, so what stands before the first neuron runs once.

    stem: what runs once; body: what runs every step. entries: what was replaced by what. recipe: its name. timesteps:
    T that thresholds were chosen for, the default of every call. largest: values of the largest layer, per input.
    chunk_bytes: how many bytes of it may be computed together (steps are cut into chunks that long).
    Example: `snn(x, T=8).argmax(1)`.
    """

    def __init__(
        self,
        stem: nn.Module,
        body: nn.Module,
        clock: Clock,
        entries: Sequence[Entry],
        recipe: str,
        timesteps: int,
        largest: int,
    ) -> None:
        super().__init__()
        self.stem, self.body, self.clock = stem, body, clock
        self.entries, self.recipe, self.timesteps, self.largest = list(entries), recipe, timesteps, largest
        self.chunk_bytes = BYTES

    def forward(self, x: Any, T: int | None = None) -> Any:
        """Mean output over T steps (None: `timesteps`), [B, ...], in the structure that the model returns.

        x: inputs [B, ...] as the model takes them; a tuple if it takes several. Analogue parts at the end (softmax,
        sigmoid) are applied once, to the mean: the readout.
        """
        T = self._steps(T)
        total: list[Tensor] = []
        shape: Any = None
        for out in self._chunks(x, T, self.chunk(T, _batch(x))):
            parts, shape = pytree.tree_flatten(out)
            sums = [part.sum(0) for part in parts]
            total = [a + b for a, b in zip(total, sums, strict=True)] if total else sums
        return pytree.tree_unflatten([part / T for part in total], shape)

    def steps(self, x: Any, T: int | None = None, chunk: int = 1) -> Iterator[tuple[int, Any]]:
        """The answer after each step: (1, out), (2, out), ..., (T, out), each the mean so far, [B, ...].

        chunk: how many steps are computed together; 1 computes no step before it is asked for.
        Raises ValueError for a recipe that needs all steps at once, unless chunk >= T.
        Example: `for t, out in snn.steps(x): ...` with a break where out is sure enough.
        """
        T = self._steps(T)
        whole('chunk', chunk)
        if chunk < T and not self.causal:
            raise ValueError(f'chunk must be >= T = {T} for recipe {self.recipe}, whose layers look ahead; got {chunk}')
        done, total = 0, None
        for out in self._chunks(x, T, chunk):
            for t in range(len(pytree.tree_leaves(out)[0])):
                step = pytree.tree_map(lambda part, t=t: part[t], out)
                total = step if total is None else pytree.tree_map(torch.add, total, step)
                done += 1
                yield done, pytree.tree_map(lambda part, done=done: part / done, total)

    def _chunks(self, x: Any, T: int, chunk: int) -> Iterator[Any]:
        """The outputs [chunk, B, ...] of T steps, chunk by chunk, from a fresh start."""
        self.reset()
        current = self.stem(*_inputs(x))
        for start in range(0, T, chunk):
            self.clock.steps, self.clock.start = min(chunk, T - start), start
            out = self.body(*current)
            yield pytree.tree_map(lambda part: part.unflatten(0, (self.clock.steps, -1)), out)
        self.reset()

    def _steps(self, T: int | None) -> int:
        if T is None:
            return self.timesteps
        whole('T', T)
        return T

    def reset(self) -> None:
        """Forget the state that a call which was broken off left."""
        for layer in self.layers:
            layer.reset()

    def chunk(self, T: int, batch: int) -> int:
        """How many steps of T are computed together for so many inputs (`chunk_bytes`)."""
        return min(T, max(1, self.chunk_bytes // (4 * self.largest * batch))) if self.causal else T

    def batch(self, T: int, megabytes: float = 8.0) -> int:
        """How many inputs to run at a time: the largest layer's T steps then take about so many MB.

        Activations that stay in the cache are worth more than large batches.
        """
        whole('T', T)
        return max(1, int(megabytes * 2**20 / (4 * self.largest * T)))

    @torch.no_grad()
    def predict(self, x: Tensor, T: int | None = None, megabytes: float = 8.0) -> Tensor:
        """Outputs [B, ...] of any number of inputs, run in batches (see `batch`), without gradients."""
        T = self._steps(T)
        return torch.cat([self(part, T) for part in x.split(self.batch(T, megabytes))])

    @property
    def layers(self) -> list[Timed]:
        """All layers that know time, in the order in which they run."""
        return [m for m in self.body.modules() if isinstance(m, Timed)]

    @property
    def neurons(self) -> list[Spiking]:
        """The neuron layers, in the order in which they run."""
        return [m for m in self.layers if isinstance(m, Spiking)]

    @property
    def pools(self) -> list[LateralPool]:
        """The spiking pools."""
        return [m for m in self.layers if isinstance(m, LateralPool)]

    @property
    def analogue(self) -> list[Analogue]:
        """What could not spike."""
        return [m for m in self.layers if isinstance(m, Analogue)]

    @property
    def causal(self) -> bool:
        """Whether a step needs nothing of later ones, so that steps can be streamed."""
        return all(layer.causal for layer in self.layers)

    def simulator(self) -> Simulator:
        """The same network with the same weights, run the classic way: a loop over steps."""
        return Simulator(self)


def _inputs(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _batch(x: Any) -> int:
    return max(1, len(_inputs(x)[0]))
