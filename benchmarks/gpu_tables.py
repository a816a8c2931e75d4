"""The tables of docs/gpu.md, from gpu_static.json and results/gpu_rivals.json: ours beside SpikingJelly's kernels."""

import json
from pathlib import Path
from typing import Any

from benchmarks.gpu_facts import VARIANTS
from benchmarks.gpu_limits import ARCH_OF, Work, binding, bounds, resident
from snnkern import _files

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
CASES = [f'{dtype} {T}' for dtype in ('float32', 'float16') for T in ('T=4', 'T=16', 'T=16 N=4097')]
Tables = dict[str, dict[str, Any]]


def load() -> Tables:
    """The launches of both, by whose they are, and the counts of variants."""
    ours = json.loads((HERE / 'gpu_static.json').read_text())
    theirs = json.loads((HERE / 'results' / 'gpu_rivals.json').read_text())
    counts = {f'{who} {kind}': count for who, table in (('ours', ours), ('SJ', theirs))
              for kind, count in table[VARIANTS].items()}  # fmt: skip
    return {'ours': ours['launches'], 'theirs': theirs['launches'], 'variants': counts}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def facts(tables: Tables, direction: str) -> str:
    """The facts of one direction, as counted and as read from sm_90's machine code."""
    columns = 'bytes', 'narrowest access', 'sectors', 'PTX', 'SASS', 'MUFU', 'registers', 'threads an SM'
    head = ['LIF', 'kernel', *columns, 'loads in flight, bytes']
    rows = []
    for case in CASES:
        for shown, (whose, name) in ROWS[direction].items():
            row = tables[whose][name.format(case)]
            numbers = [f'{row["bytes"]:.2f}', f'{row["narrowest"]}', f'{row["sectors"]:.2f}']
            numbers += [f'{row[key]:.1f}' for key in ('ptx', 'sass', 'special')]
            numbers += [f'{row["registers"]}', f'{row["threads"]}', f'{row["in_flight"]}, {row["bytes_in_flight"]}']
            rows.append([case, shown, *numbers])
    return markdown(head, rows)


def work(row: dict[str, Any], device: str) -> Work:
    """A row as what a device has to do. Registers and instructions are sm_90's everywhere."""
    threads = resident(ARCH_OF[device], row['registers'], row['block'], row['shared'])
    moved = row['loaded'], row['bytes'] - row['loaded']
    return Work(*moved, row['sass'], row['special'], threads, row['bytes_in_flight'])


def best(tables: Tables, direction: str, case: str, device: str) -> dict[str, float]:
    """The lowest bound of each side's kernels, in seconds."""
    found: dict[str, float] = {}
    for whose, name in ROWS[direction].values():
        seconds = binding(work(tables[whose][name.format(case)], device), device)[1]
        found[whose] = min(found.get(whose, seconds), seconds)
    return found


def limits(tables: Tables, direction: str) -> str:
    """The bounds of one direction on each device."""
    head = ['LIF', 'kernel', *(f'{name}, ms' for name in DEVICES.values()), 'in flight / needed']
    rows = []
    for case in CASES:
        for shown, (whose, name) in ROWS[direction].items():
            row, cells, shares = tables[whose][name.format(case)], [], []
            for device in DEVICES:
                limit, seconds = binding(work(row, device), device)
                found = bounds(work(row, device), device)
                cells.append(f'{1e3 * seconds:.2f} {limit}')
                shares.append(f'{found["bandwidth"] / found["latency"]:.1f}')
            rows.append([case, shown, *cells, ' '.join(shares)])
    return markdown(head, rows)


def steps(tables: Tables) -> str:
    """The lowest bounds of a training step, both directions, on each device, and ours over theirs."""
    head, rows = ['LIF', 'of', *(f'{name}, ms' for name in DEVICES.values())], []
    for case in CASES:
        sums: dict[str, list[float]] = {'ours': [], 'theirs': []}
        for device in DEVICES:
            both_ways = [best(tables, direction, case, device) for direction in ROWS]
            for whose, seconds in sums.items():
                seconds.append(1e3 * sum(one[whose] for one in both_ways))
        rows += [[case, whose, *(f'{ms:.2f}' for ms in found)] for whose, found in sums.items()]
        rows.append([case, '**ours / theirs**', *(f'{a / b:.2f}' for a, b in zip(*sums.values(), strict=True))])
    return markdown(head, rows)


def both(tables: Tables) -> str:
    """All tables, with their headings."""
    parts = ['### Bounds, not measurements: a training step', steps(tables)]
    for direction in ROWS:
        parts += [f'### Bounds, not measurements: {direction}', limits(tables, direction)]
    for direction in ROWS:
        parts += [f'### Facts: {direction}', facts(tables, direction)]
    rows = [[name, str(count['forward']), str(count['backward'])] for name, count in tables['variants'].items()]
    parts += ['### Kernels that Triton compiles over T = 1 to 8, float32', markdown(['', 'forward', 'backward'], rows)]
    return '\n\n'.join(parts)


def write(page: Path = HERE.parent / 'docs' / 'gpu.md') -> None:
    """Put the tables of the two files into the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    text = f'{before}{BEGIN}\n{both(load())}\n{END}{rest.partition(END)[2]}'
    _files.write(page, lambda path: path.write_text(text))


if __name__ == '__main__':
    write()
