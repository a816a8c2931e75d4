"""The converted network."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern._checks import whole
from snnkern.convert import report
from snnkern.convert.calibrate import Progress, silent
from snnkern.convert.coding import SEEDS
from snnkern.convert.evaluate import Early, Loader, Metric, evaluate
from snnkern.convert.layers import Analogue, Clock, LateralPool, Spiking, Timed, precise
from snnkern.convert.origin import Origin
from snnkern.convert.replace import Entry
from snnkern.convert.results import Evaluation
from snnkern.convert.simulator import Simulator

# Of the largest layer: neurons load and store their state once a chunk, and glibc maps blocks of 32 MiB anew each time.
BYTES = 31 * 2**20


class SNN(nn.Module):
    """A converted network; `snnkern.convert.convert` makes it.

    It runs layer by layer: a layer computes a chunk of steps in one call, with time folded into the batch of
    convolutions and linear layers. The input is a constant current, so what stands before the first neuron runs once,
    unless it was converted for coded input: then spikes with probability x come from `seed`.

    stem: what runs once; body: what runs every step. entries: what was replaced by what. recipe: its name. timesteps:
    T that thresholds were chosen for, the default of every call. largest: values of the largest layer, per input.
    chunk_bytes: how many bytes of it may be computed together (steps are cut into chunks that long). origin: what
    `convert` was called with, for `save`; None if it cannot be saved. seed: of coded input (0); another one draws
    other spikes.
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
        self.origin: Origin | None = None

    def forward(self, x: Any, T: int | None = None, offset: int = 0) -> Any:
        """Mean output over T steps (None: `timesteps`), [B, ...], in the structure that the model returns.

        x: inputs [B, ...] as the model takes them; a tuple if it takes several. Analogue parts at the end (softmax,
        sigmoid) are applied once, to the mean: the readout. offset: >= 0, index of the first sample of x in the whole
        batch; coded input draws the same spikes for a sample wherever batches are cut. Nothing else depends on it.
        """
        T = self._steps(T)
        total: list[Tensor] = []
        shape: Any = None
        for out in self._chunks(x, T, self.chunk(T, _batch(x)), offset):
            parts, shape = pytree.tree_flatten(out)
            sums = [precise(part).sum(0) for part in parts]
            total = [a + b for a, b in zip(total, sums, strict=True)] if total else sums
        return pytree.tree_unflatten([(s / T).to(part.dtype) for s, part in zip(total, parts, strict=True)], shape)

    def sequence(self, x: Any, T: int | None = None, offset: int = 0) -> Any:
        """The outputs of all steps [T, B, ...], with gradients, in the structure that the model returns.

        x, T, offset: as for a call, whose answer is the mean of these over time. Example: `snn.sequence(x, T=4)[-1]`.
        """
        T = self._steps(T)
        chunks = self._chunks(x, T, self.chunk(T, _batch(x)), offset)
        return pytree.tree_map(lambda *parts: torch.cat(parts), *chunks)

    def steps(self, x: Any, T: int | None = None, chunk: int = 1, offset: int = 0) -> Iterator[tuple[int, Any]]:
        """The answer after each step: (1, out), (2, out), ..., (T, out), each the mean so far, [B, ...].

        chunk: how many steps are computed together; 1 computes no step before it is asked for. The layers hold the
        state: no other call of this network may come in between. offset: as for a call.
        Raises ValueError for a recipe that needs all steps at once, unless chunk >= T.
        Example: `for t, out in snn.steps(x): ...` with a break where out is sure enough.
        """
        T = self._steps(T)
        whole('chunk', chunk)
        if chunk < T and not self.causal:
            raise ValueError(f'chunk must be >= T = {T} for recipe {self.recipe}, whose layers look ahead; got {chunk}')
        done, total = 0, None
        for out in self._chunks(x, T, chunk, offset):
            for t in range(len(pytree.tree_leaves(out)[0])):
                step = pytree.tree_map(lambda part, t=t: precise(part[t]), out)
                total = step if total is None else pytree.tree_map(torch.add, total, step)
                done += 1
                yield done, pytree.tree_map(lambda s, part, done=done: (s / done).to(part.dtype), total, out)

    def _chunks(self, x: Any, T: int, chunk: int, offset: int) -> Iterator[Any]:
        """The outputs [chunk, B, ...] of T steps, chunk by chunk, from a fresh start (after a trial, `warm_up`)."""
        whole('offset', offset, at_least=0)
        self.reset()
        self.clock.offset = offset
        current = self.stem(*_inputs(x))
        if self.warm_up:
            for _ in self._run(current, self.warm_up, self.chunk(self.warm_up, _batch(x))):
                pass
            for layer in self.layers:
                layer.restart()
        yield from self._run(current, T, chunk)
        self.reset()

    def _run(self, current: tuple[Any, ...], T: int, chunk: int) -> Iterator[Any]:
        for start in range(0, T, chunk):
            self.clock.steps, self.clock.start = min(chunk, T - start), start
            out = self.body(*current)
            yield pytree.tree_map(lambda part: part.unflatten(0, (self.clock.steps, -1)), out)

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
    def predict(self, x: Any, T: int | None = None, megabytes: float = 8.0) -> Any:
        """Outputs [B, ...] of any number of inputs, run in batches (see `batch`), without gradients."""
        T = self._steps(T)
        size = self.batch(T, megabytes)
        batches = zip(*(part.split(size) for part in _inputs(x)), strict=True)
        found = [self(parts, T, i * size) for i, parts in enumerate(batches)]
        return pytree.tree_map(lambda *parts: torch.cat(parts), *found)

    @torch.no_grad()
    def predict_confident(self, x: Any, confidence: float, T: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and steps [B] of each input, from the first step at which it is sure enough; at most T.

        confidence: the largest class probability (softmax of the mean logits) that is asked for, in (0, 1]. Steps are
        computed one by one until all inputs of the batch are sure. Raises ValueError for outputs other than [B, K].
        Source: Li et al., SEENN, NeurIPS 2023. Example: `logits, steps = snn.predict_confident(x, 0.95, T=16)`.
        """
        early = Early(confidence)
        for t, out in self.steps(x, T):
            early.add(t, out)
            if early.done:
                break
        self.reset()
        return early.out, early.steps

    def evaluate(
        self,
        loader: Loader,
        timesteps: Sequence[int] = (1, 2, 4, 8),
        *,
        confidence: float | None = None,
        metric: Metric | None = None,
        ann: nn.Module | None = None,
        progress: Progress = silent,
    ) -> Evaluation:
        """Accuracy, spikes, SynOps and energy at each T, from one pass over the data; print the result for a table.

        loader: two tensors (x, y), or an iterable of batches (x, y); of models with several inputs (x1, x2, y).
        timesteps: all T >= 1 that are asked for: the longest runs once, and its mean outputs so far answer the
        others; a recipe whose layers look ahead runs once for each T (`Evaluation.passes`). confidence: also
        measure early exit (`predict_confident`). metric: for tasks other than classes, f(out, y) that returns the
        mean of a batch, or a torchmetrics object, which is copied for each T. ann: the original network, to be
        scored in the same pass. progress: called with what is being done and the share done of it.

        Accuracies are percent, weighted by inputs. Memory does not depend on how many inputs there are. Raises
        ValueError for T < 1, no inputs, labels that are no class of the network, and outputs that are not finite.
        Example: `snn.evaluate((x_test, y_test), [1, 4, 16], ann=net).first_lossless(within=0.1)`.
        """
        return evaluate(self, loader, timesteps, confidence, metric, ann, progress)

    def report(self) -> report.Report:
        """Every replacement, what stayed analogue and why, and what may go wrong; print it for a table."""
        return report.report(self)

    def explain(self) -> str:
        """Which backend runs the layers, which of them are Python loops over T, and which need all T at once."""
        return report.explain(self)

    def save(self, path: str | Path) -> None:
        """Write the network into one safetensors file, which holds what `load` needs beside the original architecture.

        Needs safetensors. Raises ValueError if `convert` did not make it or a neuron is no plain data. Example:
        `snn.save('net.safetensors')`.
        """
        from snnkern.convert import save

        save.save(self, Path(path))

    @staticmethod
    def load(path: str | Path, model: nn.Module, leaves: Collection[str] | None = None) -> 'SNN':
        """A saved network, on the device of `model`, which gives the architecture; its weights do not count.

        leaves: as in `convert`; None: those of then. No code is run from the file. Raises FileNotFoundError, and
        ValueError for a file that is none of `save`'s, comes from a newer version, or is of another architecture
        (the first difference is named). Example: `snn = SNN.load('net.safetensors', LeNet5())`.
        """
        from snnkern.convert import save

        return save.load(Path(path), model, leaves)

    @property
    def seed(self) -> int:
        """Of coded input: 0 to 2^32 - 1."""
        return self.clock.seed

    @seed.setter
    def seed(self, value: int) -> None:
        whole('seed', value, at_least=0, at_most=SEEDS - 1)
        self.clock.seed = value

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
    def by_name(self) -> dict[str, Timed]:
        """The layers of all replacements, by their name in `entries`."""
        return {layer.name: layer for layer in self.layers if layer.name}

    @property
    def causal(self) -> bool:
        """Whether a step needs nothing of later ones, so that steps can be streamed."""
        return all(layer.causal for layer in self.layers)

    @property
    def warm_up(self) -> int:
        """Trial steps that each call runs ahead of those that count, and are not counted in T."""
        return max((layer.warm_up for layer in self.layers), default=0)

    def simulator(self) -> Simulator:
        """The same network with the same weights, run the classic way: a loop over steps."""
        return Simulator(self)


def _inputs(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _batch(x: Any) -> int:
    return max(1, len(_inputs(x)[0]))
