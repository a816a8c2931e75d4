"""The picture of a training: its loss at each step, and the score after each epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from snnkern._files import write
from snnkern.convert.plots import BLUE, DPI, GREY, INK, ORANGE, tidy

SMOOTH = 50  # windows of the line that is drawn over all losses


def draw(losses: Sequence[float], history: Sequence[Mapping[str, float]], steps: int, path: Path) -> None:
    """Draw losses [steps of all epochs] and the first number of each row of history, into a PNG file.

    steps: of an epoch.
    """
    name = next(iter(history[0]))
    figure = Figure(figsize=(9, 4), dpi=DPI, layout='constrained')
    left, right = figure.subplots(1, 2)
    epochs = [(i + 1) / steps for i in range(len(losses))]
    left.plot(epochs, losses, color=GREY, linewidth=0.8, alpha=0.6)
    size = max(1, len(losses) // SMOOTH)
    if len(losses) >= 2 * size:
        means = torch.tensor(losses).unfold(0, size, size).mean(1)
        left.plot([(i + 0.5) * size / steps for i in range(len(means))], means.tolist(), color=BLUE, linewidth=2)
    left.set_ylabel('loss', color=INK)
    left.set_ylim(bottom=min(0.0, *losses))
    right.plot([row['epoch'] for row in history], [row[name] for row in history], color=ORANGE, marker='o')
    right.set_ylabel(f'test {name}' + (' (%)' if name == 'accuracy' else ''), color=INK)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = history[-1]
    where: Any = {'xy': (last['epoch'], last[name]), 'xytext': (-6, 8), 'textcoords': 'offset points', 'ha': 'right'}
    right.annotate(f'{last[name]:.4g}', color=INK, **where)
    for ax in (left, right):
        ax.set_xlabel('epoch', color=INK)
        tidy(ax)
    write(path, lambda p: figure.savefig(p, format='png'))
