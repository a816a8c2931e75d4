"""The picture of the backbone study."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from snnkern.convert.plots import DPI, INK, tidy
from snnkern.recipes.measure import main_score

COLOURS = ('#1769aa', '#d9480f', '#2b8a3e', '#862e9c', '#0b7285', '#c2255c', '#5c940d', '#495057')
SMALL = 1.0  # points of accuracy below which the scale is linear


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw how much accuracy each backbone loses by T, a panel a recipe, into a PNG file."""
    recipes, steps = report['recipes'], report['timesteps']
    figure = Figure(figsize=(4.6 * len(recipes) + 2.4, 4.8), dpi=DPI, layout='constrained')
    panels = figure.subplots(1, len(recipes), sharey=True, squeeze=False)[0]
    for ax, recipe in zip(panels, recipes, strict=True):
        for i, b in enumerate(report['backbones']):
            losses = [b['ann'] - main_score(row['score']) for row in b['runs'][recipe]]
            style = '-' if b['residual'] else '--'
            colour, mark = COLOURS[i % len(COLOURS)], 'o' if b['training'] == 'supervised' else 's'
            label = f'{b["backbone"]} ({b["neuron_layers"]} layers)'
            ax.plot(steps, losses, color=colour, ls=style, marker=mark, lw=2, label=label)
        ax.axhline(0, color=INK, lw=1)
        ax.set_xscale('log', base=2)
        ax.set_yscale('symlog', linthresh=SMALL)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f'{loss:g}'))
        ax.set_xticks(steps)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda T, _: f'{T:g}'))
        ax.set_xlabel('time steps T')
        ax.set_title(f'recipe {recipe}', fontsize=14, color=INK)
        ax.grid(axis='y', color='#dde3e8')
        tidy(ax)
    panels[0].set_ylabel('ANN - SNN (points of accuracy)')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside right upper', frameon=False, fontsize=11)
    figure.savefig(path, format='png')
