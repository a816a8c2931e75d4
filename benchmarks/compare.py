"""A run beside an earlier one: what of snnkern became slower than noise explains.

Slower means: the medians' ratio is above a threshold, and the quartiles of the two runs do not overlap; both of times
as they are, and of times divided by the copy's of the same case and run. So neither a busier machine nor a copy that
was quick once looks like a change. Networks have no copy. What the earlier run has of the same selection and this one
has not is a regression, too.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import registry
from benchmarks.report import Table, number
from benchmarks.run import FORMAT, named
from benchmarks.subjects import COPY, REFERENCE
from benchmarks.targets import Row

RESULTS = Path(__file__).parent / 'results'
THRESHOLD = 1.15
CASE = {'name', 'group', 'op', 'T', 'N', 'dtype', 'direction', 'threads', 'steps', 'traffic', 'footprint', 'cache',
        'rows', 'skipped', 'failed'}  # fmt: skip
ROW = {'provider', 'ours', 'ns_per_step', 'gb_per_s', 'copy_share', 'peak_bytes', 'first_call_s', 'seconds'}
SECONDS = {'median', 'low', 'high', 'least', 'cpu'}
SAME = 'cpu', 'cores', 'threads', 'allocator', 'threads wait', 'torch', 'python'


def find(ref: str) -> Path:
    """The file of an earlier run: a path, or a name in benchmarks/results. Raises ValueError."""
    for path in (Path(ref), RESULTS / ref, RESULTS / f'{ref}.json'):
        if path.is_file():
            return path
    known = ', '.join(sorted(path.stem for path in RESULTS.glob('*.json') if _suite(path)))
    raise ValueError(
        f'no run {ref!r}: give a file of `snnkern bench --json FILE`, or one of {known or "none stored yet"}'
    )


def check_rounds(rounds: int, whose: str) -> None:
    """Raises ValueError where quartiles would be points."""
    if 0 < rounds < 3:
        raise ValueError(f'--compare takes runs of at least 3 rounds: quartiles decide, and {whose} has {rounds}')


def _suite(path: Path) -> bool:
    try:
        load(path)
    except ValueError:
        return False
    return True


def load(path: Path) -> dict[str, Any]:
    """The document of a run. Raises ValueError if it is none."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path} is no run of `snnkern bench`: {error}') from None
    if not isinstance(found, dict) or found.get('format') != FORMAT:
        own = found.get('format', 'none') if isinstance(found, dict) else 'none'
        raise ValueError(f'{path} is no run of this `snnkern bench`: its format is {own!r}, expected {FORMAT!r}')
    if lacking := sorted(_lacking(found)):
        raise ValueError(f'{path} is no whole run of `snnkern bench`: it lacks {", ".join(lacking)}')
    return found


def _lacking(document: dict[str, Any]) -> set[str]:
    """The keys that are not there but should be."""
    if lost := {'about', 'settings', 'cases', 'fits', 'targets', 'seconds'} - document.keys():
        return lost
    lost = {
        f'settings.{key}' for key in {'size', 'filter', 'providers', 'threads', 'rounds'} - document['settings'].keys()
    }
    lost |= {f'about.{key}' for key in {'cpu', 'torch', 'snnkern'} - document['about'].keys()}
    for case in document['cases']:
        lost |= {f'cases.{key}' for key in CASE - case.keys()}
        for row in case.get('rows', ()):
            lost |= {f'rows.{key}' for key in ROW - row.keys()}
            lost |= {f'seconds.{key}' for key in SECONDS - row.get('seconds', {}).keys()}
    return lost


