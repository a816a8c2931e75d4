"""Pictures of evaluations."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from snnkern._files import write
from snnkern.convert.results import Evaluation

INK = '#1f2933'
BLUE = '#1769aa'
ORANGE = '#d9480f'
GREY = '#b6c2cc'
DPI = 160


def tidy(ax: Axes) -> None:
    """Axes without a frame on the right and above, in readable sizes."""
    ax.spines[['top', 'right']].set_visible(False)
    ax.tick_params(labelsize=12, colors=INK)
    ax.xaxis.label.set_fontsize(13)
    ax.yaxis.label.set_fontsize(13)


def save(figure: Figure, path: Path) -> None:
    """Write a picture whole; the ending of `path` says its format."""
    write(path, lambda p: figure.savefig(p, format=path.suffix.removeprefix('.') or 'png'))


def against_steps(ax: Axes, points: Mapping[int, float], ann: float | None, percent: bool = True) -> None:
    """Draw a score by T, and the ANN's as a line. percent: it ends at 100."""
    steps = sorted(points)
    values = [points[T] for T in steps]
    form, unit = ('.2f', ' %') if percent else ('.4g', '')
    if ann is not None:
        ax.axhline(ann, color=ORANGE, lw=2, ls='--', label=f'ANN  {ann:{form}}{unit}')
    ax.plot(steps, values, color=BLUE, lw=2.5, marker='o', ms=8, label='SNN, snnkern', clip_on=False)
    for T, value in zip(steps, values, strict=True):
        ax.annotate(f'{value:{form}}', (T, value), (4, -17), textcoords='offset points', fontsize=12, color=BLUE)
    ax.set_xscale('log', base=2)
    ax.set_xticks(steps)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda T, _: f'{T:g}'))
    if percent:
        low = min(values if ann is None else [*values, ann])
        margin = max(1.0, (100 - low) * 0.12)
        ax.set_ylim(max(0.0, low - margin), 100 + margin / 4)
    ax.set(xlabel='time steps T', ylabel='accuracy (%)' if percent else 'metric')
    ax.grid(axis='y', color='#dde3e8')
    ax.legend(loc='best', fontsize=13, frameon=False)  # curves of lossless networks are flat, and anywhere
    tidy(ax)


def rates(ax: Axes, found: Mapping[str, float]) -> None:
    """Draw the mean spikes per neuron and step of each neuron layer, first layer left."""
    ax.bar(range(1, len(found) + 1), list(found.values()), color=BLUE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel='neuron layer', ylabel='spikes per neuron and step')
    ax.grid(axis='y', color='#dde3e8')
    ax.set_axisbelow(True)
    tidy(ax)


def evaluation(found: Evaluation, path: Path) -> None:
    """Draw accuracy (else a metric that is one number) against T, and rates by layer, into a picture."""
    numbers = {T: value for T, value in found.metric.items() if isinstance(value, float)}
    points = found.accuracy or numbers
    figure = Figure(figsize=(11, 4.6) if points else (6, 4.6), dpi=DPI, layout='constrained')
    *left, right = figure.subplots(1, 2 if points else 1, squeeze=False)[0]
    for ax in left:
        ann = found.ann_accuracy if found.accuracy else found.ann_metric
        against_steps(ax, points, ann, percent=bool(found.accuracy))
        ax.set_title(f'{found.recipe}, {found.inputs:,} inputs', fontsize=14, color=INK)
    rates(right, found.rates)
    right.set_title(f'T = {max(found.timesteps)}', fontsize=14, color=INK)
    save(figure, path)
