"""The PTX emulator (tests/ptxsim) proves GPU kernels where there is no GPU: its fixtures, and facts of machine code."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import emulated
from benchmarks.emulated import OTHERS, USUAL, facts, poison
from benchmarks.emulated import ptxsim as load

__all__ = ['EVERY_GPU', 'driver', 'facts', 'gpu', 'gpus', 'library', 'load', 'poison']

EVERY_GPU = (*USUAL, *(pytest.param(arch, marks=pytest.mark.slow) for arch in OTHERS))


@pytest.fixture(scope='session')
def library() -> Path:
    """`_cuda` with a shared CUDA runtime (which the emulator replaces) and PTX for sm_75 and sm_90."""
    if find_spec('snnkern._cuda') is None:
        pytest.skip('snnkern._cuda is not built (no nvcc)')
    return emulated.library()


@pytest.fixture(scope='session')
def gpus(library: Path) -> Iterator[emulated.GPUs]:
    """One emulated GPU per architecture."""
    with emulated.extensions(library) as gpus:
        yield gpus


@pytest.fixture
def gpu(request, gpus):
    """CPU tensors run on the emulated GPU (parameter: its architecture, else 90; EVERY_GPU lists all); outputs are
    poisoned."""
    with emulated.on_gpu(gpus[getattr(request, 'param', 90)]) as gpu:
        yield gpu


@pytest.fixture
def driver(request):
    """Triton's driver is the emulator of an architecture (parameter, else 90); outputs are poisoned."""
    with emulated.on_triton(getattr(request, 'param', 90)) as driver:
        yield driver
    assert driver.races == []
