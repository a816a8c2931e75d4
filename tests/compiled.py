"""Triton kernels compiled for a target that is not here, by the launchers themselves, and not run."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

pytest.importorskip('triton')
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from snnkern.backends.triton import device

TARGETS = {'hip': (GPUTarget('hip', 'gfx942', 64), device.AMD, 942)}
TARGETS |= {arch: (GPUTarget('cuda', arch, 32), device.NVIDIA, arch) for arch in (75, 80, 90, 100, 120)}
MEMORY = re.compile(r'^\s+((?:global|buffer|flat|scratch)_(?:load|store|atomic)\w*)', re.MULTILINE)
RESOURCE = re.compile(r'\.(private_segment_fixed_size|[sv]gpr_spill_count|[sva]gpr_count):\s+(\d+)')
OPERATION = re.compile(r'^\s+([sv]_\w+)', re.MULTILINE)


class Absent(DriverBase):
    """Triton's driver of a GPU that is not here: enough to compile. Triton keeps kernels by the device's number."""

    def __init__(self, target: GPUTarget, number: int) -> None:
        self.target, self.number = target, number

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return self.number

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device('cpu')

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_benchmarker(self) -> Any:
        raise NotImplementedError('nothing runs')

    @classmethod
    def is_active(cls) -> bool:
        return False


@contextmanager
def compiling(target: str | int) -> Iterator[list[Any]]:
    """Launches compile for 'hip' (gfx942) or sm_<target> instead, and put the compiled kernel in the list yielded."""
    (made, machine, number), kernels = TARGETS[target], []
    launch = JITFunction.run

    def compile_only(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernels.append(launch(kernel, *arguments, grid=grid, warmup=True, **options))
        return kernels[-1]

    previous = driver._active  # None: Triton has not looked for a GPU yet
    driver.set_active(Absent(made, number))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(JITFunction, 'run', compile_only)
            patch.setattr(device, 'MACHINE', machine)
            yield kernels
    finally:
        driver.set_active(previous)


def resources(kernel: Any) -> dict[str, int]:
    """Registers, spills and bytes of scratch memory, as an AMD kernel's own metadata states them."""
    return {name: int(count) for name, count in RESOURCE.findall(kernel.asm['amdgcn'])}


def accesses(kernel: Any) -> Counter[str]:
    """The instructions of an AMD kernel that touch memory."""
    return Counter(MEMORY.findall(kernel.asm['amdgcn']))


def operations(kernel: Any) -> Counter[str]:
    """The other instructions of an AMD kernel."""
    return Counter(OPERATION.findall(kernel.asm['amdgcn']))
