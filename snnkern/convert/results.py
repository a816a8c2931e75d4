"""What an evaluation of a converted network has found, as numbers, a table and pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnkern.convert.energy import Energy

if TYPE_CHECKING:
    from rich.table import Table


def render(renderable: Any, width: int = 100) -> str:
    """Something of rich's as plain text."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(renderable)
    return str(console.file.getvalue()).rstrip('\n')  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Confident:
    """Early exit: each input stops at the first step whose mean output is sure enough.

    confidence: the largest class probability (softmax of the mean logits) that is asked for. accuracy: percent.
    mean_steps: steps of an input, on the mean. share: of inputs that stop at each step, in percent; the last holds
    those that never were sure, too.
    """

    confidence: float
    accuracy: float
    mean_steps: float
    share: dict[int, float]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        share = [{'T': T, 'percent': value} for T, value in self.share.items()]
        return {
            'confidence': self.confidence,
            'accuracy': self.accuracy,
            'mean_steps': self.mean_steps,
            'share': share,
        }


@dataclass(frozen=True)
class Evaluation:
    """What `SNN.evaluate` returns; print it for a table.

    inputs: how many. accuracy: percent of inputs classified right, by T (empty for other tasks); metric: what the given
    metric says, by T. ann_accuracy, ann_metric: of the original network where it was given. spikes: of each neuron
    layer and pool, per input up to step T, by T and layer. neurons: of each neuron layer. energy: by T; empty if the
    network has no graph to read. confident: early exit, where asked for. passes: how often each input was run: once,
    or once for each T if the recipe's layers look ahead.
    """

    recipe: str
    inputs: int
    timesteps: tuple[int, ...]
    accuracy: dict[int, float]
    spikes: dict[int, dict[str, float]]
    neurons: dict[str, int]
    metric: dict[int, Any] = field(default_factory=dict)
    energy: dict[int, Energy] = field(default_factory=dict)
    confident: Confident | None = None
    ann_accuracy: float | None = None
    ann_metric: Any = None
    passes: int = 1

    def rates_at(self, T: int) -> dict[str, float]:
        """Mean spikes per neuron and step up to T, by neuron layer. Raises ValueError for another T."""
        if T not in self.spikes:
            raise ValueError(f'T must be one of {self.timesteps}, got {T}')
        return {name: self.spikes[T][name] / (size * T) for name, size in self.neurons.items()}

    def mean_rate_at(self, T: int) -> float:
        """Mean spikes per neuron and step up to T, over all neurons."""
        total = sum(rate * self.neurons[name] for name, rate in self.rates_at(T).items())
        return total / sum(self.neurons.values())

    @property
    def rates(self) -> dict[str, float]:
        """Mean spikes per neuron and step at the longest T, by neuron layer."""
        return self.rates_at(max(self.timesteps))

    @property
    def mean_rate(self) -> float:
        """Mean spikes per neuron and step at the longest T."""
        return self.mean_rate_at(max(self.timesteps))

    @property
    def synops(self) -> dict[int, float]:
        """Additions that the spikes of one input cause, by T."""
        return {T: energy.synops for T, energy in self.energy.items()}

    def first_lossless(self, ann: float | None = None, within: float = 0.1) -> int | None:
        """T*: the first T asked for whose accuracy is at most `within` points below the ANN's; None if there is none.

        ann: percent; None: `ann_accuracy`. Raises ValueError if neither is known, and if there are no accuracies.
        """
        ann = self.ann_accuracy if ann is None else ann
        if ann is None:
            raise ValueError('ann must be the accuracy of the ANN in percent: evaluate(ann=model) was not given it')
        if not self.accuracy:
            raise ValueError('there are no accuracies: the outputs are no classes')
        return next((T for T in self.timesteps if self.accuracy[T] >= ann - within), None)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON: a list of rows by T, then what does not depend on T."""
        return {
            'recipe': self.recipe,
            'inputs': self.inputs,
            'passes': self.passes,
            'ann_accuracy': self.ann_accuracy,
            'ann_metric': self.ann_metric,
            'rows': [self._row(T) for T in self.timesteps],
            'neurons': dict(self.neurons),
            'confident': None if self.confident is None else self.confident.as_dict(),
        }

    def _row(self, T: int) -> dict[str, Any]:
        return {
            'T': T,
            'accuracy': self.accuracy.get(T),
            'metric': self.metric.get(T),
            'mean_rate': self.mean_rate_at(T),
            'rates': self.rates_at(T),
            'energy': self.energy[T].as_dict() if T in self.energy else None,
        }

    def __rich__(self) -> 'Table':
        from rich.table import Table

        table = Table(title=f'{self.recipe}: {self.inputs} inputs', caption='\n'.join(self._notes()))
        for name in (
            'T',
            'accuracy %',
            'metric',
            'spikes/neuron/step',
            'SynOps',
            'MACs',
            'energy, µJ',
            'ANN/SNN energy',
        ):
            if self.metric or name != 'metric':
                table.add_column(name, justify='right')
        for T in self.timesteps:
            found = [f'{self.accuracy[T]:.2f}' if T in self.accuracy else '-']
            found += [_short(self.metric[T])] if self.metric else []
            energy = self.energy.get(T)
            work = ['-'] * 4
            if energy is not None:
                work = [
                    f'{energy.synops:,.0f}',
                    f'{energy.macs:,.0f}',
                    f'{energy.snn / 1e6:.4g}',
                    f'{energy.ratio:.2f}',
                ]
            table.add_row(str(T), *found, f'{self.mean_rate_at(T):.4f}', *work)
        return table

    def _notes(self) -> list[str]:
        notes = []
        if self.ann_accuracy is not None:
            notes.append(f'ANN: {self.ann_accuracy:.2f} %')
        if self.ann_metric is not None:
            notes.append(f'ANN, metric: {_short(self.ann_metric)}')
        if self.energy:
            ann = next(iter(self.energy.values()))
            notes.append(
                f'ANN: {ann.ann_macs:,.0f} MACs, {ann.ann / 1e6:.4g} µJ (4.6 pJ a MAC, 0.9 pJ an addition, 45 nm)'
            )
        if self.passes > 1:
            notes.append(f'layers of {self.recipe} look ahead, so each T was a run of its own')
        if self.confident is not None:
            c = self.confident
            notes.append(f'exit at {c.confidence:g} confidence: {c.accuracy:.2f} % after {c.mean_steps:.2f} steps')
        return notes

    def __str__(self) -> str:
        return render(self)

    def plot(self, path: str | Path) -> None:
        """Draw accuracy against T and mean rates by layer into a picture; the ending of `path` says its format."""
        from snnkern.convert import plots

        plots.evaluation(self, Path(path))


def _short(value: Any) -> str:
    return f'{value:.4f}' if isinstance(value, float) else str(value)
