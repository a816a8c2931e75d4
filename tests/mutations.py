"""Plants faults into copies of the GPU kernels and of what launches them, and shows that the tests catch each.

`make mutations`, or `python tests/mutations.py [--list] [--only NAME ...] [--json]`; NAME: a part of a fault's name.
First its tests must pass without a fault. Exit code 1 if a fault survives, or if a harmless change does not.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mutations_cuda
import mutations_others
import mutations_triton
from mutations_fault import Fault
from mutations_run import fails

ROOT = Path(__file__).resolve().parents[1]
FAULTS = (*mutations_cuda.FAULTS, *mutations_others.FAULTS, *mutations_triton.FAULTS)
PATHS = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: whether a test failed, and the seconds for its compilation and its tests."""

    name: str
    caught: bool
    compiling: float
    testing: float
    right: bool


def run(command: list[str] | str, **options) -> subprocess.CompletedProcess:
    """The finished program."""
    shell = isinstance(command, str)
    return subprocess.run(command, shell=shell, capture_output=True, text=True, check=False, **options)


def done(command: list[str] | str, **options) -> str:
    """What a program printed. Raises RuntimeError if it failed."""
    found = run(command, **options)
    if found.returncode:
        raise RuntimeError(f'{command}\n{found.stdout[-3000:]}{found.stderr[-3000:]}')
    return found.stdout


class Workshop:
    """The library without a fault (in the folder where the tests build it), and copies of the sources with one."""

    def __init__(self, faulty: Path = ROOT / 'build' / 'faulty') -> None:
        self.faulty = faulty

    @cached_property
    def library(self) -> Path:
        """The library without a fault."""
        if str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))
        from benchmarks import emulated

        return emulated.library()

    def commands(self, target: str) -> str:
        """What ninja runs last for a target."""
        environment = {**os.environ, 'PATH': PATHS}
        return (
            done(['ninja', '-t', 'commands', target], cwd=self.library.parent, env=environment).strip().splitlines()[-1]
        )

    def compile(self, fault: Fault) -> Path:
        """The library with a fault, whose kernels have PTX of the newest usual architecture alone."""
        copy, made = self.faulty / 'csrc', self.faulty / self.library.name
        shutil.rmtree(self.faulty, ignore_errors=True)
        shutil.copytree(ROOT / 'csrc', copy)
        if fault.file.startswith('csrc/'):
            (self.faulty / fault.file).write_text(fault.planted(ROOT))
        link = self.commands(self.library.name).replace(f'-o {self.library.name}', f'-o {made}')
        for name in fault.rebuild or (Path(fault.file).stem,):
            place, own = f'CMakeFiles/_cuda.dir/csrc/kernels/{name}.cu.o', self.faulty / f'{name}.o'
            command = self.commands(place).replace(str(ROOT / 'csrc'), str(copy))
            command = re.sub(r'"?--generate-code=arch=compute_75,\S+', '', command)
            if not fault.file.startswith('csrc/'):
                command = command.replace(fault.old, fault.new)
            done(command.replace(f'-o {place}', f'-o {own}'), cwd=self.library.parent)
            link = link.replace(place, str(own))
        done(link, cwd=self.library.parent)
        return made

    def package(self, fault: Fault) -> Path:
        """A folder with snnkern that has a fault."""
        shutil.rmtree(self.faulty, ignore_errors=True)
        shutil.copytree(ROOT / 'snnkern', self.faulty / 'snnkern', ignore=shutil.ignore_patterns('__pycache__'))
        (self.faulty / fault.file).write_text(fault.planted(ROOT))
        return self.faulty

    def check(self, fault: Fault) -> Outcome:
        """Plant a fault, and run its tests until one fails."""
        library, start = self.library, time.perf_counter()
        package = ROOT if fault.compiled else self.package(fault)
        library = self.compile(fault) if fault.compiled else library
        ready = time.perf_counter()
        caught = any(fails(tests, library, package) for tests in fault.tests)
        times = ready - start, time.perf_counter() - ready
        return Outcome(fault.name, caught, *(round(t, 1) for t in times), right=caught != fault.harmless)


def chosen(only: list[str]) -> list[Fault]:
    """The faults with these parts in their names, or all but the harmless ones. Raises SystemExit for none."""
    found = [f for f in FAULTS if any(part in f.name for part in only)] if only else list(FAULTS)
    if not found:
        raise SystemExit(f'--only must be a part of a name (see --list), got {", ".join(only)}')
    return found


def unmutated(workshop: Workshop, faults: list[Fault]) -> None:
    """Raises RuntimeError where a test fails without a fault, too."""
    for tests in dict.fromkeys(tests for fault in faults for tests in fault.tests):
        if fails(tests, workshop.library, ROOT):
            raise RuntimeError(f'fails without a fault: {tests}')


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--list', action='store_true', help='print names and files, and plant nothing')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='faults with this in their names')
    parser.add_argument('--json', action='store_true', help='print the outcomes as JSON')
    arguments = parser.parse_args()
    faults, outcomes, workshop = chosen(arguments.only), [], Workshop()
    if arguments.list:
        print('\n'.join(f'{fault.name:<60} {fault.file}' for fault in faults))
        return 0
    start = time.perf_counter()
    unmutated(workshop, faults)
    for fault in faults:
        outcomes.append(workshop.check(fault))
        last = outcomes[-1]
        verdict = ('caught' if last.caught else 'passes') if last.right else 'SURVIVES' if not last.caught else 'FAILS'
        text = f'{verdict:<8} {last.name:<60} compiled in {last.compiling} s, tested in {last.testing} s'
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    wrong = [o.name for o in outcomes if not o.right]
    if arguments.json:
        print(json.dumps([vars(o) for o in outcomes], indent=1))
    else:
        print(
            f'{len(outcomes) - len(wrong)} of {len(outcomes)} as they must be, in {time.perf_counter() - start:.0f} s'
        )
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
