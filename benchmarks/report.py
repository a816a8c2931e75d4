"""A run as tables: the cases of each op, each target beside what was measured, lines of cost, what was left out."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from benchmarks.subjects import COPY, NATIVE, NETWORKS
from benchmarks.targets import Row, promised, ratio, seconds

Table = tuple[str, list[str], list[list[str]]]
Document = dict[str, Any]


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without exponents; "-" for what is not there."""
    if value is None:
        return '-'
    return f'{value:,.0f}' if abs(value) >= 100 else format(Decimal(f'{value:.{digits}g}'), 'f')


def _times(value: float | None, factor: float) -> str:
    """A number in other units."""
    return number(None if value is None else value * factor)


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.0%}'


def kind(case: Row) -> tuple[str, str, str]:
    """The table that a case belongs to."""
    return case['op'], case['direction'], case['dtype']


def grouped(cases: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Cases by table, in the order of T and N."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for case in cases:
        found.setdefault(kind(case), []).append(case)
    order = lambda case: (case['threads'], case['T'], case['N'])  # noqa: E731
    return {key: sorted(rows, key=order) for key, rows in found.items()}


def _row(case: Row, rivals: Sequence[str]) -> list[str]:
    """What a case took snnkern native, and how many times as long the others."""
    own = next((row for row in case['rows'] if row['provider'] == NATIVE), None)
    if own is None:
        return ['-'] * (6 + len(rivals))
    t, scale = own['seconds'], 1e9 / case['steps']
    return [
        f'{number(t["median"] * 1e6)}',
        f'{number(own["ns_per_step"])} ({number(t["low"] * scale)}-{number(t["high"] * scale)})',
        number(own['gb_per_s']),
        _share(own['copy_share']),
        *(number(ratio(case, rival)) for rival in rivals),
        _times(own['peak_bytes'], 2**-20),
        _times(own['first_call_s'], 1e3),
    ]


def case_tables(document: Document) -> list[Table]:
    """One table for each op, direction and dtype, with a row for each case."""
    tables = []
    kernels = [case for case in document['cases'] if case['group'] != NETWORKS]
    for (op, *rest), cases in grouped(kernels).items():
        rivals = list(dict.fromkeys(r['provider'] for c in cases for r in c['rows']))
        rivals = [name for name in rivals if name not in (NATIVE, COPY)]
        head = [
            'T',
            'N',
            'threads',
            'us a call',
            'ns a step (quartiles)',
            'GB/s',
            'of copy',
            *(f'x {name}' for name in rivals),
        ]
        rows = []
        for case in cases:
            threads = case['threads'] or document['settings']['threads']
            rows.append([str(case['T']), f'{case["N"]:,}', str(threads), *_row(case, rivals)])
        tables.append((', '.join((op, *rest)), [*head, 'peak MiB', 'first call ms'], rows))
    return tables


def network_table(document: Document) -> Table:
    """Whole networks: a row for each provider."""
    head = ['network', 'provider', 'ms a call', 'quartiles', 'images/s', 'of snnkern native', 'peak MiB']
    rows = []
    for case in document['cases']:
        for row in case['rows'] if case['group'] == NETWORKS else ():
            t = row['seconds']
            quartiles = '-'.join(number(t[key] * 1e3) for key in ('low', 'high'))
            rows.append(
                [
                    f'{case["op"]}, {case["direction"]}, T = {case["T"]}, batch {case["N"]}',
                    *(row['provider'], number(t['median'] * 1e3), quartiles, number(case['N'] / t['median'])),
                    number(ratio(case, row['provider'])),
                    _times(row['peak_bytes'], 2**-20),
                ]
            )
    return 'Whole networks', head, rows


def provider_table(document: Document) -> Table:
    """Everybody in every case: all that was measured."""
    head = ['case', 'provider', 'ns a step', 'quartiles', 'least', 'CPU ns', 'of copy', 'peak MiB', 'first call ms']
    rows = []
    for case in document['cases']:
        scale = 1e9 / case['steps']
        for row in case['rows']:
            t = row['seconds']
            numbers = [number(t[key] * scale) for key in ('low', 'high', 'least', 'cpu')]
            quartiles, least, cpu = '-'.join(numbers[:2]), *numbers[2:]
            rows.append(
                [
                    *(case['name'], row['provider'], number(row['ns_per_step']), quartiles, least, cpu),
                    *(_share(row['copy_share']), _times(row['peak_bytes'], 2**-20), _times(row['first_call_s'], 1e3)),
                ]
            )
    return 'Everybody', head, rows


def target_table(document: Document, only: bool | None = None) -> Table:
    """The targets; only: those that are met, or are not."""
    head = ['target', 'case', 'wanted', 'measured', 'of minima', 'of CPU time', 'verdict']
    rows = [
        [
            *(v['what'], v['case'], v['wanted'], number(v['measured'])),
            *(number(v['of_minima']), number(v['of_cpu_time']), 'met' if v['met'] else 'NOT met'),
        ]
        for v in document['targets']
        if only in (None, v['met'])
    ]
    return 'Targets', head, rows


def counted(document: Document) -> Table:
    """Each target once: in how many of the measured cases it is met, the worst of them, and how many were not."""
    found: dict[tuple[str, str], list[Row]] = {key: [] for key in promised(document)}
    for verdict in document['targets']:
        found.setdefault((verdict['what'], verdict['rival']), []).append(verdict)
    rows = []
    for (what, rival), verdicts in found.items():
        left = len(promised(document).get((what, rival), ())) - len(verdicts)
        if not verdicts:
            rows.append([what, rival, '-', str(left), '-', '-', 'not measured'])
            continue
        most = verdicts[0]['wanted'].startswith('at most')
        worst = (max if most else min)(verdicts, key=lambda v: v['measured'])
        met = sum(v['met'] for v in verdicts)
        mark = 'met' if met == len(verdicts) else 'NOT met'
        rows.append(
            [what, rival, f'{met} of {len(verdicts)}', str(left), number(worst['measured']), worst['case'], mark]
        )
    return 'Targets', ['target', 'against', 'met', 'not measured', 'worst', 'there', 'verdict'], rows


def fit_table(document: Document) -> Table:
    """Cost as a line in T * N."""
    head = ['snnkern native', 'over', 'cases', 'a us', 'b ns', 'residual', 'worst']
    rows = [
        [
            *(f'{f["direction"]}, {f["dtype"]}', f['over'], str(f['points']), number(f['a_us']), number(f['b_ns'])),
            *(f'{f["median_residual"]:.0%}', f'{f["worst_residual"]:.0%}'),
        ]
        for f in document['fits']
    ]
    return 'Cost of a call: a + b * T * N', head, rows


def overhead_table(document: Document) -> Table:
    """Microseconds a call where there is nothing to compute."""
    small = [c for c in document['cases'] if c['op'] == 'lif' and c['N'] == 64 and c['dtype'] == 'float32']
    names = list(dict.fromkeys(row['provider'] for case in small for row in case['rows']))
    rows = []
    for case in small:
        times = [seconds(case, name) for name in names]
        rows.append([f'{case["direction"]}, T={case["T"]}', *(_times(t, 1e6) for t in times)])
    return 'Microseconds a call at N = 64', ['case', *names], rows


def startup_table(document: Document) -> Table:
    """What imports take."""
    found = document.get('startup') or {}
    rows = [[name, *(number(t[key] * 1e3) for key in ('median', 'low', 'high', 'least'))] for name, t in found.items()]
    return 'Milliseconds of imports, one after the other', ['import', 'median', 'low', 'high', 'least'], rows


def left_out(document: Document) -> Table:
    """Who was not timed and why, each reason once with the number of cases."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in document['cases']:
        for name, why in case['skipped'].items():
            found.setdefault((name, why), []).append(case['name'])
        for name, why in case['failed'].items():
            said = why if why.startswith('fails: ') else f'gives other results: {why}'
            found.setdefault((name, said), []).append(case['name'])
    rows = [[name, why, str(len(cases)), cases[0]] for (name, why), cases in found.items()]
    return 'Not timed', ['provider', 'why', 'cases', 'for example'], rows


def show(table: Table) -> None:
    """Print with rich, or plainly where it is not installed."""
    title, head, rows = table
    try:
        from rich.console import Console
        from rich.table import Table as Grid
    except ImportError:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        print(title)
        for row in (head, *rows):
            print('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        return
    grid = Grid(title=title, title_justify='left')
    for i, name in enumerate(head):
        grid.add_column(name, justify='left' if i == 0 else 'right', no_wrap=True, overflow='fold')
    for row in rows:
        grid.add_row(*row)
    Console(width=max(Console(width=1000).measure(grid).maximum, Console().width)).print(grid)
