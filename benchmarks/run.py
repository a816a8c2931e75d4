"""The suite in one process of its own: `python -m benchmarks.run SETTINGS FILE`, which `snnkern bench` starts.

SETTINGS is JSON, see `Settings`; the document goes to FILE. `start` runs it with a pinned environment and hands on its
progress: lines on stdout that begin with MARK.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
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

FORMAT = 'snnkern bench 1'
MARK = '\x1e'
IMPORTS = {'quick': 2, 'default': 5, 'full': 9}
OnProgress = Callable[[str, float], None]


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
        return [c for c in registry.cases(self.size) if any(part in str(c) for part in self.filter.split(','))]

    def of(self, case: Case) -> Sequence[Provider]:
        """The providers of a case of an op; a network has its own."""
        known = OPS[case.op].providers if case.op in OPS else registry.PROVIDERS
        return [p for p in known if any(part in p.name for part in self.providers.split(','))]


def about(settings: Settings) -> dict[str, Any]:
    """What the numbers depend on."""
    versions = {title: version(name) for name, (title, _) in LIBRARIES.items() if find_spec(name)}
    caches = {f'L2 of {settings.threads} cores': targets.cache_bytes(settings.threads)}
    return {**surroundings(settings.allocator), 'libraries': versions, **caches}


def run(settings: Settings, progress: OnProgress) -> dict[str, Any]:
    """Measure everything; the child's part. Returns the document."""
    torch.set_num_threads(settings.threads)
    start, found, wanted = perf_counter(), about(settings), settings.cases()
    results: list[Result] = []
    for i, case in enumerate(wanted):

        def tell(what: str, case: Case = case, i: int = i) -> None:
            progress(f'{case}: {what}', i / len(wanted))

        tell('starting')
        chosen = settings.of(case)
        results.append(_measured(case, chosen, settings, tell))
    document: dict[str, Any] = {'format': FORMAT, 'about': found, 'settings': asdict(settings)}
    document['cases'] = [result.as_dict() for result in results]
    if not settings.filter:
        progress('importing', 1.0)
        document['startup'] = scaling.startup(IMPORTS[settings.size])
    document |= {'fits': scaling.fits(document['cases']), 'targets': targets.verdicts(document)}
    found['load average after'] = round(os.getloadavg()[0], 1)
    return document | {'seconds': perf_counter() - start}


def _measured(case: Case, providers: Sequence[Provider], settings: Settings, tell: Callable[[str], None]) -> Result:
    """A case; one that breaks is an error of ours, but hours of others are kept."""
    try:
        return measure(case, providers, settings.size, settings.rounds, settings.threads, tell)
    except Exception as error:
        traceback.print_exc()
        return Result(case, failed={registry.NATIVE: f'fails: {type(error).__name__}: {error}'})


def wrong(document: dict[str, Any]) -> list[str]:
    """Results of ours that are not the reference's."""
    ours = {name: {p.name for p in op.providers if p.ours} for name, op in OPS.items()}
    mine = lambda case, name: name in ours.get(case['op'], ()) or name.startswith('snnkern')  # noqa: E731
    return [
        f'{c["name"]}, {name}: {why}' for c in document['cases'] for name, why in c['failed'].items() if mine(c, name)
    ]


def start(settings: Settings, progress: OnProgress) -> dict[str, Any]:
    """`run` in a child process with a pinned environment. Raises RuntimeError if it fails."""
    with TemporaryDirectory() as folder:
        out, errors = Path(folder) / 'suite.json', Path(folder) / 'errors'
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.run', json.dumps(asdict(settings)), str(out)]
        status = _watched(command, pinned_environment(settings), errors, progress)
        if status:
            lines = errors.read_text().strip().splitlines() or [f'exit status {status}']
            raise RuntimeError(f'the measuring process failed: {lines[-1]}')
        return dict(json.loads(out.read_text()))


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
    document = run(settings, lambda what, share: print(MARK + json.dumps([what, share]), flush=True))
    out.write_text(json.dumps(document))


if __name__ == '__main__':
    main(sys.argv[1:])
