"""The PTX emulator for benchmarks and tests: kernels run without a GPU, and every access is counted."""

import gc
import importlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

import snnkern
from snnkern.backends import forget, layout, native
from snnkern.backends.triton import device as triton_device

ROOT = Path(__file__).resolve().parents[1]
USUAL, OTHERS = (75, 90), (80, 100, 120)  # the architectures whose PTX the emulated library holds, and a second one


@cache
def ptxsim() -> ModuleType:
    """The emulator. Raises ImportError where the repository's tests are not there."""
    if str(ROOT / 'tests') not in sys.path:
        sys.path.append(str(ROOT / 'tests'))
    return importlib.import_module('ptxsim')


def library(name: str = 'emulator', archs: tuple[int, ...] = USUAL) -> Path:
    """`_cuda` in build/<name>, with PTX for some architectures and a shared CUDA runtime, which the emulator replaces.

    Raises RuntimeError with the end of the output if it does not build.
    """
    folder, targets = ROOT / 'build' / name, ';'.join(f'{arch}-virtual' for arch in archs)
    options = ['-DSNNKERN_CUDA=ON', '-DSNNKERN_CUDART=shared', f'-DSNNKERN_CUDA_ARCHS={targets}']
    configure = ['cmake', '-G', 'Ninja', '-S', ROOT, '-B', folder, f'-DPython_EXECUTABLE={sys.executable}', *options]
    path = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])  # as setup.py does
    environment = {**os.environ, 'PATH': path}
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / 'lock'):  # tests run in several processes
        for command in (configure, ['cmake', '--build', folder, '--target', '_cuda']):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise RuntimeError(f'{folder} does not build:\n{done.stdout[-3000:]}{done.stderr[-3000:]}')
    return folder / f'_cuda{sysconfig.get_config_var("EXT_SUFFIX")}'


def built() -> str | None:
    """The path of the installed `_cuda`, which holds machine code; None where there was no nvcc.

    Looked for in the package's folders: in sys.modules an emulated library may stand under its name.
    """
    found = PathFinder.find_spec('snnkern._cuda', snnkern.__path__)
    return None if found is None else found.origin


@cache
def _all_texts(path: Path) -> list[str]:
    return ptxsim().toolchain.embedded_ptx(path)


def texts(path: Path, arch: int) -> list[str]:
    """The PTX of a library for one architecture."""
    return [text for text in _all_texts(path) if f'.target sm_{arch}' in text]


class GPUs(dict[int, Any]):
    """Emulated GPUs by architecture: the usual ones at once, the others, of a second library, when one is asked for.
    Tensors must be made after it."""

    def __init__(self, path: Path) -> None:
        for arch in USUAL:
            self._add(path, arch)

    def __missing__(self, arch: int) -> Any:
        self._add(library('emulator_others', OTHERS), arch)
        return self[arch]

    def _add(self, path: Path, arch: int) -> None:
        self[arch] = ptxsim().FakeGPU.extension('snnkern._cuda', path, arch=arch, ptx=texts(path, arch))
        gc.collect()
        gc.freeze()  # the emulator looks for tensors among all objects at each launch: not among all that is there now


@contextmanager
def extensions(path: Path) -> Iterator[GPUs]:
    """The emulated GPUs of the library at `path`, for a while."""
    made = GPUs(path)
    try:
        yield made
    finally:
        gc.unfreeze()
        for gpu in reversed(made.values()):
            gpu.close()


def poison(t: Tensor) -> Tensor:
    """t, filled with what no kernel writes: NaN, or a number that no test expects."""
    return t.fill_(torch.nan if t.is_floating_point() else 85)


@contextmanager
def on_gpu(gpu: Any) -> Iterator[Any]:
    """The native backend runs CPU tensors on an emulated GPU; outputs are poisoned. Yields it."""

    def new(x: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
        made = poison(layout.new_like(x, steps, dtype))
        if made.numel():
            gpu.register(made, written=False)
        return made

    before = native.DEVICES['cpu']
    native.DEVICES['cpu'] = native.Device(lambda: gpu.module, lambda x: (0, 0), new, partial=True)
    forget()
    gpu.runs.clear()
    gpu.seed, gpu.devices = None, 1
    gc.freeze()  # nor among what other tests left, such as fake tensors, which have no memory
    try:
        with gpu.track(automatic=True):
            yield gpu
    finally:
        native.DEVICES['cpu'] = before
        forget()


@contextmanager
def on_triton(arch: int) -> Iterator[Any]:
    """Triton compiles for sm_<arch> and runs on CPU tensors; outputs of our backend are poisoned. Yields the driver."""
    with ptxsim().install_triton(arch) as driver:

        def poisoned(x: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
            strides, dtype = layout.strides_of(x), dtype or x.dtype
            memory = poison(driver.empty(steps * x[0].numel(), dtype=dtype))
            return memory.as_strided((steps, *x.shape[1:]), strides)

        # Only what the backend itself makes: what others make is written by torch, unseen by the emulator.
        poisonous = SimpleNamespace(**{**vars(layout), 'new_like': poisoned})
        names = [name for name in sys.modules if name.startswith('snnkern.backends.triton.')]
        changed = [module for name in names if hasattr(module := sys.modules[name], 'layout')]
        devices, triton_device.DEVICES = triton_device.DEVICES, ('cuda', 'cpu')
        for module in changed:
            module.layout = poisonous
        forget()
        try:
            yield driver
        finally:
            triton_device.DEVICES = devices
            for module in changed:
                module.layout = layout
            forget()


def facts(cubin: bytes) -> Any:
    """Registers, stack, spills and access widths of the one kernel in a cubin (ptxsim.SassFacts)."""
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        (kernel,) = ptxsim().sass_facts(file.name).values()
    return kernel
