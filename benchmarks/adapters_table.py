"""The numbers of `benchmarks.adapters` as tables: for a terminal, and in Markdown for docs/results_adapters.md."""

from typing import Any

from benchmarks.report import Table

BEFORE, AFTER, UNROLLED = 'before', 'after', 'after, unrolled'
INFERENCE, TRAINING = 'inference', 'training step'
DIRECTIONS = INFERENCE, TRAINING
HEAD = ['', 'total ms', 'after', 'ratio', 'modules ms', 'after', 'ratio', 'peak MiB', 'after', 'ratio']


def cells(before: float, after: float, digits: int) -> list[str]:
    """Both, and the first over the second."""
    return [f'{before:.{digits}f}', f'{after:.{digits}f}', f'{before / after:.2f}x' if after else '-']


def title(found: dict[str, Any]) -> str:
    """What a network is."""
    return f'{found["library"]}: {found["note"]}, T={found["T"]}, batch {found["batch"]}'


def total(timing: dict[str, Any]) -> float:
    """Milliseconds of a call."""
    return float(timing['total']['median']) * 1e3


def modules(timing: dict[str, Any]) -> float:
    """Milliseconds within the modules that count."""
    return float(sum(timing['modules'].values())) * 1e3


def rows(found: dict[str, Any]) -> list[list[str]]:
    """Each form after `accelerate` beside the one before, in both directions."""
    lines = []
    for direction in DIRECTIONS:
        timings = found['times'][direction]
        for name in [n for n in timings if n != BEFORE]:
            one, two = timings[BEFORE], timings[name]
            mib = [(found['peaks'][n][direction] or 0) / 2**20 for n in (BEFORE, name)]
            numbers = cells(total(one), total(two), 1) + cells(modules(one), modules(two), 1) + cells(*mib, 1)
            lines.append([direction + name.removeprefix(AFTER), *numbers])
    return lines


def remark(found: dict[str, Any]) -> str:
    """What else is to be said: how far results are apart, what was left, what was not timed and why."""
    if 'skipped' in found:
        return f'{title(found)}: not measured, {found["skipped"]}'
    said = [f'{form}: {distances(of)}' for form, of in found['distances'].items()]
    said += [f'{form} not timed, {why}' for form, why in found['failed'].items()]
    said += [f'left as they were: {", ".join(found["left"])}'] if found['left'] else []
    return f'{title(found)}, {found["changed"]} modules changed. ' + '; '.join(said)


def distances(of: dict[str, float]) -> str:
    """How far results are apart."""
    return ', '.join(f'{key} equal' if d == 0 else f'{key} {d:.0e} apart' for key, d in of.items())


def measured(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks with numbers."""
    return [found for found in document['nets'].values() if 'skipped' not in found]


def table(document: dict[str, Any]) -> Table:
    """Title, head and rows for a terminal."""
    lines = []
    for name, found in document['nets'].items():
        if 'skipped' not in found:
            lines += [[f'{name}, {first}', *rest] for first, *rest in rows(found)]
    return 'Before and after accelerate: medians', HEAD, lines


def markdown(document: dict[str, Any]) -> str:
    """A table, and what belongs to it."""
    about, lines = document['about'], [['network', *HEAD], ['---'] * (1 + len(HEAD))]
    for found in measured(document):
        lines += [[title(found), *row] for row in rows(found)]
    setting = f'{about["cpu"]}, threads: {about["threads"]}, torch {about["torch"]}, rounds: {document["rounds"]}'
    notes = [setting, *map(remark, document['nets'].values())]
    return '\n'.join([*(f'| {" | ".join(line)} |' for line in lines), '', *(f'- {note}' for note in notes)])