def compare(new: dict[str, Any], old: dict[str, Any], threshold: float = THRESHOLD) -> dict[str, Any]:
    """What differs in the surroundings, how many times were compared, and which are slower, the worst first."""
    known, gone = {case['name']: case for case in old['cases']}, missing(new, old)
    pairs = [(case, known[case['name']]) for case in new['cases'] if case['name'] in known]
    found = [change for a, b in pairs for change in _changes(a, b)]
    differing = {key: [old['about'].get(key), new['about'].get(key)] for key in SAME}
    return {
        'differs': {key: pair for key, pair in differing.items() if pair[0] != pair[1]},
        'threshold': threshold,
        'compared': len(found),
        'slower': sorted(
            (c for c in found if c['apart'] and min(c['ratio'], c['raw']) > threshold), key=lambda c: -c['ratio']
        ),
        'missing': gone,
        'faster': sum(c['faster'] and max(c['ratio'], c['raw']) < 1 / threshold for c in found),
    }


def missing(new: dict[str, Any], old: dict[str, Any]) -> list[Row]:
    """Times of ours that the earlier run has and this one should have: of its size, filter and providers."""
    wanted, there = new['settings'], {case['name']: case for case in new['cases']}
    cases = {str(c) for c in registry.cases(wanted['size']) if named(wanted['filter'], str(c))}
    if 'incomplete' in new:
        cases &= there.keys()
    lost = []
    for case in old['cases']:
        if case['name'] in cases:
            now = there.get(case['name'], {'rows': [], 'skipped': {}, 'failed': {}})
            reasons = now['skipped'] | now['failed']
            for name in _own(case).keys() - _own(now).keys():
                if named(wanted['providers'], name):
                    why = reasons.get(name) or reasons.get('everybody', 'not in this run')
                    lost.append({'case': case['name'], 'provider': name, 'why': why})
    return lost


def _own(case: Row) -> dict[str, Row]:
    """Ours, without the reference, whose speed is nobody's concern."""
    return {row['provider']: row['seconds'] for row in case['rows'] if row['ours'] and row['provider'] != REFERENCE}


def _changes(new: Row, old: Row) -> list[Row]:
    """Ours in both runs of a case."""
    before, changes = _own(old), []
    copies = [next((row['seconds'] for row in case['rows'] if row['provider'] == COPY), None) for case in (new, old)]
    for provider, now in _own(new).items():
        if provider not in before:
            continue
        pairs = [(now, before[provider])]
        if None not in copies:
            pairs.append(tuple(map(_scaled, pairs[0], copies)))
        ratios = [a['median'] / b['median'] for a, b in pairs]
        change = {'case': new['name'], 'provider': provider, 'ratio': ratios[-1], 'raw': ratios[0]}
        change['apart'] = all(a['low'] > b['high'] for a, b in pairs)
        change['faster'] = all(a['high'] < b['low'] for a, b in pairs)
        changes.append(change)
    return changes


def _scaled(t: Row, copy: Row) -> Row:
    """Times in those of a copy; the quartiles as far apart as those of both make them."""
    return {key: t[key] / copy[other] for key, other in (('median', 'median'), ('low', 'high'), ('high', 'low'))}


def table(found: dict[str, Any]) -> Table:
    """What became slower, or is not there any more."""
    rows = [[c['case'], c['provider'], f'{number(c["ratio"])}x', f'{number(c["raw"])}x'] for c in found['slower']]
    rows += [[c['case'], c['provider'], 'missing', c['why']] for c in found['missing']]
    return 'Slower than before', ['case', 'provider', 'beside the copy', 'seconds'], rows


def sentences(found: dict[str, Any], ref: str) -> list[str]:
    """The comparison in words."""
    said = [
        f'{key} was {a}, is {b}: times are not of the same surroundings' for key, (a, b) in found['differs'].items()
    ]
    if gone := len(found['missing']):
        said.append(f'{gone} times of {ref} are missing in this run.')
    if not found['compared']:
        return said if gone else [*said, f'Nothing to compare: {ref} has none of these cases.']
    limit = f'by more than {found["threshold"]:g} times and beyond the quartiles'
    slower, faster = len(found['slower']), found['faster']
    return [*said, f'Of {found["compared"]} times, {slower} slower and {faster} faster than in {ref} {limit}.']
