"""The suite in one process of its own: `python -m benchmarks.run SETTINGS FILE`, which `snnkern bench` starts.

SETTINGS is JSON, see `Settings`; the document goes to FILE. `start` runs it with a pinned environment and hands on its
progress: lines on stdout that begin with MARK.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from benchmarks import registry, scaling, targets
from benchmarks.environment import ALLOCATORS, pinned_environment, surroundings
from benchmarks.measure import Result, measure
from benchmarks.registry import DEFAULT, OPS, SIZES, Case, Provider
from benchmarks.rivals import LIBRARIES
from snnkern.recipes.files import write

FORMAT = 'snnkern bench 1'
MARK = '\x1e'
IMPORTS = {'quick': 2, 'default': 5, 'full': 9}
OnProgress = Callable[[str, float], None]
Document = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to measure and how. Raises ValueError.

    size: "quick", "default" or "full". filter, providers: only cases and providers whose names contain one of these, by
    commas. threads: of torch, OpenMP and snnkern. rounds: 0 by the budget of the size. allocator: "default" or "tuned".
    passive: idle threads sleep at once.
    """

    size: str = DEFAULT
    filter: str = ''
    providers: str = ''
    threads: int = 2
    rounds: int = 0
    allocator: str = 'default'
    passive: bool = False

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f'size must be one of {", ".join(SIZES)}, got {self.size!r}')
        if self.allocator not in ALLOCATORS:
            raise ValueError(f'--allocator must be one of {", ".join(ALLOCATORS)}, got {self.allocator!r}')
        for name, least in (('threads', 1), ('rounds', 0)):
            if getattr(self, name) < least:
                raise ValueError(f'--{name} must be at least {least}, got {getattr(self, name)}')
        if not self.cases():
            raise ValueError(f'--filter: no case has {self.filter!r} in its name; a name is {registry.cases()[0]}')
        if not any(self.of(case) for case in self.cases()):
            raise ValueError(f'--providers: none has one of {self.providers!r} in its name')

    def cases(self) -> list[Case]:
        """Those of the size that pass the filter."""
        return [c for c in registry.cases(self.size) if named(self.filter, str(c))]

    def of(self, case: Case) -> Sequence[Provider]:
        """The providers of a case."""
        return [p for p in registry.providers(case) if named(self.providers, p.name)]


def named(wanted: str, name: str) -> bool:
    """Whether a name contains one of these words, which have commas between; no words: all names."""
    words = [word.strip() for word in wanted.split(',') if word.strip()]
    return not words or any(word in name for word in words)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout on the path
        return 'unknown'


def about(settings: Settings) -> Document:
    """What the numbers depend on."""
    versions = {title: _version(name) for name, (title, _) in LIBRARIES.items() if find_spec(name)}
    caches = {f'L2 of {settings.threads} cores': targets.cache_bytes(settings.threads)}
    return {**surroundings(settings.allocator), 'libraries': versions, **caches}


def run(settings: Settings, progress: OnProgress, keep: Callable[[Document], None] = lambda found: None) -> Document:
    """Measure everything; the child's part. Returns the document; `keep` gets what there is of it after each case."""
    torch.set_num_threads(settings.threads)
    start, found, wanted = perf_counter(), about(settings), settings.cases()
    document: Document = {'format': FORMAT, 'about': found, 'settings': asdict(settings), 'cases': []}
    for i, case in enumerate(wanted):

        def tell(what: str, case: Case = case, i: int = i) -> None:
            progress(f'{case}: {what}', i / len(wanted))

        tell('starting')
        document['cases'].append(_measured(case, settings.of(case), settings, tell).as_dict())
        keep(_with_verdicts(document, perf_counter() - start))
    if not settings.filter:
        progress('importing', 1.0)
        document['startup'] = scaling.startup(IMPORTS[settings.size])
    found['load average after'] = round(os.getloadavg()[0], 1)
    return _with_verdicts(document, perf_counter() - start)


def _with_verdicts(document: Document, seconds: float) -> Document:
    fits = scaling.fits(document['cases'])
    return {**document, 'fits': fits, 'targets': targets.verdicts(document), 'seconds': seconds}


def _measured(case: Case, providers: Sequence[Provider], settings: Settings, tell: Callable[[str], None]) -> Result:
    """A case; one that breaks is an error of ours, but hours of others are kept."""
    try:
        return measure(case, providers, settings.size, settings.rounds, settings.threads, tell)
    except Exception as error:
        traceback.print_exc()
        return Result(case, failed={registry.NATIVE: f'fails: {type(error).__name__}: {error}'})


def wrong(document: Document) -> list[str]:
    """Results of ours that are not the reference's."""
    ours = {name: {p.name for p in op.providers if p.ours} for name, op in OPS.items()}
    mine = lambda case, name: name in ours.get(case['op'], ()) or name.startswith('snnkern')  # noqa: E731
    return [
        f'{c["name"]}, {name}: {why}' for c in document['cases'] for name, why in c['failed'].items() if mine(c, name)
    ]


def start(settings: Settings, progress: OnProgress) -> Document:
    """`run` in a child process with a pinned environment.

    A run that is interrupted or whose process dies gives the cases that it has, and why under "incomplete". Raises
    RuntimeError or KeyboardInterrupt if it has none.
    """
    with TemporaryDirectory() as folder:
        out, errors = Path(folder) / 'suite.json', Path(folder) / 'errors'
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.run', json.dumps(asdict(settings)), str(out)]
        try:
            why = _why(_watched(command, pinned_environment(settings), errors, progress), errors)
        except KeyboardInterrupt:
            if not out.exists():
                raise
            why = 'interrupted'
        if (said := errors.read_text()) and 'Traceback' in said and why != 'interrupted':
            sys.stderr.write(said)
        if not out.exists():
            raise RuntimeError(f'the measuring process failed: {why}')
        return json.loads(out.read_text()) | ({'incomplete': why} if why else {})


def _why(status: int, errors: Path) -> str:
    """What ended a process that wrote its errors there; "" if all went well."""
    if status < 0:
        return f'killed by {signal.Signals(-status).name}'
    return next(reversed(errors.read_text().strip().splitlines()), f'exit status {status}') if status else ''


def _watched(command: list[str], environment: dict[str, str], errors: Path, progress: OnProgress) -> int:
    """Run a command to its end, handing on its progress; it ends with this process's exceptions, too."""
    pipe: dict[str, Any] = {'env': environment, 'cwd': Path(__file__).parents[1], 'stdout': subprocess.PIPE}
    with errors.open('w') as stderr, subprocess.Popen(command, stderr=stderr, text=True, **pipe) as child:
        try:
            for text in child.stdout or ():
                if text.startswith(MARK):
                    progress(*json.loads(text[1:]))
        except BaseException:
            child.kill()
            raise
    return child.returncode


def main(words: Sequence[str]) -> None:
    settings, out = Settings(**json.loads(words[0])), Path(words[1])

    def keep(document: Document) -> None:
        write(out, lambda path: path.write_text(json.dumps(document)))

    keep(run(settings, lambda what, share: print(MARK + json.dumps([what, share]), flush=True), keep))


if __name__ == '__main__':
    main(sys.argv[1:])
