"""The tables of docs/gpu.md, from gpu_static.json and results/gpu_rivals.json: ours beside SpikingJelly's kernels."""

import json
from pathlib import Path
from typing import Any

from benchmarks.gpu_limits import ARCH_OF, Work, binding, bounds, resident

HERE = Path(__file__).parent
DEVICES = {'a100': 'A100', 'h100': 'H100', 'rtx4090': 'RTX 4090', 'b200': 'B200'}
BEGIN, END = '<!-- tables: make gpu-table -->', '<!-- end of tables -->'
# Direction -> shown name -> whose table and the name of the row there, {} for dtype and T.
ROWS = {
    'forward': {
        'ours, CUDA': ('ours', 'native LIF {} training'),
        'ours, Triton': ('ours', 'triton LIF {} training'),
        'SJ, CUDA': ('theirs', 'native LIF {} forward'),
        'SJ, Triton': ('theirs', 'triton LIF {} forward'),
    },
    'backward': {
        'ours, CUDA': ('ours', 'native LIF {} backward'),
        'ours, Triton': ('ours', 'triton LIF {} backward'),
        'SJ, CUDA': ('theirs', 'native LIF {} backward'),
        'SJ, CUDA, N >= 2^21': ('theirs', 'native LIF {} backward of many'),
        'SJ, Triton': ('theirs', 'triton LIF {} backward'),
        'SJ, Triton, N >= 2^21': ('theirs', 'triton LIF {} backward of many'),
    },
}
CASES = [(dtype, T) for dtype in ('float32', 'float16') for T in (4, 16)]
Tables = dict[str, dict[str, Any]]


def load() -> Tables:
    """The launches of both, by whose they are, and the counts of variants."""
    ours = json.loads((HERE / 'gpu_static.json').read_text())
    theirs = json.loads((HERE / 'results' / 'gpu_rivals.json').read_text())
    return {'ours': ours['launches'], 'theirs': theirs['launches'], 'variants': theirs['variants of T=1..8']}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def facts(tables: Tables, direction: str) -> str:
    """The facts of one direction, as counted and as read from sm_90's machine code."""
    head = ['LIF', 'kernel', 'bytes', 'narrowest access', 'sectors at odd N', 'PTX', 'SASS', 'MUFU', 'registers',
            'threads an SM', 'loads in flight, bytes']  # fmt: skip
    rows = []
    for dtype, T in CASES:
        for shown, (whose, name) in ROWS[direction].items():
            row = tables[whose][name.format(f'{dtype} T={T}')]
            odd = tables[whose].get(name.format(f'{dtype} T={T} N=4097'))
            rows.append(
                [
                    f'{dtype}, T={T}',
                    shown,
                    f'{row["bytes"]:g}',
                    f'{row["narrowest"]}',
                    f'{odd["sectors"]:.2f}' if odd else '',
                    f'{row["ptx"]:.1f}',
                    f'{row["sass"]:.1f}',
                    f'{row["special"]:.1f}',
                    f'{row["registers"]}',
                    f'{row["threads"]}',
                    f'{row["in_flight"]}, {row["bytes_in_flight"]}',
                ]
            )
    return markdown(head, rows)


def work(row: dict[str, Any], device: str) -> Work:
    """A row as what a device has to do. Registers and instructions are sm_90's everywhere."""
    threads = resident(ARCH_OF[device], row['registers'], row['block'], row['shared'])
    moved = row['loaded'], row['bytes'] - row['loaded']
    return Work(*moved, row['sass'], row['special'], threads, row['bytes_in_flight'])


def limits(tables: Tables, direction: str) -> str:
    """The bounds of one direction on each device."""
    head = ['LIF', 'kernel', *(f'{name}, ms' for name in DEVICES.values()), 'in flight / needed']
    rows = []
    for dtype, T in CASES:
        best: dict[str, list[float]] = {'ours': [1e9] * len(DEVICES), 'theirs': [1e9] * len(DEVICES)}
        for shown, (whose, name) in ROWS[direction].items():
            row, cells, shares = tables[whose][name.format(f'{dtype} T={T}')], [], []
            for i, device in enumerate(DEVICES):
                limit, seconds = binding(work(row, device), device)
                best[whose][i] = min(best[whose][i], seconds)
                found = bounds(work(row, device), device)
                cells.append(f'{1e3 * seconds:.2f} {limit}')
                shares.append(f'{found["bandwidth"] / found["latency"]:.1f}')
            rows.append([f'{dtype}, T={T}', shown, *cells, ' '.join(shares)])
        ratios = [f'{ours / theirs:.2f}' for ours, theirs in zip(*best.values(), strict=True)]
        rows.append([f'{dtype}, T={T}', '**best of ours / best of theirs**', *ratios, ''])
    return markdown(head, rows)


def both(tables: Tables) -> str:
    """All tables, with their headings."""
    parts = []
    for direction in ROWS:
        parts += [f'### Facts: {direction}', facts(tables, direction)]
    for direction in ROWS:
        parts += [f'### Bounds, not measurements: {direction}', limits(tables, direction)]
    rows = [[name, str(count['forward']), str(count['backward'])] for name, count in tables['variants'].items()]
    parts += ['### Kernels that Triton compiles over T = 1 to 8, float32', markdown(['', 'forward', 'backward'], rows)]
    return '\n\n'.join(parts)


def write(page: Path = HERE.parent / 'docs' / 'gpu.md') -> None:
    """Put the tables of the two files into the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f'{before}{BEGIN}\n{both(load())}\n{END}{rest.partition(END)[2]}')


if __name__ == '__main__':
    write()
