"""Run CUDA and Triton kernels on a machine without a GPU, by interpreting the PTX their compilers emit.

GPU and Module run a kernel from its PTX text; FakeGPU runs an nvcc-built library's own host code;
install_triton runs `kernel[grid](...)` on CPU tensors; sass_facts reads registers, spills and access widths
from machine code; time_bound turns counted traffic into a lower bound on time. See README.md.
"""

from .bound import DEVICES, Device, TimeBound, time_bound
from .fakegpu import FakeGPU
from .machine import Run
from .memory import GPU, Allocation
from .module import Module
from .program import Kernel
from .ptxtypes import PtxError
from .sass import SassFacts, sass_facts
from .sassloops import Loop, sass_loops
from .toolchain import ToolError
from .traffic import Access, Traffic

__all__ = [
    'DEVICES',
    'GPU',
    'Access',
    'Allocation',
    'Device',
    'FakeGPU',
    'Kernel',
    'Loop',
    'Module',
    'PtxError',
    'Run',
    'SassFacts',
    'TimeBound',
    'ToolError',
    'Traffic',
    'install_triton',
    'sass_facts',
    'sass_loops',
    'time_bound',
]


def install_triton(arch: int = 90, race: bool = True, seed: int | None = None):
    """Make Triton compile for sm_<arch> and interpret every launch on CPU tensors; returns the FakeDriver.

    race: look for data races; seed: run warps in a random order. Requires Triton and torch.
    """
    from . import faketriton

    return faketriton.install_triton(arch, race, seed)
