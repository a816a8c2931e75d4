"""Accuracy, spikes and operations of a converted network at several T, from one pass over the data."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.convert.calibrate import BATCH, Progress
from snnkern.convert.counting import Counting
from snnkern.convert.energy import Energy, Operations, operations
from snnkern.convert.layers import Spiking
from snnkern.convert.results import Confident, Evaluation

if TYPE_CHECKING:
    from snnkern.convert.network import SNN

Loader = Sequence[Tensor] | Iterable[Any]
Metric = Callable[[Any, Tensor], Any]


def min_max(out: Tensor) -> Tensor:
    """Outputs [B, ...] scaled to 0..1, each input by its own least and largest value; 0 where they are equal.

    How the published segmentation converter reads out what it summed (Li and Zeng, IJCAI 2022). Example:
    `min_max(snn(x, T=8))` with `convert(..., readout='original')`.
    """
    rows = out.flatten(1)
    low = rows.amin(1, keepdim=True)
    span = rows.amax(1, keepdim=True) - low
    return ((rows - low) / torch.where(span > 0, span, 1)).view_as(out)


def sureness(out: Tensor) -> Tensor:
    """The largest class probability of each row of logits [B, K]; rows that are probabilities are taken as they are."""
    least, total = out.amin(1), out.sum(1)
    given = bool(((least >= 0) & ((total - 1).abs() < 1e-2)).all())
    return (out if given else out.float().softmax(1)).amax(1)


class Early:
    """Which inputs of a batch have been sure at some step, and what they said then.

    confidence: > 0, at most 1. steps [B]: when, and out [B, K]: what; the latest for those that never were.
    """

    def __init__(self, confidence: float) -> None:
        if not 0 < confidence <= 1:
            raise ValueError(f'confidence must be in (0, 1], got {confidence}')
        self.confidence = confidence
        self.sure: Tensor | None = None

    def add(self, t: int, out: Any) -> None:
        """See the mean outputs [B, K] after step t."""
        if not (isinstance(out, Tensor) and out.dim() == 2):
            raise ValueError(f'confidence needs outputs [B, K], got {_shape(out)}')
        if self.sure is None:
            self.sure = torch.zeros(len(out), dtype=torch.bool, device=out.device)
            self.steps = torch.zeros(len(out), dtype=torch.long, device=out.device)
            self.out = out
        self.steps = torch.where(self.sure, self.steps, t)
        self.out = torch.where(self.sure.unsqueeze(1), self.out, out)
        self.sure = self.sure | (sureness(out) >= self.confidence)

    @property
    def done(self) -> bool:
        """Whether all inputs are sure."""
        return self.sure is not None and bool(self.sure.all())


class Score:
    """Accuracy, weighted by inputs, and a metric: a function that gives the mean of a batch, or torchmetrics'."""

    def __init__(self, metric: Metric | None) -> None:
        self.updates = hasattr(metric, 'update') and hasattr(metric, 'compute')
        self.metric: Any = metric
        if self.updates:
            self.metric = copy.deepcopy(metric)
            self.metric.reset()
        self.total: Any = 0.0
        self.right = self.seen = self.classified = 0

    def add(self, out: Any, y: Tensor) -> None:
        """See outputs and targets of a batch."""
        self.seen += len(y)
        if _classes(out, y):
            self.classified += len(y)
            self.right += int((out.argmax(1) == y).sum())
        elif self.metric is None:
            raise ValueError(f'outputs {_shape(out)} with targets {_shape(y)} are no classification: give a metric')
        if self.updates:
            if isinstance(self.metric, nn.Module):
                self.metric.to(y.device)
            self.metric.update(out, y)
        elif self.metric is not None:
            self.total += float(self.metric(out, y)) * len(y)

    @property
    def accuracy(self) -> float | None:
        """In percent; None if the outputs are no classes."""
        return 100 * self.right / self.classified if self.classified else None

    @property
    def value(self) -> Any:
        """Of the metric, as numbers; None if there is none."""
        if self.metric is None:
            return None
        return _plain(self.metric.compute()) if self.updates else self.total / self.seen


