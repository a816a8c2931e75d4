"""Facts of all GPU kernels, without a GPU, in one table: `python -m benchmarks.gpu_static [--json FILE]`.

`--check FILE` compares what is measured now with a table and exits with 1 where something got worse. The table is
benchmarks/gpu_static.json; docs/gpu.md says what its columns mean and shows the part that matters most.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import emulated, gpu_cases, gpu_facts, gpu_tables
from benchmarks.gpu_facts import ARCHITECTURES, MAIN, Row
from snnkern._files import write

FILE = Path(__file__).with_name('gpu_static.json')
REFRESH = 'make gpu-table'
# By how much a figure may grow, or how little shrink, before it is worse; what is in none of them is only shown.
LESS_IS_BETTER = {
    **{'ptx': 0.02, 'sass': 0.02, 'special': 0.02, 'size': 0.05, 'sectors': 0.005},
    **dict.fromkeys(('registers', 'stack', 'local', 'shared', 'spills', 'launches', 'forward', 'backward'), 0.0),
}
MORE_IS_BETTER = ('threads', 'narrowest', 'in_flight', 'bytes_in_flight', 'loads', 'stores')
SAME = ('bytes', 'loaded')
# What does not depend on the compiler's version.
LASTING = ('bytes', 'loaded', 'narrowest', 'sectors')


def grouped(rows: list[tuple[str, str, Row]]) -> dict[str, Row]:
    """One row a kernel: a list by architecture, or one value where all are alike."""
    by_name: dict[str, dict[str, Row]] = {}
    for name, arch, row in rows:
        by_name.setdefault(name, {})[arch] = row
    found = {}
    for name, archs in by_name.items():
        keys = dict.fromkeys(key for row in archs.values() for key in row)
        lists = {key: [row.get(key, 0) for row in archs.values()] for key in keys}
        found[name] = {key: values[0] if len(set(values)) == 1 else values for key, values in lists.items()}
    return dict(sorted(found.items()))


def split(rows: dict[str, Row], arch: str) -> dict[str, Row]:
    """The rows of one architecture out of grouped ones."""
    at = ARCHITECTURES.index(arch)
    return {
        name: {key: value[at] if isinstance(value, list) else value for key, value in row.items()}
        for name, row in rows.items()
    }


def everything(library: Path) -> dict[str, Any]:
    """The whole table. library: `emulated.library()`, or another build of it."""
    native = grouped(list(gpu_facts.native(ARCHITECTURES)))
    triton = grouped(list(gpu_facts.triton(ARCHITECTURES)))
    found: dict[str, Row] = {}
    with gpu_facts.on_native(library) as taken:
        for case in gpu_cases.cases():
            found |= gpu_facts.launches(case, 'native', taken, split(native, MAIN))
    with gpu_facts.on_triton(MAIN) as taken:
        for case in gpu_cases.cases():
            found |= gpu_facts.launches(case, 'triton', taken, {})
    neurons = {kind: partial(gpu_cases.multistep, gpu_cases.NEURONS[kind]) for kind in ('LIF', 'IF')}
    table = {'versions': gpu_facts.versions(), 'architectures': ARCHITECTURES}
    table |= {gpu_facts.VARIANTS: {kind: gpu_facts.variants(run) for kind, run in neurons.items()}}
    return table | {'kernels': native | triton} | {'launches': dict(sorted(found.items()))}


def narrowest(value: Any) -> float:
    """Of widths as text, the narrowest; a number is itself."""
    return min(map(int, value.split()), default=1 << 20) if isinstance(value, str) else value


def compare(
    old: dict[str, Row], new: dict[str, Row], only: tuple[str, ...] | None = None
) -> tuple[list[str], list[str]]:
    """What got worse and what got better, of the rows that are in both. only: the columns to look at, else all."""
    worse, better = [], []
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name], new[name]
        for key in only or dict.fromkeys([*before, *after]):
            a, b = narrowest(before.get(key, 0) or 0), narrowest(after.get(key, 0) or 0)
            text = f'{name}: {key} {before.get(key, 0)} -> {after.get(key, 0)}'
            grown, shrunk = key in LESS_IS_BETTER and b > a * (1 + LESS_IS_BETTER[key]), key in MORE_IS_BETTER and b < a
            if grown or shrunk or (key in SAME and a != b):
                worse.append(text)
            elif (key in LESS_IS_BETTER and b < a) or (key in MORE_IS_BETTER and b > a):
                better.append(text)
    return worse, better


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """`compare` of two whole tables; kernels and launches that are gone are worse, new ones better."""
    pairs = [(split(old['kernels'], arch), split(new['kernels'], arch), f' on {arch}') for arch in ARCHITECTURES]
    worse, better = [], []
    pairs += [(old[part], new[part], '') for part in ('launches', gpu_facts.VARIANTS)]
    for before, after, where in pairs:
        found = compare(before, after)
        worse += [text + where for text in found[0]]
        better += [text + where for text in found[1]]
    for part in ('kernels', 'launches'):
        worse += [f'{name} is gone' for name in sorted(old[part].keys() - new[part].keys())]
        better += [f'{name} is new' for name in sorted(new[part].keys() - old[part].keys())]
    return worse, better


def dumped(table: dict[str, Any]) -> str:
    """As JSON, one line a row."""
    parts = []
    for key, value in table.items():
        if key in ('kernels', 'launches'):
            rows = ',\n'.join(f'    {json.dumps(name)}: {json.dumps(row)}' for name, row in value.items())
            parts.append(f'  "{key}": {{\n{rows}\n  }}')
        else:
            parts.append(f'  "{key}": {json.dumps(value)}')
    return '{\n' + ',\n'.join(parts) + '\n}\n'


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where a check failed."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.gpu_static', description=__doc__)
    parser.add_argument('--json', metavar='FILE', type=Path, help='write the table there')
    parser.add_argument('--check', metavar='FILE', type=Path, help='compare with this table')
    parser.add_argument('--table', action='store_true', help='only print the tables of docs/gpu.md from the two files')
    parser.add_argument('--library', metavar='FILE', type=Path, help='_cuda with PTX, instead of building it')
    given = parser.parse_args(arguments)
    if given.table:
        print(gpu_tables.both(gpu_tables.load()))
        return 0
    table = json.loads(json.dumps(everything(given.library or emulated.library())))
    if given.json:
        write(given.json, lambda path: path.write_text(dumped(table)))
    if not given.check:
        return 0
    worse, better = differences(json.loads(given.check.read_text()), table)
    print('\n'.join([*(f'worse: {text}' for text in worse), *(f'better: {text}' for text in better)]))
    if better and not worse:
        print(f'Refresh the table: {REFRESH}')
    return bool(worse)


if __name__ == '__main__':
    sys.exit(main())
