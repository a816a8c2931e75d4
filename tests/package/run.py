"""What users install: the sdist, wheels built from it, and those wheels with several torches and Pythons.

Run as `make package-test`, by any Python with venv; it needs a network (torch is downloaded for each environment) and
some tens of minutes. It ends with a table of what was checked, of what failed (then the exit status is 1), and of what
was skipped for want of nvcc or a Python.

Environment variables say what pip gets: TORCH_CPU (a torch without CUDA), TORCH_OLD (another version of it, for the
same wheel), TORCH_CUDA (with CUDA and Triton; then without Triton, and with a wheel built with nvcc), each empty to be
left out. PYTHONS: the further interpreters; unset: python3.10 to python3.13, from PATH or pyenv.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(__file__).with_name('check.py')
CPU_INDEX = '--index-url https://download.pytorch.org/whl/cpu'
TORCHES = {'TORCH_CPU': f'torch {CPU_INDEX}', 'TORCH_OLD': f'torch==2.6.0 {CPU_INDEX}', 'TORCH_CUDA': 'torch'}
VERSIONS = ('3.10', '3.11', '3.12', '3.13')
SOURCES = ('CMakeLists.txt', 'LICENSE', 'README.md', 'SECURITY.md', 'CHANGELOG.md', 'csrc/cpu.cmake')
COLUMNS = ('wheel', 'Python', 'torch', 'Triton', '_cuda', 'OpenMP', 'result')
NVCC = ('/usr/local/bin/nvcc', '/usr/local/cuda/bin/nvcc', '/usr/bin/nvcc')
# Mounts of its own, in which every nvcc is a device that nobody can run.
HIDING = 'until test "$1" = --; do mount --bind /dev/null "$1" || exit; shift; done; shift; exec "$@"'


def run(*command: object, **variables: str) -> str:
    """Run a program away from the checkout, whose package it would import; what it prints is shown and returned."""
    print('$', *command, flush=True)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'} | variables
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT.parent, env=environment, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end='', flush=True)
    done.check_returncode()
    return done.stdout


def environment(folder: Path, python: str | Path, *packages: str) -> Path:
    """The Python of a new environment with these packages."""
    run(python, '-m', 'venv', folder)
    own = folder / 'bin' / 'python'
    if packages:
        run(own, '-m', 'pip', 'install', '--quiet', *packages)
    return own


def nvccs() -> list[str]:
    """Every nvcc that CMake could find, without links."""
    homes = (os.environ.get(name) for name in ('CUDA_HOME', 'CUDA_PATH'))
    names = [shutil.which('nvcc'), *NVCC, *(f'{home}/bin/nvcc' for home in homes if home)]
    return sorted({os.path.realpath(name) for name in names if name and os.path.exists(name)})


@cache
def hidden() -> tuple[str, ...] | None:
    """The start of a command that finds no nvcc, as on machines without it; None where nothing can be hidden."""
    if not nvccs():
        return ()
    start = ('unshare', '--mount', 'sh', '-c', HIDING, 'sh', *nvccs(), '--')
    try:
        return start if subprocess.run([*start, 'true'], capture_output=True).returncode == 0 else None
    except FileNotFoundError:
        return None


def built(folder: Path, python: str | Path, nvcc: bool = False) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built of it, in environments of the build's own."""
    options = {'SNNKERN_CUDA': 'ON', 'SNNKERN_CUDA_ARCHS': '90-real'} if nvcc else {'SNNKERN_CUDA': 'AUTO'}
    start: tuple[str, ...] = ()
    if not nvcc:
        start = hidden() or ()
        options['SNNKERN_CUDA'] = 'OFF' if hidden() is None else 'AUTO'
    build = environment(folder / 'build', python, 'build')
    run(*start, build, '-m', 'build', '--outdir', folder / 'dist', ROOT, **options)
    (sdist,), (wheel,) = (list((folder / 'dist').glob(ending)) for ending in ('*.tar.gz', '*.whl'))
    return sdist, wheel


def expected() -> tuple[set[str], set[str]]:
    """What the sdist and the package in a wheel hold: all that git has of the sources and of the package."""
    listed = ['git', '-C', str(ROOT), 'ls-files', '--cached', '--others', '--exclude-standard', 'csrc', 'snnkern']
    files = set(subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split())
    files = {name for name in files if (ROOT / name).exists()}
    return files | set(SOURCES), {name for name in files if name.startswith('snnkern/')}