def _classes(out: Any, y: Tensor) -> bool:
    """Whether outputs are logits [B, K] of labels [B]. Raises ValueError for a label that is no class of them."""
    if not (isinstance(out, Tensor) and out.dim() == 2 and y.dim() == 1 and not y.is_floating_point()):
        return False
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= out.shape[1]:
        wrong = low if low < 0 else high
        raise ValueError(
            f'labels must be 0 to {out.shape[1] - 1}, the {out.shape[1]} classes of the network; got {wrong}'
        )
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return torch.as_tensor(value).tolist()


def _shape(value: Any) -> Any:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


class Run:
    """One evaluation: batch by batch, in memory that does not depend on how many there are."""

    def __init__(
        self, snn: 'SNN', timesteps: tuple[int, ...], confidence: float | None, metric: Metric | None, ann: Any
    ) -> None:
        self.snn, self.timesteps, self.confidence = snn, timesteps, confidence
        self.ann = None if ann is None else copy.deepcopy(ann).eval()
        self.scores = {T: Score(metric) for T in timesteps}
        self.ann_score = Score(metric)
        self.spikes: dict[int, dict[str, float]] = {T: defaultdict(float) for T in timesteps}
        self.work: dict[int, dict[str, float]] = {T: defaultdict(float) for T in timesteps}  # with trial steps
        self.exits = torch.zeros(max(timesteps) + 1, dtype=torch.long)
        self.right = self.inputs = 0
        self.counting = Counting(snn.by_name)
        self.operations: Operations | None = None

    def add(self, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Run a batch of the loader in parts that fit the cache."""
        size = self.snn.batch(max(self.timesteps))
        like = next(self.snn.parameters(), None)
        for *parts, labels in zip(*(x.split(size) for x in (*inputs, y)), strict=True):
            moved = tuple(_like(x, like) for x in parts)
            if not all(torch.isfinite(x).all() for x in moved if x.is_floating_point()):
                raise ValueError('loader must hold finite inputs, got NaN or infinite values: neurons would be silent')
            labels = labels.to(moved[0].device)
            if not self.inputs:
                self.operations = operations(self.snn, *(x[:1] for x in moved))
            if self.ann is not None:
                weight = next(self.ann.parameters(), None)
                self.ann_score.add(self.ann(*(_like(x, weight) for x in parts)), labels)
            for asked in [self.timesteps] if self.snn.causal else [(T,) for T in self.timesteps]:
                self._run(moved, labels, asked)
            self.inputs += len(labels)

    def _run(self, x: tuple[Tensor, ...], y: Tensor, asked: tuple[int, ...]) -> None:
        T = max(asked)
        early = None if self.confidence is None else Early(self.confidence)
        with self.counting:
            for t, out in self.snn.steps(x, T, self.snn.chunk(T, len(y)), offset=self.inputs):
                if early is not None:
                    early.add(t, out)
                if t in asked:
                    _check_finite(out, t)
                    self.scores[t].add(out, y)
        for name, steps in self.counting.take().items():
            trial = len(steps) - T
            for t in asked:
                self.spikes[t][name] += steps[trial : trial + t].sum().item()
                self.work[t][name] += steps[: trial + t].sum().item()
        if early is not None:
            self.right += int((early.out.argmax(1) == y).sum())
            self.exits += early.steps.bincount(minlength=T + 1).cpu()

    def result(self) -> Evaluation:
        """What was found. Raises ValueError if there was no input."""
        if not self.inputs:
            raise ValueError('loader must hold at least one input, got none')
        neurons = {name for name, layer in self.counting.layers.items() if isinstance(layer, Spiking)}
        accuracy = {T: score.accuracy for T, score in self.scores.items()}
        return Evaluation(
            recipe=self.snn.recipe,
            inputs=self.inputs,
            timesteps=self.timesteps,
            accuracy={T: value for T, value in accuracy.items() if value is not None},
            spikes={T: self._per_input(found) for T, found in self.spikes.items()},
            neurons={name: size for name, size in self.counting.sizes.items() if name in neurons},
            metric={T: score.value for T, score in self.scores.items() if score.metric is not None},
            energy=self._energy(),
            confident=self._confident(),
            ann_accuracy=None if self.ann is None else self.ann_score.accuracy,
            ann_metric=None if self.ann is None else self.ann_score.value,
            passes=1 if self.snn.causal else len(self.timesteps),
        )

    def _per_input(self, spikes: dict[str, float]) -> dict[str, float]:
        return {name: count / self.inputs for name, count in spikes.items()}

    def _energy(self) -> dict[int, Energy]:
        """By T; trial steps ahead of those that count take energy, too."""
        if self.operations is None:
            return {}
        trial = max((layer.warm_up for layer in self.snn.layers), default=0)
        return {T: self.operations.energy(trial + T, self._per_input(found)) for T, found in self.work.items()}

    def _confident(self) -> Confident | None:
        if self.confidence is None:
            return None
        steps = torch.arange(len(self.exits))
        mean = int((self.exits * steps).sum()) / self.inputs
        share = {t: 100 * int(n) / self.inputs for t, n in enumerate(self.exits) if t and n}
        return Confident(self.confidence, 100 * self.right / self.inputs, mean, share)


def _like(x: Tensor, weight: Tensor | None) -> Tensor:
    """Inputs where the weights are, and in their precision."""
    if weight is None:
        return x
    return x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype)


def _check_finite(out: Any, t: int) -> None:
    if isinstance(out, Tensor) and not torch.isfinite(out).all():
        raise ValueError(f'outputs hold NaN or infinite values at T = {t}')


def _batches(loader: Iterable[Any]) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Inputs and targets, batch by batch."""
    for batch in loader:
        parts: tuple[Any, ...] = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        if len(parts) < 2 or not all(isinstance(part, Tensor) for part in parts):
            raise ValueError(f'a batch must be tensors (x, y), got {[type(part).__name__ for part in parts]}')
        if len({len(part) for part in parts}) > 1:
            raise ValueError(f'a batch must be as many inputs as targets, got {[len(part) for part in parts]}')
        if len(parts[0]):
            yield parts[:-1], parts[-1]


def _cut(loader: Loader) -> Iterable[Any]:
    """Two tensors (x, y) as batches, so that progress can be told; a loader as it is."""
    if isinstance(loader, tuple | list) and len(loader) == 2 and all(isinstance(part, Tensor) for part in loader):
        x, y = loader
        if len(x) != len(y):
            raise ValueError(f'loader must hold as many inputs as targets, got {len(x)} and {len(y)}')
        return list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    return loader


@torch.no_grad()
def evaluate(
    snn: 'SNN',
    loader: Loader,
    timesteps: Sequence[int],
    confidence: float | None,
    metric: Metric | None,
    ann: nn.Module | None,
    progress: Progress,
) -> Evaluation:
    """What `SNN.evaluate` does."""
    for T in timesteps:
        whole('timesteps', T)
    asked = tuple(sorted(set(timesteps)))
    if not asked:
        raise ValueError('timesteps must name at least one T, got none')
    if confidence is not None:
        Early(confidence)
        if not snn.causal:
            raise ValueError(f'confidence must be None for recipe {snn.recipe}, whose layers look ahead')
    run = Run(snn, asked, confidence, metric, ann)
    batches = _cut(loader)
    total = len(batches) if isinstance(batches, Sized) else None
    for i, (x, y) in enumerate(_batches(batches)):
        run.add(x, y)
        progress('evaluating', min(1.0, (i + 1) / total) if total else 0.5)
    return run.result()
