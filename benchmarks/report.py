"""Results as JSON and as tables: each provider beside the copy, each target beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.registry import COPY, NATIVE, SJ, TARGETS, Case
from benchmarks.timing import Timing


@dataclass
class Result:
    """One case. timings, peaks: by provider; skipped: provider -> why; failed: provider -> how it was wrong."""

    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    first_call_s: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratio(self, rival: str, statistic: str = 'median') -> float | None:
        """How many times snnkern native's time the rival needs; None if one of the two was not measured."""
        if rival not in self.timings or NATIVE not in self.timings:
            return None
        return getattr(self.timings[rival], statistic) / getattr(self.timings[NATIVE], statistic)

    def rows(self) -> list[dict[str, Any]]:
        """One row per provider."""
        return [
            {
                'provider': name,
                'ns_per_step': t.median / self.case.steps * 1e9,
                'gb_per_s': self.case.traffic / t.median * 1e-9,
                'copy_share': self.timings[COPY].median / t.median,
                'times_spikingjelly': self.timings[SJ].median / t.median if SJ in self.timings else None,
                'peak_bytes': self.peaks.get(name),
                'first_call_s': self.first_call_s.get(name),
                'seconds': t.as_dict(),
            }
            for name, t in self.timings.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        case = {'name': str(self.case), 'op': self.case.op, 'T': self.case.T, 'N': self.case.N}
        case |= {'dtype': str(self.case.dtype)[6:], 'direction': self.case.direction}
        return {**case, 'rows': self.rows(), 'skipped': self.skipped, 'failed': self.failed}


def verdicts(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Every target whose case was measured: wanted and measured ratio (of medians, minima, CPU time), met or not."""
    found = []
    for result in results:
        for target in TARGETS:
            if not target.holds_for(result.case) or (ratio := result.ratio(target.rival)) is None:
                continue
            found.append(
                {
                    'case': str(result.case),
                    'rival': target.rival,
                    'wanted': target.factor,
                    'measured': ratio,
                    'of_minima': result.ratio(target.rival, 'least'),
                    'of_cpu_time': result.ratio(target.rival, 'cpu'),
                    'met': ratio >= target.factor,
                }
            )
    return found


Table = tuple[str, list[str], list[list[str]]]


def case_table(result: Result) -> Table:
    """Title, head and rows of one case."""
    head = [
        'provider',
        'ns/step',
        'quartiles',
        'least',
        'CPU ns',
        'GB/s',
        'of copy',
        'x SJ',
        'peak MiB',
        'first call s',
    ]
    scale, rows = 1e9 / result.case.steps, []
    for row in result.rows():
        t, peak, first = result.timings[row['provider']], row['peak_bytes'], row['first_call_s']
        rows.append(
            [
                row['provider'],
                f'{row["ns_per_step"]:.3f}',
                f'{t.low * scale:.3f}-{t.high * scale:.3f}',
                f'{t.least * scale:.3f}',
                f'{t.cpu * scale:.3f}',
                f'{row["gb_per_s"]:.1f}',
                f'{row["copy_share"]:.0%}',
                '-' if row['times_spikingjelly'] is None else f'{row["times_spikingjelly"]:.1f}',
                '-' if peak is None else f'{peak / 2**20:.1f}',
                '-' if first is None else f'{first:.2f}',
            ]
        )
    wrong = {f'{name}: {why}' for name, why in (result.skipped | result.failed).items()}
    return f'{result.case}' + ''.join(f'\n  left out: {line}' for line in sorted(wrong)), head, rows


def target_table(results: Sequence[Result]) -> Table:
    """Title, head and rows of the targets."""
    head = ['case', 'against', 'wanted', 'measured', 'of minima', 'of CPU time', 'target']
    rows = [
        [
            v['case'],
            v['rival'],
            f'{v["wanted"]:.2f}x',
            f'{v["measured"]:.2f}x',
            f'{v["of_minima"]:.2f}x',
            f'{v["of_cpu_time"]:.2f}x',
            'met' if v['met'] else 'NOT met',
        ]
        for v in verdicts(results)
    ]
    return "Targets: the rival's time as a multiple of snnkern native's", head, rows


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
    Console(width=max(140, Console().width)).print(grid)