def complete(sdist: Path, wheel: Path, nvcc: bool = False) -> None:
    """Both hold what they must, and the wheel nothing else."""
    with tarfile.open(sdist) as archive:
        sources = {name.partition('/')[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if '.dist-info/' not in name}
    binaries = {name for name in files if name.endswith('.so')}
    there, packed = expected()
    wrong = {f'not in the sdist: {name}' for name in there - sources}
    wrong |= {f'not in the wheel: {name}' for name in packed - files}
    wrong |= {f'no part of the wheel: {name}' for name in files - packed - binaries}
    if {name.split('.')[0] for name in binaries} != {'snnkern/_cpu', *(['snnkern/_cuda'] if nvcc else [])}:
        wrong.add(f'binaries: {sorted(binaries)}')
    if wrong:
        raise SystemExit('; '.join(sorted(wrong)))


def checked(python: Path, wheel: Path, *words: str) -> dict[str, str]:
    """A row of the table: what was checked with the Python of an environment that has a torch."""
    run(python, '-m', 'pip', 'install', '--quiet', '--force-reinstall', '--no-deps', wheel)
    run(python, '-m', 'pip', 'install', '--quiet', wheel)
    facts = json.loads(run(python, CHECK, *words).splitlines()[-1])
    return {'wheel': wheel.name.split('-')[2], **facts, 'result': 'passes'}


def row(named: dict[str, str], work: Callable[..., dict[str, str]], *arguments: object) -> dict[str, str]:
    """What the work gives; where it fails what is named, and why: the other rows are worth their time."""
    try:
        return work(*arguments)
    except (subprocess.CalledProcessError, OSError, SystemExit) as failure:
        return {**named, 'result': f'FAILS: {failure}'}


def with_torch(own: Path, torch: str, wheel: Path, *words: str) -> dict[str, str]:
    return checked(environment(own, sys.executable, *torch.split()), wheel, *words)


def without_triton(python: Path) -> dict[str, str]:
    run(python, '-m', 'pip', 'uninstall', '--quiet', '--yes', 'triton')
    return {**json.loads(run(python, CHECK).splitlines()[-1]), 'wheel': 'the same', 'result': 'passes'}


def with_nvcc(folder: Path, python: Path) -> dict[str, str]:
    if not nvccs():
        return {'wheel': 'with nvcc', 'result': 'skipped: no nvcc'}
    sdist, wheel = built(folder, sys.executable, nvcc=True)
    complete(sdist, wheel, nvcc=True)
    return {**checked(python, wheel), 'wheel': 'with nvcc'}


def rows_of_torches(folder: Path, wheel: Path, torches: dict[str, str]) -> Iterator[dict[str, str]]:
    """One wheel with every torch; the last one again without Triton, and with a wheel that has CUDA kernels."""
    for name, torch in torches.items():
        if not torch:
            yield {'torch': name, 'result': 'skipped: the variable is empty'}
            continue
        own = folder / name
        yield row({'torch': torch}, with_torch, own, torch, wheel, *(['demo'] if name == 'TORCH_CPU' else []))
        if name == 'TORCH_CUDA':
            python = own / 'bin' / 'python'
            yield row({'wheel': 'the same', 'torch': torch}, without_triton, python)
            yield row({'wheel': 'with nvcc', 'torch': torch}, with_nvcc, folder / 'nvcc', python)
        shutil.rmtree(own, ignore_errors=True)


def pythons() -> Iterator[tuple[str, str | None]]:
    """The versions of Python but our own, and their interpreters, or None."""
    if 'PYTHONS' in os.environ:
        yield from ((python, python) for python in os.environ['PYTHONS'].split())
        return
    for version in VERSIONS:
        if version != f'{sys.version_info.major}.{sys.version_info.minor}':
            found = sorted(Path.home().glob(f'.pyenv/versions/{version}.*/bin/python'))
            yield version, str(found[-1]) if found else shutil.which(f'python{version}')


def with_python(own: Path, python: str, torch: str) -> dict[str, str]:
    sdist, wheel = built(own, python)
    complete(sdist, wheel)
    return checked(environment(own / 'environment', python, *torch.split()), wheel)


def rows_of_pythons(folder: Path, torch: str) -> Iterator[dict[str, str]]:
    """A wheel of each Python, with that torch."""
    for version, python in pythons():
        if not python or not torch:
            yield {
                'Python': version,
                'result': 'skipped: ' + ('no torch is named' if python else 'not on this machine'),
            }
            continue
        own = folder / version.replace('/', '_')
        yield row({'Python': version}, with_python, own, python, torch)
        shutil.rmtree(own, ignore_errors=True)


def main() -> int:
    """The exit status."""
    torches = {name: os.environ.get(name, usual) for name, usual in TORCHES.items()}
    rows = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sdist, wheel = built(folder / 'own', sys.executable)
        complete(sdist, wheel)
        rows += rows_of_torches(folder, wheel, torches)
        rows += rows_of_pythons(folder, torches['TORCH_CUDA'] or torches['TORCH_CPU'])
    print(f'built with SNNKERN_CUDA={"OFF" if hidden() is None else "AUTO and nvcc hidden, or absent"}\n')
    for line in (dict(zip(COLUMNS, COLUMNS, strict=True)), dict.fromkeys(COLUMNS, '---'), *rows):
        print('|', ' | '.join(line.get(column, '') for column in COLUMNS), '|')
    return int(any(line['result'].startswith('FAILS') for line in rows))


if __name__ == '__main__':
    sys.exit(main())
