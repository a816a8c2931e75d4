"""A run beside an earlier one: what of snnkern became slower than noise explains.

Times are divided by the copy's of the same case and run, so that a faster or busier machine does not look like a
change; networks have no copy and are compared as they are. Slower means: the medians' ratio is above a threshold,
and the quartiles of the two runs do not overlap.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.report import Table, number
from benchmarks.run import FORMAT
from benchmarks.subjects import COPY, REFERENCE
from benchmarks.targets import Row, seconds

RESULTS = Path(__file__).parent / 'results'
THRESHOLD = 1.15
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
    return found


def compare(new: dict[str, Any], old: dict[str, Any], threshold: float = THRESHOLD) -> dict[str, Any]:
    """What differs in the surroundings, how many times were compared, and which are slower, the worst first."""
    known = {case['name']: case for case in old['cases']}
    pairs = [(case, known[case['name']]) for case in new['cases'] if case['name'] in known]
    found = [change for a, b in pairs for change in _changes(a, b)]
    differing = {key: [old['about'].get(key), new['about'].get(key)] for key in SAME}
    return {
        'differs': {key: pair for key, pair in differing.items() if pair[0] != pair[1]},
        'threshold': threshold,
        'compared': len(found),
        'slower': sorted((c for c in found if c['apart'] and c['ratio'] > threshold), key=lambda c: -c['ratio']),
        'faster': sum(c['faster'] and c['ratio'] < 1 / threshold for c in found),
    }


def _changes(new: Row, old: Row) -> list[Row]:
    """Ours in both runs of a case, without the reference, whose speed is nobody's concern."""
    changes = []
    before = {row['provider']: row['seconds'] for row in old['rows']}
    scales = [seconds(case, COPY) or 1.0 for case in (new, old)]
    for row in new['rows']:
        if not row['ours'] or row['provider'] == REFERENCE or row['provider'] not in before:
            continue
        a, b = row['seconds'], before[row['provider']]
        a, b = (
            {key: t[key] / scale for key in ('median', 'low', 'high')} for t, scale in zip((a, b), scales, strict=True)
        )
        changes.append(
            {
                'case': new['name'],
                'provider': row['provider'],
                'ratio': a['median'] / b['median'],
                'raw': row['seconds']['median'] / before[row['provider']]['median'],
                'apart': a['low'] > b['high'],
                'faster': a['high'] < b['low'],
            }
        )
    return changes


def table(found: dict[str, Any]) -> Table:
    """What became slower."""
    rows = [[c['case'], c['provider'], f'{number(c["ratio"])}x', f'{number(c["raw"])}x'] for c in found['slower']]
    return 'Slower than before', ['case', 'provider', 'beside the copy', 'seconds'], rows


def sentences(found: dict[str, Any], ref: str) -> list[str]:
    """The comparison in words."""
    said = [
        f'{key} was {a}, is {b}: times are not of the same surroundings' for key, (a, b) in found['differs'].items()
    ]
    if not found['compared']:
        return [*said, f'Nothing to compare: {ref} has none of these cases.']
    limit = f'by more than {found["threshold"]:g} times and beyond the quartiles'
    slower, faster = len(found['slower']), found['faster']
    return [*said, f'Of {found["compared"]} times, {slower} slower and {faster} faster than in {ref} {limit}.']
