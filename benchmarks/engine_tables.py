"""The tables of `benchmarks.engine`."""

from typing import Any

from benchmarks.engine_calls import ENGINE
from benchmarks.report import Table, number


def accuracy(found: dict[str, Any]) -> Table:
    """Of the network, its SNNs and their engines by T."""
    head = ['T', 'SNN', 'engine', 'equal answers', '']
    rows = [
        [T, *(f'{of[key]:.2f}' for key in ('SNN', 'engine', 'equal')), '' if of['passed'] else 'NOT timed: too few']
        for T, of in found['by T'].items()
    ]
    within = f'within half a point from T = {found["smallest"]}' if found['smallest'] else 'no T within half a point'
    return f'{found["network"]}, % of {found["images"]} images, ANN {found["ANN"]:.2f}, {within}', head, rows


def speed(network: str, timed: dict[str, Any]) -> Table:
    """Milliseconds of each contestant in each case, and how many times the engine's that is."""
    cases = timed['cases']
    names = dict.fromkeys(name for of in cases.values() for name in of)
    rows = [[name, *(_cell(of, name) for of in cases.values())] for name in names]
    about = f'{timed["about"]["threads"]} threads, load {timed["load"]}'
    out = ''.join(f'\n  {name}: {why}' for name, why in timed['skipped'].items())
    head = ['', *('T = {}, batch {}'.format(*key.split(', ')) for key in cases)]
    return f"{network}, ms (times the engine's), {about}{out}", head, rows


def _cell(seconds: dict[str, Any], name: str) -> str:
    if name not in seconds:
        return '-'
    own, median = seconds[ENGINE]['median'], seconds[name]['median']
    return f'{number(median * 1e3)} ({number(median / own)})'


def targets(rows: list[dict[str, Any]]) -> Table:
    """Wanted and measured ratios."""
    head = ['T, batch', 'rival', 'wanted', 'measured', 'of minima', 'of CPU time', '']
    found = [
        [
            *(row['case'], row['rival'], row['wanted'], *(f'{row[key]:.2f}' for key in ('median', 'least', 'cpu'))),
            'met' if row['met'] else 'NOT met',
        ]
        for row in rows
    ]
    return 'Targets', head, found
