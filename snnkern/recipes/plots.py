"""The pictures of the programs."""

from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from snnkern.convert.plots import BLUE, DPI, GREY, INK, ORANGE, against_steps, rates, tidy
from snnkern.recipes.raster import Raster


def accuracy(points: Mapping[int, float], ann: float, path: Path, title: str, what: str = '') -> None:
    """Draw a score against the number of steps, with the ANN as a line, into a PNG file.

    points: the score by T. what: what the score is, where it is no accuracy in percent.
    """
    figure = Figure(figsize=(6, 4.6), dpi=DPI, layout='constrained')
    ax = figure.subplots()
    against_steps(ax, points, ann, percent=not what)
    ax.set_ylabel(what or 'accuracy on test images (%)')
    ax.set_title(title, fontsize=16, color=INK, pad=12)
    figure.savefig(path, format='png')


def layers(found: Mapping[str, float], path: Path, title: str) -> None:
    """Draw the mean spikes per neuron and step of each neuron layer, first layer left, into a PNG file."""
    figure = Figure(figsize=(max(6, 1.5 + 0.22 * len(found)), 4.2), dpi=DPI, layout='constrained')
    ax = figure.subplots()
    rates(ax, found)
    ax.set_title(title, fontsize=14, color=INK, pad=12)
    figure.savefig(path, format='png')


def raster(found: Raster, path: Path) -> None:
    """Draw an image, the spikes of the last hidden layer over time and the answer into a PNG file."""
    figure = Figure(figsize=(6, 8), dpi=DPI, layout='constrained')
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.5), height_ratios=(1, 2.2))
    image, answer = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    image.imshow(found.image.numpy(), cmap='gray_r' if found.ink else 'gray', vmin=0, vmax=1)
    image.set_axis_off()
    image.set_title(found.label, fontsize=14, color=INK)
    _answer(answer, found)
    _spikes(figure.add_subplot(grid[1, :]), found)
    figure.savefig(path, format='png')


def _answer(ax: Axes, found: Raster) -> None:
    """The mean logits over time, the winner in colour; or the map."""
    if not found.classes:
        ax.imshow(found.outputs.numpy(), cmap='gray', vmin=0, vmax=1)
        ax.set_axis_off()
        ax.set_title(f'mean output, T = {len(found.counts)}', fontsize=14, color=INK)
        return
    steps = range(1, len(found.outputs) + 1)
    winner = int(found.outputs[-1].argmax())
    for k in range(found.outputs.shape[1]):
        color, width = (ORANGE, 2.5) if k == winner else (GREY, 1.2)
        ax.plot(steps, found.outputs[:, k], color=color, lw=width, zorder=2 + width / 10)
    ax.set_title(f'the network says: {found.classes[winner]}', fontsize=14, color=ORANGE)
    ax.set(xlabel='time step', ylabel='mean output')
    ax.set_xlim(1, len(found.outputs))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    tidy(ax)


def _spikes(ax: Axes, found: Raster) -> None:
    """One mark for each neuron and step that spikes, larger for bursts, orange for negative ones."""
    times, neurons = torch.nonzero(found.counts, as_tuple=True)
    counts = found.counts[times, neurons]
    size = 9 * min(1.0, 120 / found.counts.shape[1])
    ax.scatter(times + 1, neurons, s=size * counts.abs(), c=[BLUE if n > 0 else ORANGE for n in counts], linewidths=0)
    for k in legend_counts(counts):
        color, word = (BLUE, str(k)) if k > 0 else (ORANGE, 'negative')
        ax.scatter([], [], s=9 * abs(k), c=color, linewidths=0, label=word)
    ax.set_xlim(0.5, len(found.counts) + 0.5)
    ax.set_ylim(-1, found.counts.shape[1])
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set(xlabel='time step', ylabel='neuron')
    total, shown = int(found.counts.abs().sum()), found.counts.shape[1]
    whose = 'before the output' if shown == found.neurons else f'of {found.neurons:,}'
    ax.set_title(f'{total:,} spikes of {shown} neurons {whose}', fontsize=14, color=INK)
    if len(counts):
        legend = ax.legend(title='spikes in one step', frameon=False, fontsize=11, title_fontsize=12, ncols=6)
        legend.set_loc('upper center')
        legend.set_bbox_to_anchor((0.5, -0.13), transform=ax.transAxes)
    tidy(ax)


def legend_counts(counts: Tensor) -> list[int]:
    """Up to five burst sizes for the legend, and -1 where there are negative spikes."""
    top = int(counts.max()) if len(counts) else 0
    positive = sorted({round(1 + i * (top - 1) / 4) for i in range(5)}) if top > 0 else []
    return positive + ([-1] if bool((counts < 0).any()) else [])
