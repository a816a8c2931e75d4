"""SpikingJelly's GPU kernels, from their own code, by the same facts as ours: `python -m benchmarks.gpu_rivals`.

[--json FILE]. Triton: the launchers of the installed spikingjelly, on CPU tensors. Native: kernels.cuh of its source
release (downloaded with pip, or --sdist FILE), compiled by nvcc with the flags of its setup.py. ATan(2), hard reset,
not detached, tau = 2, no sequence of potentials. No GPU runs and no time is measured.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import emulated, gpu_cases, gpu_facts, gpu_static
from benchmarks.gpu_cases import F16, F32, ODD, Case, N, Part
from benchmarks.gpu_facts import MAIN, Row
from benchmarks.gpu_native_rival import Native, inputs
from snnkern._files import write

VERSION = '2.0.0'
FILE = Path(__file__).with_name('results') / 'gpu_rivals.json'
ATAN, ALPHA, TAU, THRESHOLD, RESET = 1, 2.0, 2.0, 1.0, 0.0
FOLDERS = {'LIF': 'lif', 'IF': 'if_'}


class Wide:
    """Their backward kernel as it is launched from 2^21 neurons on: blocks of 512 elements."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int]) -> Callable[..., Any]:
        def launch(*arguments: Any, **options: Any) -> Any:
            *rest, _, layout = arguments
            return self.kernel[(-(-arguments[6] // 512),)](*rest, 512, layout, **options)

        return launch


def triton(kind: str, dtype: torch.dtype, T: int, n: int, backend: str, many: bool = True) -> Iterator[Part]:
    """Both directions by their own launchers; many: and LIF's backward as for many neurons."""
    module, t = import_module(f'spikingjelly._ops.{FOLDERS[kind]}.triton'), inputs(dtype, T, n)
    charge = (TAU, True) if kind == 'LIF' else ()
    numbers = *charge, THRESHOLD, RESET, False, ALPHA, False, ATAN
    # Their checks want CUDA tensors, and the launch its device.
    checks, device = mock.patch('torch._check'), mock.patch('torch.cuda.device', return_value=nullcontext())
    with checks, device:
        module._forward_impl(t['x'], t['v'], *numbers)
        yield Part('forward', T * n, None)
        module._backward_impl(t['gs'], t['gv'], t['h'], *numbers)
        yield Part('backward', T * n, None)
        if many and kind == 'LIF' and T > 1:
            module._backward_impl(t['gs'], t['gv'], t['h'], *numbers, _kernel_wrapper=Wide)
            yield Part('backward of many', T * n, None)


def cases(run: Callable[..., Iterator[Part]]) -> list[Case]:
    """Those that ours are compared in."""
    found = []
    for kind in FOLDERS:
        for dtype in (F32, F16):
            for T, n in ((4, N), (16, N), (16, ODD)):
                odd = f' N={n}' if n == ODD else ''
                name = f'{kind} {str(dtype)[6:]} T={T}{odd}'
                found.append(Case(name, partial(run, kind, dtype, T, n)))
    return found


def of_triton() -> dict[str, Row]:
    """Rows of their Triton kernels."""
    found = {}
    with gpu_facts.on_triton(MAIN) as taken:
        for case in cases(triton):
            found |= gpu_facts.launches(case, 'triton', taken, {}, True)
    return found


def of_native(source: Path) -> dict[str, Row]:
    """Rows of their CUDA kernels. source: the unpacked source release."""
    with tempfile.TemporaryDirectory() as folder:
        native = Native(source, Path(folder))
        found = {}
        for case in cases(native.run):
            for name, launches, part in gpu_cases.measure(case, 'native', native.taken):
                found[name] = gpu_cases.facts(launches, part, True) | native.machine(launches)
        return found


def sdist() -> Path:
    """Downloads the source release into build/rivals, once; pip builds nothing."""
    folder = emulated.ROOT / 'build' / 'rivals'
    archive = folder / f'spikingjelly-{VERSION}.tar.gz'
    if not archive.exists():
        wanted = ['--no-binary', ':all:', '--no-deps', '--no-build-isolation', f'spikingjelly=={VERSION}']
        command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--dest', str(folder), *wanted]
        subprocess.run(command, check=True)
    return archive


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.gpu_rivals', description=__doc__)
    parser.add_argument('--json', metavar='FILE', type=Path, default=FILE, help=f'default: {FILE.name}')
    parser.add_argument('--sdist', metavar='FILE', type=Path, help='the source release, instead of downloading it')
    given = parser.parse_args(arguments)
    if version('spikingjelly') != VERSION:
        raise SystemExit(f'spikingjelly {VERSION} must be installed, got {version("spikingjelly")}')
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(given.sdist or sdist()) as archive:
            archive.extractall(folder, filter='data')
        launches = of_native(Path(folder) / f'spikingjelly-{VERSION}')
    launches |= of_triton()
    counts = {kind: gpu_facts.variants(partial(triton, kind, many=False)) for kind in FOLDERS}
    table = {'spikingjelly': VERSION, 'versions': gpu_facts.versions(), gpu_facts.VARIANTS: counts}
    document = gpu_static.dumped(table | {'launches': dict(sorted(launches.items()))})
    write(given.json, lambda path: path.write_text(document))


if __name__ == '__main__':
    main()
