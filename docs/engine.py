"""What docs/engine.md shows of stored results: `python -m docs.engine` writes its tables and draws docs/engine.png."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.conversion import LOOP, SJ_MANY, SJ_STEPS
from benchmarks.engine_calls import ENGINE, LAYERS
from benchmarks.engine_training import BY_EVENTS, EVENTS, FORWARD, INPUT, PACKING, PLAIN, WEIGHT, WEIGHT_EVENTS, gain
from benchmarks.report import number
from docs.panels import BLUE, GREY, INK, ORANGE

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / 'benchmarks' / 'results'
PAGE, PICTURE = FOLDER / 'engine.md', FOLDER / 'engine.png'
YOLO = 'Tiny-YOLO'
BEGIN, END = '<!-- {}: written by python -m docs.engine -->\n', '<!-- end -->\n'
BY = 'by events'  # the column before says what
Lines = list[list[str]]


def load(name: str) -> Any:
    """A stored result."""
    return json.loads((RESULTS / f'{name}.json').read_text())


def markdown(lines: Lines) -> str:
    """A table."""
    ruled = [lines[0], ['---'] * len(lines[0]), *lines[1:]]
    return ''.join(f'| {" | ".join(line)} |\n' for line in ruled)


def accuracy() -> Lines:
    """Of networks, SNNs and engines."""
    found = {name: of['accuracy'] for name, of in load('engine').items() if name != YOLO}
    lines = [['network', 'images', 'ANN', 'T', 'SNN', 'engine', 'equal answers']]
    for name, of in found.items():
        for T, at in of['by T'].items():
            same = f'{at["equal"]:.1f} %'
            lines.append(
                [name, str(of['images']), f'{of["ANN"]:.2f}', T, f'{at["SNN"]:.2f}', f'{at["engine"]:.2f}', same]
            )
    return lines


def speed() -> Lines:
    """Milliseconds of the engine, and how many times as long others take; with each number of threads."""
    lines = [
        ['network', 'T', 'batch', 'engine, ms', LAYERS, 'loop', 'SpikingJelly', 'engine, in passes of the network']
    ]
    for name, record in load('engine').items():
        for key in next(iter(record['speed'].values()), {'cases': {}})['cases']:
            found = [_ratios(timed['cases'][key]) for timed in record['speed'].values()]
            lines.append([name, *key.split(', '), *(' / '.join(cells) for cells in zip(*found, strict=True))])
    return lines


def _ratios(of: dict[str, Any]) -> Iterator[str]:
    own = of[ENGINE]['median']
    yield number(own * 1e3)
    for names in ((LAYERS,), (LOOP,), (SJ_STEPS, SJ_MANY)):
        there = [of[name]['median'] / own for name in names if name in of]
        yield f'{number(min(there))}x' if there else '-'
    yield f'{own / min(t["median"] for name, t in of.items() if name.startswith("ANN")):.2f}'


def targets() -> Lines:
    """Of each the cases that meet it, and the worst."""
    found: dict[tuple[str, int, str], list[tuple[float, bool, str]]] = {}
    for name, record in load('engine').items():
        for threads, timed in record['speed'].items():
            for row in timed.get('targets', ()):
                T, batch = row['case'].split(', ')
                case = f'{name}, T = {T}, {threads} threads'
                key = row['rival'], int(batch), row['wanted']
                found.setdefault(key, []).append((row['median'], row['met'], case))
    lines = [['beside', 'batch', 'wanted', 'met', 'worst', 'there', 'best']]
    for (rival, batch, wanted), rows in found.items():
        least, *_, most = sorted(rows) if len(rows) > 1 else rows * 2
        worst, best = (most, least) if wanted.startswith('at most') else (least, most)
        met = f'{sum(met for _, met, _ in rows)} of {len(rows)}'
        lines.append([rival, str(batch), wanted, met, f'{worst[0]:.2f}', worst[2], f'{best[0]:.2f}'])
    return lines


def density() -> Lines:
    """Microseconds by density."""
    curves = load('engine_density')['curves']['1']
    shares = [f'{point["density"]:.0%}' for point in curves[0]['points']]
    lines = [['channels, size', *shares, 'dense', 'equal at']]
    for of in curves:
        same = '-' if of['equal'] is None else f'{of["equal"]:.0%}'
        us = [number(point['measured']) for point in of['points']]
        lines.append([f'{of["channels"]}, {of["size"]}x{of["size"]}', *us, number(of['dense']), same])
    return lines


def training() -> Lines:
    """Milliseconds of the convolutions in a training step on one thread."""
    found = load('engine_training')['threads']['1']
    parts = {FORWARD: FORWARD, EVENTS: EVENTS, WEIGHT: f'gradient of {WEIGHT}', WEIGHT_EVENTS: BY, PACKING: PACKING,
             INPUT: f'gradient of {INPUT}'}  # fmt: skip
    lines = [['input', 'dense, 1 step', 'in 4 steps', *parts.values()]]
    for of in found['layers'].values():
        shares = [f'{of["densities"][n]:.1%}' for n in ('1', '4')]
        lines.append(['x'.join(map(str, of['shape'])), *shares, *(number(of['ms'][part]) for part in parts)])
    sums = [sum(of['ms'][part] for of in found['layers'].values()) for part in parts]
    return [*lines, ['all', '', '', *(f'{total:.0f}' for total in sums)]]


def steps() -> Lines:
    """Milliseconds of whole training steps."""
    lines = [['threads', PLAIN, BY_EVENTS, 'gain', 'gain of CPU time']]
    for threads, found in load('engine_training')['threads'].items():
        gains = [f'{gain(times):.2f}x' for times in (found, found['cpu'])]
        lines.append([threads, f'{found[PLAIN]:.0f}', f'{found[BY_EVENTS]:.0f}', *gains])
    return lines


TABLES = {'accuracy': accuracy, 'speed': speed, 'targets': targets, 'density': density, 'training': training,
          'steps': steps}  # fmt: skip


def filled(text: str) -> str:
    """The page with the tables of the stored results."""
    for name, table in TABLES.items():
        before, mark, rest = text.partition(BEGIN.format(name))
        text = before + mark + '\n' + markdown(table()) + '\n' + END + rest.partition(END)[2]
    return text


def _panel(ax: Axes, of: dict[str, Any]) -> None:
    """One layer: measured and foreseen by density, and dense."""
    percent = [100 * point['density'] for point in of['points']]
    ax.axhline(of['dense'], color=BLUE, lw=1.6, label='dense: convolution in torch, neurons of snnkern')
    ax.plot(percent, [point['foreseen'] for point in of['points']], color=GREY, lw=2.4, label='events, foreseen')
    ax.plot(percent, [p['measured'] for p in of['points']], 'o', color=ORANGE, ms=5, label='events, measured')
    ax.set(xscale='log', yscale='log')
    ax.set_title(f'{of["channels"]} channels, {of["size"]} x {of["size"]}', fontsize=11, color=INK, loc='left')
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=9, colors=INK, length=3)
    ax.spines[['top', 'right']].set_visible(False)


def picture(path: Path = PICTURE) -> None:
    """A panel for each layer, on one thread, into a PNG file."""
    curves = load('engine_density')['curves']['1']
    figure = Figure(figsize=(13, 3.4), dpi=100, layout='constrained')
    axes = figure.subplots(1, len(curves))
    for ax, of in zip(axes, curves, strict=True):
        _panel(ax, of)
    axes[0].set_ylabel('us of an image and step', fontsize=10, color=INK)
    figure.supxlabel('% of the inputs that are not silent', fontsize=10, color=INK)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside upper left', ncols=3, frameon=False, fontsize=10)
    figure.savefig(path, pil_kwargs={'optimize': True})


if __name__ == '__main__':
    PAGE.write_text(filled(PAGE.read_text()))
    picture()
