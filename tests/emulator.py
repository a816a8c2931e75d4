"""The PTX emulator (tests/ptxsim) proves GPU kernels where there is no GPU: its fixtures, and facts of machine code."""

import gc
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import ptxsim
import pytest
import torch
from filelock import FileLock

from snnkern.backends import forget, layout, native
from snnkern.backends.triton import device as triton_device

ROOT = Path(__file__).parents[1]
EVERY_GPU = (75, 90, *(pytest.param(arch, marks=pytest.mark.slow) for arch in (80, 100, 120)))


def load() -> ModuleType:
    """The package `ptxsim`."""
    return ptxsim


def poison(t: torch.Tensor) -> torch.Tensor:
    """t, filled with what no kernel writes: NaN, or a number that no test expects."""
    return t.fill_(torch.nan if t.is_floating_point() else 85)


def facts(cubin: bytes) -> Any:
    """Registers, stack, spills and access widths of the one kernel in a cubin (ptxsim.SassFacts)."""
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        (kernel,) = ptxsim.sass_facts(file.name).values()
    return kernel


def build(name: str, *archs: int) -> Path:
    """`_cuda` in build/<name>, with PTX for some architectures and a shared CUDA runtime (the emulator replaces it)."""
    if find_spec('snnkern._cuda') is None:
        pytest.skip('snnkern._cuda is not built (no nvcc)')
    folder, targets = ROOT / 'build' / name, ';'.join(f'{arch}-virtual' for arch in archs)
    options = ['-DSNNKERN_CUDA=ON', '-DSNNKERN_CUDART=shared', f'-DSNNKERN_CUDA_ARCHS={targets}']
    configure = ['cmake', '-G', 'Ninja', '-S', ROOT, '-B', folder, f'-DPython_EXECUTABLE={sys.executable}', *options]
    path = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])  # as setup.py does
    environment = {**os.environ, 'PATH': path}
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / 'lock'):  # tests run in several processes
        for command in (configure, ['cmake', '--build', folder, '--target', '_cuda']):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / f'_cuda{sysconfig.get_config_var("EXT_SUFFIX")}'


class GPUs(dict):
    """Emulated GPUs by architecture. Those of the library are made at once; any other when it is first asked for, from
    a library of its own."""

    def __init__(self, library: Path, *archs: int) -> None:
        self.load(library, *archs)

    def __missing__(self, arch: int) -> ptxsim.FakeGPU:
        self.load(build(f'emulator_{arch}', arch), arch)
        return self[arch]

    def load(self, library: Path, *archs: int) -> None:
        """Make the GPUs of these architectures; each reads its own PTX only."""
        texts = ptxsim.toolchain.embedded_ptx(library)
        for arch in archs:
            own = [text for text in texts if f'.target sm_{arch}' in text]
            self[arch] = ptxsim.FakeGPU.extension('snnkern._cuda', library, arch=arch, ptx=own)
        gc.collect()
        gc.freeze()  # the emulator looks for tensors among all objects at each launch: not among so many instructions

    def close(self) -> None:
        """Put the real module back."""
        gc.unfreeze()
        for gpu in reversed(self.values()):
            gpu.close()


@pytest.fixture(scope='session')
def library() -> Path:
    """The library that the tests run, with PTX for sm_75 and sm_90."""
    return build('emulator', 75, 90)


@pytest.fixture(scope='session')
def gpus(library: Path) -> Iterator[GPUs]:
    """One emulated GPU per architecture."""
    made = GPUs(library, 75, 90)
    yield made
    made.close()


@pytest.fixture
def gpu(request, gpus, monkeypatch):
    """CPU tensors run on the emulated GPU (parameter: its architecture, else 90; EVERY_GPU lists all); outputs are
    poisoned."""
    gpu = gpus[getattr(request, 'param', 90)]

    def new(x, steps, dtype=None):
        made = poison(layout.new_like(x, steps, dtype))
        if made.numel():
            gpu.register(made, written=False)
        return made

    device = native.Device(lambda: gpu.module, lambda x: (0, 0), new, partial=True)
    monkeypatch.setitem(native.DEVICES, 'cpu', device)
    forget()
    gpu.runs.clear()
    gpu.seed, gpu.devices = None, 1
    gc.freeze()  # nor among what other tests left, such as fake tensors, which have no memory
    with gpu.track(automatic=True):
        yield gpu
    forget()


@pytest.fixture
def driver(request, monkeypatch):
    """Triton's driver is the emulator of an architecture (parameter, else 90); outputs are poisoned."""
    with ptxsim.install_triton(getattr(request, 'param', 90)) as driver:

        def poisoned(x, steps, dtype=None):
            strides, dtype = layout.strides_of(x), dtype or x.dtype
            memory = poison(driver.empty(steps * x[0].numel(), dtype=dtype))
            return memory.as_strided((steps, *x.shape[1:]), strides)

        monkeypatch.setattr(triton_device, 'DEVICES', ('cuda', 'cpu'))
        # Only what the backend itself makes: what others make is written by torch, unseen by the emulator.
        poisonous = SimpleNamespace(**{**vars(layout), 'new_like': poisoned})
        for name, module in list(sys.modules.items()):
            if name.startswith('snnkern.backends.triton.') and hasattr(module, 'layout'):
                monkeypatch.setattr(module, 'layout', poisonous)
        forget()
        yield driver
    forget()
    assert driver.races == []
