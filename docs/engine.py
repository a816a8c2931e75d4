"""Draws docs/engine.png from benchmarks/results/engine_density.json: `python -m docs.engine`."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.panels import BLUE, GREY, INK, ORANGE

FOLDER = Path(__file__).parent
RESULTS, PICTURE = FOLDER.parent / 'benchmarks' / 'results' / 'engine_density.json', FOLDER / 'engine.png'


def _panel(ax: Axes, of: dict[str, Any]) -> None:
    """One layer: measured and foreseen by density, and dense."""
    percent = [100 * point['density'] for point in of['points']]
    ax.axhline(of['dense'], color=BLUE, lw=1.6, label='dense: convolution in torch, neurons of snnkern')
    ax.plot(percent, [point['foreseen'] for point in of['points']], color=GREY, lw=2.4, label='events, foreseen')
    ax.plot(percent, [p['measured'] for p in of['points']], 'o', color=ORANGE, ms=5, label='events, measured')
    ax.set(xscale='log', yscale='log')
    ax.set_title(f'{of["channels"]} channels, {of["size"]} x {of["size"]}', fontsize=11, color=INK, loc='left')
    ax.set_xticks([1, 2, 5, 10, 20, 50], ['1', '2', '5', '10', '20', '50'], minor=False)
    ax.set_xticks([], minor=True)
    ax.tick_params(labelsize=9, colors=INK, length=3)
    ax.spines[['top', 'right']].set_visible(False)


def picture(path: Path = PICTURE) -> None:
    """A panel for each layer, on one thread, into a PNG file."""
    curves = json.loads(RESULTS.read_text())['curves']['1']
    figure = Figure(figsize=(12, 3.2), dpi=100, layout='constrained')
    axes = figure.subplots(1, len(curves))
    for ax, of in zip(axes, curves, strict=True):
        _panel(ax, of)
    axes[0].set_ylabel('us of an image and step', fontsize=10, color=INK)
    figure.supxlabel('% of the input that is not silent', fontsize=10, color=INK)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside upper left', ncols=3, frameon=False, fontsize=10)
    figure.savefig(path, pil_kwargs={'optimize': True})


if __name__ == '__main__':
    picture()
