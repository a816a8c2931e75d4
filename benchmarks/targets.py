"""What is promised of snnkern native on the CPU, and whether a run kept it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lif import LOOP_COMPILED, SJ, SJ_COMPILED
from benchmarks.subjects import BOTH, COPY, FORWARD, NATIVE

Row = dict[str, Any]  # a case of a document
IMPORT_S = 0.15
IMPORT = "seconds of `import snnkern` over torch's"
SJ_FROM = 1 << 12


@dataclass(frozen=True)
class Target:
    """A promise about LIF cases. rival: beside whom; factor: how many times as long the rival takes at least.

    Of a copy the promise is read the other way round: we take at most 1 / factor of its time. applies: to which cases.
    """

    what: str
    rival: str
    factor: float
    applies: Callable[[Row], bool]


def cache_bytes(threads: int) -> int:
    """The L2 caches of as many cores as there are threads; 0 where Linux does not tell."""
    try:
        size = Path('/sys/devices/system/cpu/cpu0/cache/index2/size').read_text().strip()
    except OSError:
        return 0
    return threads * int(size.rstrip('KM')) * (1 << (20 if size.endswith('M') else 10))


def at(direction: str, *sizes: int, dtypes: tuple[str, ...] = ('float32',)) -> Callable[[Row], bool]:
    """Cases of 16 steps."""

    def applies(case: Row) -> bool:
        return (case['direction'], case['T']) == (direction, 16) and case['N'] in sizes and case['dtype'] in dtypes

    return applies


def _fits(case: Row) -> bool:
    return case['N'] >= SJ_FROM and 0 < case['footprint'] <= case['cache']


WIDE, BOTH_DTYPES = (1 << 18, 1 << 21), ('float32', 'bfloat16')
_PROMISED = {(FORWARD, 1 << 14): 25.0, (FORWARD, 1 << 18): 14.0, (BOTH, 1 << 14): 20.0}
TARGETS = (
    Target('at most 1.35 times the copy', COPY, 1 / 1.35, at(FORWARD, *WIDE, dtypes=BOTH_DTYPES)),
    Target('at most 1.5 times the copy', COPY, 1 / 1.5, at(BOTH, *WIDE, dtypes=BOTH_DTYPES)),
    *(Target('faster than torch.compile', rival, 1.0, lambda case: True) for rival in (LOOP_COMPILED, SJ_COMPILED)),
    Target('8 times SpikingJelly', SJ, 8.0, lambda case: case['N'] >= SJ_FROM),
    Target('25 times SpikingJelly within the L2 cache', SJ, 25.0, _fits),
    *(Target(f'{f:.0f} times SpikingJelly', SJ, f, at(d, N)) for (d, N), f in _PROMISED.items()),
    *(Target("1.5 times SpikingJelly's compiled op", SJ_COMPILED, 1.5, at(d, 1 << 14, *WIDE)) for d in (FORWARD, BOTH)),
)


def seconds(case: Row, provider: str, statistic: str = 'median') -> float | None:
    """Of a provider in a case, None where it was not timed."""
    found = next((row for row in case['rows'] if row['provider'] == provider), None)
    return None if found is None else float(found['seconds'][statistic])


def ratio(case: Row, rival: str, statistic: str = 'median') -> float | None:
    """How many times snnkern native's time the rival needs; None if one of the two was not measured."""
    theirs, ours = (seconds(case, name, statistic) for name in (rival, NATIVE))
    return None if theirs is None or ours is None else theirs / ours


def verdicts(document: dict[str, Any]) -> list[Row]:
    """Every target whose case was measured: wanted and measured ratio (of medians, minima, CPU time), met or not."""
    return [*_of_cases(document['cases']), *_of_startup(document.get('startup'))]


def promised(document: Row) -> dict[tuple[str, str], list[str]]:
    """The cases of the whole grid that each target holds for, by what it promises and the rival."""
    from benchmarks.registry import FULL, cases  # whose networks need tables

    cache = next((case['cache'] for case in document['cases'] if not case['threads']), 0)
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases(FULL):
        if case.op == 'lif' and not case.threads:
            row = {'direction': case.direction, 'T': case.T, 'N': case.N, 'dtype': str(case.dtype)[6:]}
            row |= {'footprint': case.footprint, 'cache': cache}
            for target in TARGETS:
                if target.applies(row):
                    found.setdefault((target.what, target.rival), []).append(str(case))
    return found | {(IMPORT, 'torch'): ['import']}


def _of_cases(cases: list[Row]) -> Iterator[Row]:
    for case in cases:
        if case['op'] != 'lif' or case['threads']:
            continue
        for target in TARGETS:
            measured = ratio(case, target.rival)
            if measured is None or not target.applies(case):
                continue
            others = {key: ratio(case, target.rival, key) for key in ('least', 'cpu')}
            copied = target.rival == COPY
            shown = {key: value and (1 / value if copied else value) for key, value in others.items()}
            yield {
                'what': target.what,
                'case': case['name'],
                'rival': target.rival,
                'wanted': ('at most ' if copied else 'at least ')
                + f'{1 / target.factor if copied else target.factor:.4g}',
                'measured': 1 / measured if copied else measured,
                'of_minima': shown['least'],
                'of_cpu_time': shown['cpu'],
                'met': measured > 1 if target.factor == 1 else measured >= target.factor,
            }


def _of_startup(startup: Row | None) -> Iterator[Row]:
    if startup:
        yield {
            'what': IMPORT,
            'case': 'import',
            'rival': 'torch',
            'wanted': f'at most {IMPORT_S}',
            'measured': startup['snnkern']['median'],
            'of_minima': startup['snnkern']['least'],
            'of_cpu_time': None,
            'met': startup['snnkern']['median'] <= IMPORT_S,
        }
