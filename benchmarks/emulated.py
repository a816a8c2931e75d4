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
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from snnkern.backends import forget, layout, native
from snnkern.backends.triton import device as triton_device

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [Path(os.environ.get('SNNKERN_PTXSIM') or ROOT / 'tests'), ROOT.parent / 'shared' / 'tools']
VIRTUAL = (75, 90)  # the architectures whose PTX the emulated library holds


@cache
def ptxsim() -> ModuleType:
    """The emulator. Raises ImportError where it is absent (SNNKERN_PTXSIM may name its folder)."""
    for folder in FOLDERS:
        if (folder / 'ptxsim').is_dir():
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
            return importlib.import_module('ptxsim')
    raise ImportError(f'no PTX emulator in {" or ".join(map(str, FOLDERS))} (SNNKERN_PTXSIM may name another folder)')


def library() -> Path:
    """`_cuda` with a shared CUDA runtime, which the emulator replaces, and PTX; built in build/emulator.

    Raises RuntimeError with the end of the output if it does not build.
    """
    folder = ROOT / 'build' / 'emulator'
    archs = ';'.join(f'{arch}-virtual' for arch in VIRTUAL)
    options = ['-DSNNKERN_CUDA=ON', '-DSNNKERN_CUDART=shared', f'-DSNNKERN_CUDA_ARCHS={archs}']
    configure = ['cmake', '-G', 'Ninja', '-S', ROOT, '-B', folder, f'-DPython_EXECUTABLE={sys.executable}', *options]
    path = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])  # as setup.py does
    for command in (configure, ['cmake', '--build', folder, '--target', '_cuda']):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, 'PATH': path})
        if done.returncode:
            raise RuntimeError(f'{folder} does not build:\n{done.stdout[-3000:]}{done.stderr[-3000:]}')
    return folder / f'_cuda{sysconfig.get_config_var("EXT_SUFFIX")}'


def built() -> str | None:
    """The path of the installed `_cuda`, which holds machine code; None where there was no nvcc."""
    found = find_spec('snnkern._cuda')
    return None if found is None else found.origin


@cache
def texts(path: Path, arch: int) -> tuple[str, ...]:
    """The PTX of a library for one of VIRTUAL."""
    return tuple(text for text in ptxsim().toolchain.embedded_ptx(path) if f'.target sm_{arch}' in text)


@contextmanager
def extensions(path: Path) -> Iterator[dict[int, Any]]:
    """One emulated GPU per architecture of the library at `path`; tensors must be made after it."""
    made: dict[int, Any] = {}
    for arch in VIRTUAL:  # each reads its own PTX only
        made[arch] = ptxsim().FakeGPU.extension('snnkern._cuda', path, arch=arch, ptx=list(texts(path, arch)))
    gc.collect()
    gc.freeze()  # the emulator looks for tensors among all objects at each launch: not among millions of instructions
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
