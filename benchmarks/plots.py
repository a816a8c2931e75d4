"""Pictures of a run as inline SVG: their texts and axes have the colour of the page, their width is the reader's."""

import io
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.lif import LOOP, LOOP_COMPILED, SJ, SJ_COMPILED
from benchmarks.subjects import BOTH, COPY, FORWARD, INFERENCE, NATIVE, NETWORKS, NEURONS, TRAINING
from benchmarks.targets import Row, ratio, seconds

INK = '#123456'  # becomes the colour of the page's text
COLOURS = {
    NATIVE: '#2f7fd0',
    COPY: '#8a8f98',
    SJ: '#d9822b',
    SJ_COMPILED: '#b8438f',
    LOOP: '#c2503f',
    LOOP_COMPILED: '#3a9d5d',
}
STYLE = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'snnkern',
    'font.size': 11,
    'font.family': 'sans-serif',
    **{f'{name}.color': INK for name in ('text', 'xtick', 'ytick')},
    'axes.labelcolor': INK,
    'axes.edgecolor': INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
}
ONE_COLOUR = 'Neurons of other libraries', 'Networks', 'Memory'  # sections
WIDTH, HEIGHT = 4.4, 3.3  # inches: legible on a phone


class Picture:
    """A figure with one pair of axes. `svg`: its text, with a description for those who cannot see it."""

    def __init__(self, title: str, x: str, y: str, height: float = HEIGHT) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self.context = rc_context(STYLE)
        self.context.__enter__()
        self.title = title
        self.figure = Figure((WIDTH, height), layout='constrained')
        self.axes: Any = self.figure.subplots()
        self.axes.set(xlabel=x, ylabel=y)

    def plainly(self, axis: str) -> None:
        """Numbers on a logarithmic axis as 0.1, 1, 10."""
        getattr(self.axes, f'{axis}axis').set_major_formatter('{x:g}')

    def svg(self) -> str:
        """The picture, to be put into a page, which says what the colours mean."""
        try:
            found = io.StringIO()
            self.figure.savefig(found, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
        finally:
            self.context.__exit__(None, None, None)
        text = found.getvalue()
        text = text[text.index('<svg') :].replace(INK, 'currentColor')
        text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
        text = re.sub(r'xmlns:\w+="[^"]*"|xmlns="[^"]*"', '', text.replace('xlink:href', 'href'))
        # Names within a picture are its own: a page has several pictures.
        prefix = re.sub(r'\W', '', self.title)
        text = re.sub(r'(id="|href="#|url\(#)', rf'\1{prefix}-', text)
        size = re.search(r'viewBox="([^"]*)"', text)
        head = f'<svg role="img" aria-label="{self.title}" viewBox="{size[1] if size else ""}">'
        return re.sub(r'<svg[^>]*>', head, text, count=1)


def usual(document: dict[str, Any], direction: str, dtype: str = 'float32') -> list[Row]:
    """LIF cases of a direction, with as many threads as the run has."""
    return [
        case
        for case in document['cases']
        if case['op'] == 'lif' and (case['direction'], case['dtype']) == (direction, dtype) and not case['threads']
    ]


def providers(cases: Sequence[Row]) -> list[str]:
    """Those of the cases that pictures have a colour for."""
    found = {row['provider'] for case in cases for row in case['rows']}
    return [name for name in COLOURS if name in found]


def legend(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The names in the pictures, with their colours."""
    return [(name, COLOURS[name]) for name in providers([case for case in document['cases'] if case['op'] == 'lif'])]


def roofline(document: dict[str, Any], direction: str) -> str:
    """Bytes that must move a second, over how many they are; the roof is a copy of as many."""
    cases = sorted(usual(document, direction), key=lambda case: case['traffic'])
    if not cases:
        return ''
    picture = Picture(f'Roofline, {direction}', 'bytes that must move', 'GB/s')
    for name in providers(cases):
        points = [(c['traffic'], c['traffic'] / s * 1e-9) for c in cases if (s := seconds(c, name))]
        x, y = zip(*points, strict=True)
        look = {'linewidth': 2, 'linestyle': '--'} if name == COPY else {'marker': 'o', 'markersize': 4, 'linewidth': 0}
        picture.axes.plot(x, y, color=COLOURS[name], **look)
    cache = cases[0]['cache']
    if cache:
        picture.axes.axvline(cache, color=INK, linewidth=0.7, linestyle=':')
        picture.axes.annotate(' L2', (cache, 1), xycoords=('data', 'axes fraction'), va='top')
    picture.axes.set(xscale='log', yscale='log')
    picture.plainly('y')
    return picture.svg()


def bars(document: dict[str, Any], direction: str) -> str:
    """How many times snnkern native's time each rival needs, at 16 steps of float32."""
    cases = sorted((c for c in usual(document, direction) if c['T'] == 16), key=lambda case: case['N'])
    rivals = [name for name in providers(cases) if name not in (NATIVE, COPY)]
    if not cases or not rivals:
        return ''
    height = 1.4 + 0.16 * len(cases) * (len(rivals) + 1)
    picture = Picture(f'Speed-up, {direction}', 'times as fast as the rival', 'N', height)
    thick = 0.8 / len(rivals)
    for i, rival in enumerate(rivals):
        found = [(j, r) for j, case in enumerate(cases) if (r := ratio(case, rival))]
        places = [j + (i - (len(rivals) - 1) / 2) * thick for j, _ in found]
        drawn = picture.axes.barh(places, [r for _, r in found], thick, color=COLOURS[rival])
        picture.axes.bar_label(drawn, [f' {r:.3g}' for _, r in found], fontsize=9)
    picture.axes.set_yticks(range(len(cases)), [power(case['N']) for case in cases])
    picture.axes.axvline(1, color=INK, linewidth=0.7)
    picture.axes.set(xscale='log')
    picture.plainly('x')
    picture.axes.invert_yaxis()
    picture.axes.margins(x=0.12)
    return picture.svg()


def others(document: dict[str, Any], group: str, direction: str) -> str:
    """How many times snnkern native's time other libraries need for their own neurons, or networks; the largest N."""
    own = [c for c in document['cases'] if (c['group'], c['direction'], c['dtype']) == (group, direction, 'float32')]
    found = {}
    for case in sorted(own, key=lambda case: case['N']):
        for row in case['rows']:
            if not row['ours'] and row['provider'] != COPY and (value := ratio(case, row['provider'])):
                name = case['op'] if '.' in case['op'] else f'{case["op"]}.{row["provider"]}'
                found['\n'.join(name.split('.', 1))] = value
    if not found:
        return ''
    picture = Picture(f'{group}, {direction}', 'times as fast', '', 1 + 0.36 * len(found))
    drawn = picture.axes.barh([*found], [*found.values()], 0.7, color=COLOURS[NATIVE])
    picture.axes.bar_label(drawn, [f' {value:.3g}' for value in found.values()], fontsize=9)
    picture.axes.tick_params('y', labelsize=9)
    picture.axes.axvline(1, color=INK, linewidth=0.7)
    picture.axes.invert_yaxis()
    picture.axes.margins(x=0.15)
    return picture.svg()


def power(count: int) -> str:
    """2^14 of 16384."""
    return f'$2^{{{count.bit_length() - 1}}}$' if count & (count - 1) == 0 else str(count)


def scaling(document: dict[str, Any], over: str, direction: str) -> str:
    """Nanoseconds a step over T or N, where all else is fixed at the values that most cases have."""
    cases, other = usual(document, direction), {'T': 'N', 'N': 'T'}[over]
    sets = {c[other]: [d for d in cases if d[other] == c[other]] for c in cases}
    if not sets:
        return ''
    fixed = max(sets, key=lambda value: (len(sets[value]), value == {'T': 16, 'N': 1 << 18}[other]))
    cases = sorted(sets[fixed], key=lambda case: case[over])
    if len(cases) < 2:
        return ''
    picture = Picture(f'Cost over {over}, {direction} ({other} = {fixed})', over, 'ns an element-step')
    for name in providers(cases):
        points = [(c[over], s / c['steps'] * 1e9) for c in cases if (s := seconds(c, name))]
        if points:
            x, y = zip(*points, strict=True)
            picture.axes.plot(x, y, color=COLOURS[name], marker='o', markersize=3)
    picture.axes.set(xscale='log', yscale='log')
    picture.axes.set_xticks([c[over] for c in cases], [power(c[over]) for c in cases])
    picture.axes.minorticks_off()
    picture.plainly('y')
    return picture.svg()


def threads(document: dict[str, Any], direction: str) -> str:
    """How many times as fast as one thread each is."""
    cases = [c for c in document['cases'] if c['op'] == 'lif' and c['threads'] and c['direction'] == direction]
    widest = max((c['N'] for c in cases if c['N'] <= 1 << 18), default=0)
    cases = [c for c in cases if c['N'] == widest]
    if len(cases) < 2:
        return ''
    picture = Picture(f'Threads, {direction} (N = {cases[0]["N"]})', 'threads', 'times one thread')
    for name in providers(cases):
        points = {c['threads']: s for c in cases if (s := seconds(c, name))}
        if 1 in points and len(points) > 1:
            speeds = [points[1] / s for s in points.values()]
            picture.axes.plot([*points], speeds, color=COLOURS[name], marker='o', markersize=4)
    counts = [c['threads'] for c in cases]
    picture.axes.plot(counts, counts, color=INK, linewidth=0.7, linestyle=':')
    picture.axes.set_xticks(counts)
    return picture.svg()


def memory(document: dict[str, Any], direction: str) -> str:
    """Peak memory of a call in the largest case that was measured."""
    cases = [c for c in usual(document, direction) if any(row['peak_bytes'] for row in c['rows'])]
    if not cases:
        return ''
    case = max(cases, key=lambda case: (len(case['rows']), case['steps']))
    rows = [row for row in case['rows'] if row['peak_bytes'] is not None]
    picture = Picture(f'Memory, {direction} (T = {case["T"]}, N = {case["N"]})', 'peak MiB', '', 1.2 + 0.3 * len(rows))
    names, sizes = [row['provider'] for row in rows], [row['peak_bytes'] / 2**20 for row in rows]
    drawn = picture.axes.barh(names, sizes, 0.7, color=[COLOURS.get(name, '#8a8f98') for name in names])
    picture.axes.bar_label(drawn, [f' {size:.0f}' for size in sizes])
    picture.axes.invert_yaxis()
    picture.axes.margins(x=0.15)
    return picture.svg()


def all_of(document: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections: title, and pictures with what they are."""
    ways = FORWARD, BOTH
    return [
        ('Roofline', [(f'LIF, float32, {d}; dashed: the copy', roofline(document, d)) for d in ways]),
        ('Speed-up by rival', [(f'LIF, T = 16, float32, {d}', bars(document, d)) for d in ways]),
        ('Neurons of other libraries', [(f'float32, {d}', others(document, NEURONS, d)) for d in ways]),
        ('Networks', [(d, others(document, NETWORKS, d)) for d in (INFERENCE, TRAINING)]),
        ('Scaling', [(f'Over {over}, {d}', scaling(document, over, d)) for over in ('N', 'T') for d in ways]),
        (
            'Threads',
            [(f'LIF, T = 16, float32, {d}; dotted: as many times as threads', threads(document, d)) for d in ways],
        ),
        ('Memory', [(f'LIF, float32, {d}', memory(document, d)) for d in ways]),
    ]
