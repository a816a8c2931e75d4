"""What the README shows of stored results: `python -m docs.overview` draws docs/overview.png and prints the table."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.panels import BLUE, GREY, INK, ORANGE, VIOLET

ROOT = Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / 'benchmarks' / 'results', ROOT / 'docs' / 'overview.png'
CASE = 'lif-forward+backward-T16-N262144-float32'
COLUMNS = {
    f'{short} 2^{power}': f'lif-{direction}-T16-N{1 << power}-float32'
    for direction, short in (('forward', 'fwd'), ('forward+backward', 'fwd+bwd'))
    for power in (14, 18, 21)
}
ROWS = {
    'snnkern native': '**snnkern**',
    'SpikingJelly op, torch.compile': "SpikingJelly 2.0's op, torch.compile",
    'torch loop, torch.compile': 'plain loop, torch.compile',
    'torch loop': 'plain loop',
    'SpikingJelly': 'SpikingJelly 2.0 LIFNode',
    'copy of the same bytes': 'copy of the bytes that must move',
}
BARS = {
    'copy of the same bytes': 'copy of the bytes\nthat must move',
    'snnkern native': 'snnkern',
    'SpikingJelly op, torch.compile': 'SpikingJelly,\ntorch.compile',
    'torch loop, torch.compile': 'torch loop,\ntorch.compile',
    'torch loop': 'torch loop',
    'SpikingJelly': 'SpikingJelly',
}
LINES = {
    'snnkern default': ('snnkern', ORANGE),
    'SpikingJelly, balanced (CVPR 2025)': ('SpikingJelly', BLUE),
    'BrainCog, p .99, gamma 5': ('BrainCog', VIOLET),
}


def load(name: str) -> Any:
    """A stored result."""
    return json.loads((RESULTS / name).read_text())


def times() -> dict[str, dict[str, float]]:
    """ns per element-step by case and provider."""
    cases = load('suite.json')['cases']
    return {case['name']: {row['provider']: row['ns_per_step'] for row in case['rows']} for case in cases}


def table() -> str:
    """The README's table."""
    found = times()
    lines = [['ns per element and step', *COLUMNS], ['---'] * (1 + len(COLUMNS))]
    lines += [[title, *(f'{found[case][name]:.2f}' for case in COLUMNS.values())] for name, title in ROWS.items()]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def draw_speeds(axes: Axes) -> None:
    """Bars, with the number at the end of each."""
    found = times()[CASE]
    bars = {title: found[name] for name, title in BARS.items()}
    colours = [ORANGE if title == 'snnkern' else GREY for title in bars]
    drawn = axes.barh(list(bars), list(bars.values()), color=colours)
    axes.bar_label(drawn, [f' {value:.2f}' for value in bars.values()], color=INK, fontsize=8)
    axes.invert_yaxis()
    axes.set(title='LIF forward + backward on a CPU, T = 16', xlabel='ns per element and step')
    axes.margins(x=0.12)


def draw_accuracies(axes: Axes) -> None:
    """Lines over T, and the level of the network without spikes."""
    found = load('conversion.json')['resnet20']['accuracy']
    (level,) = found['ANN'].values()
    axes.axhline(level, color=INK, linestyle='--', linewidth=1)
    axes.text(32, level + 1.5, 'the network without spikes', ha='right', fontsize=8, color=INK)
    for name, (title, colour) in LINES.items():
        steps = [int(T) for T in found[name]]
        axes.plot(steps, list(found[name].values()), color=colour, marker='o', markersize=4, label=title)
    axes.set_xscale('log', base=2)
    axes.set_xticks(steps, [str(T) for T in steps])
    axes.set(
        title='A ResNet-20 converted without training', xlabel='time steps T', ylabel='% of 200 images', ylim=(0, 100)
    )
    axes.legend(loc='lower right', frameon=False, fontsize=8)


def draw(path: Path = PICTURE) -> None:
    """Both panels, side by side."""
    figure = Figure(figsize=(10, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    draw_speeds(left)
    draw_accuracies(right)
    for axes in (left, right):
        axes.spines[['top', 'right']].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(10)
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    draw()
    print(table())
