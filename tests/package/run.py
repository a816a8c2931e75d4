"""What users install: the sdist, a wheel built from it, and that wheel with several torches and Pythons.

Run as `make package-test`, by any Python with venv; it needs a network (torch is downloaded for each environment) and
some tens of minutes. Environment variables say what pip gets: TORCH_CPU (a torch without CUDA), TORCH_OTHER (another
version of it, for the same wheel), TORCH_CUDA (with CUDA and Triton; it then runs once more without Triton), each
empty to be left out; PYTHONS, further interpreters, for each of which a wheel is built. SNNKERN_CUDA is OFF unless set,
as where there is no nvcc.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(__file__).with_name('check.py')
CPU_INDEX = '--index-url https://download.pytorch.org/whl/cpu'
TORCHES = {'TORCH_CPU': f'torch {CPU_INDEX}', 'TORCH_OTHER': f'torch==2.6.0 {CPU_INDEX}', 'TORCH_CUDA': 'torch'}
NEEDED = (
    'CMakeLists.txt',
    'csrc/cpu.cmake',
    'csrc/bindings_cpu.cpp',
    'csrc/math/step.h',
    'SECURITY.md',
    'CHANGELOG.md',
)
INSTALLED = ('_cpu.pyi', 'py.typed', 'data/mnist_10k.npz', 'data/NOTICE', 'recipes/direct/configs/mnist-mlp.toml')


def run(*command: object) -> None:
    """Run a program away from the checkout, whose package it would import."""
    print('$', *command, flush=True)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    environment.setdefault('SNNKERN_CUDA', 'OFF')
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT.parent, env=environment)


def environment(folder: Path, python: str, *packages: str) -> Path:
    """The Python of a new environment with these packages."""
    run(python, '-m', 'venv', folder)
    own = folder / 'bin' / 'python'
    if packages:
        run(own, '-m', 'pip', 'install', '--quiet', *packages)
    return own


def built(folder: Path, python: str) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built of it, in environments of the build's own."""
    run(environment(folder / 'build', python, 'build'), '-m', 'build', '--outdir', folder / 'dist', ROOT)
    (sdist,), (wheel,) = (list((folder / 'dist').glob(ending)) for ending in ('*.tar.gz', '*.whl'))
    return sdist, wheel


def complete(sdist: Path, wheel: Path) -> None:
    """Both hold what they must."""
    with tarfile.open(sdist) as archive:
        sources = {name.partition('/')[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    missing = [name for name in NEEDED if name not in sources]
    missing += [name for name in INSTALLED if f'snnkern/{name}' not in files]
    if missing or not any(name.startswith('snnkern/_cpu.') and name.endswith('.so') for name in files):
        raise SystemExit(f'missing from sdist or wheel: {missing or "_cpu"}')


def installed(folder: Path, python: str, torch: str, wheel: Path) -> Path:
    """The Python of an environment with that torch and the wheel, which was checked there."""
    own = environment(folder, python, *torch.split())
    run(own, '-m', 'pip', 'install', '--quiet', wheel)
    run(own, CHECK)
    return own


def main() -> None:
    torches = {name: os.environ.get(name, usual) for name, usual in TORCHES.items()}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sdist, wheel = built(folder, sys.executable)
        complete(sdist, wheel)
        for name, torch in torches.items():
            if not torch:
                continue
            own = installed(folder / name, sys.executable, torch, wheel)
            if name == 'TORCH_CUDA':
                run(own, '-m', 'pip', 'uninstall', '--quiet', '--yes', 'triton')
                run(own, CHECK)
        for number, python in enumerate(os.environ.get('PYTHONS', '').split()):
            _, other = built(folder / f'python{number}', python)
            installed(folder / f'of{number}', python, torches['TORCH_CPU'] or torches['TORCH_CUDA'], other)
    print('packages are sound')


if __name__ == '__main__':
    main()
