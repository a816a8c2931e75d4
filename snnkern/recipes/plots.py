"""The demo's two pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from snnkern.recipes.compare import Row
from snnkern.recipes.raster import Raster

INK = '#1f2933'
BLUE = '#1769aa'
ORANGE = '#d9480f'
GREY = '#b6c2cc'
DPI = 160


def _tidy(ax: Axes) -> None:
    ax.spines[['top', 'right']].set_visible(False)
    ax.tick_params(labelsize=12, colors=INK)
    ax.xaxis.label.set_fontsize(13)
    ax.yaxis.label.set_fontsize(13)


def accuracy(rows: Sequence[Row], ann_accuracy: float, path: Path) -> None:
    """Draw accuracy against the number of steps, with the ANN as a line, into a PNG file."""
    rows = sorted(rows, key=lambda row: row.timesteps)
    steps, values = [row.timesteps for row in rows], [row.snn_accuracy for row in rows]
    figure = Figure(figsize=(6, 4.6), dpi=DPI, layout='constrained')
    ax = figure.subplots()
    ax.axhline(ann_accuracy, color=ORANGE, lw=2, ls='--', label=f'ANN  {ann_accuracy:.2f} %')
    ax.plot(steps, values, color=BLUE, lw=2.5, marker='o', ms=8, label='SNN, snnkern', clip_on=False)
    for T, value in zip(steps, values, strict=True):
        ax.annotate(f'{value:.2f}', (T, value), (4, -17), textcoords='offset points', fontsize=12, color=BLUE)
    ax.set_xscale('log', base=2)
    ax.set_xticks(steps)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda T, _: f'{T:g}'))
    low = min(*values, ann_accuracy)
    margin = max(1.0, (100 - low) * 0.12)
    ax.set_ylim(max(0.0, low - margin), 100 + margin / 4)
    ax.set(xlabel='time steps T', ylabel='accuracy on test digits (%)')
    ax.set_title('Converted LeNet-5 on MNIST', fontsize=16, color=INK, pad=12)
    ax.grid(axis='y', color='#dde3e8')
    ax.legend(loc='lower right', fontsize=13, frameon=False, bbox_to_anchor=(1, 0.08))
    _tidy(ax)
    figure.savefig(path, format='png')


def raster(found: Raster, path: Path) -> None:
    """Draw a digit, the spikes of the last hidden layer over time and the answer into a PNG file."""
    figure = Figure(figsize=(6, 8), dpi=DPI, layout='constrained')
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.5), height_ratios=(1, 2.2))
    image, answer = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    image.imshow(found.image.numpy(), cmap='gray_r', vmin=0, vmax=1)
    image.set_axis_off()
    image.set_title(f'the digit: {found.label}', fontsize=14, color=INK)
    _answer(answer, found)
    _spikes(figure.add_subplot(grid[1, :]), found)
    figure.savefig(path, format='png')


def _answer(ax: Axes, found: Raster) -> None:
    """The mean logits over time; the winner in colour."""
    steps = range(1, len(found.logits) + 1)
    winner = int(found.logits[-1].argmax())
    for k in range(found.logits.shape[1]):
        color, width = (ORANGE, 2.5) if k == winner else (GREY, 1.2)
        ax.plot(steps, found.logits[:, k], color=color, lw=width, zorder=2 + width / 10)
    ax.set_title(f'the network says: {winner}', fontsize=14, color=ORANGE)
    ax.set(xlabel='time step', ylabel='mean output')
    ax.set_xlim(1, len(found.logits))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _tidy(ax)


def _spikes(ax: Axes, found: Raster) -> None:
    """One mark for each neuron and step that spikes, larger for bursts."""
    times, neurons = torch.nonzero(found.counts, as_tuple=True)
    counts = found.counts[times, neurons]
    ax.scatter(times + 1, neurons, s=9 * counts, c=BLUE, linewidths=0)
    for k in range(1, int(counts.max()) + 1 if len(counts) else 1):
        ax.scatter([], [], s=9 * k, c=BLUE, linewidths=0, label=str(k))
    ax.set_xlim(0.5, len(found.counts) + 0.5)
    ax.set_ylim(-1, found.counts.shape[1])
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set(xlabel='time step', ylabel='neuron')
    title = f'{int(found.counts.sum()):,} spikes of the {found.counts.shape[1]} neurons before the output'
    ax.set_title(title, fontsize=14, color=INK)
    if len(counts):
        legend = ax.legend(title='spikes in one step', frameon=False, fontsize=12, title_fontsize=12, ncols=5)
        legend.set_loc('upper center')
        legend.set_bbox_to_anchor((0.5, -0.13), transform=ax.transAxes)
    _tidy(ax)
