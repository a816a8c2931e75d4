"""Where Triton kernels run, and how they are launched there. triton itself is imported at the first launch."""

from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern.backends import CUSTOM

DEVICES: tuple[str, ...] = ('cuda',)  # also ROCm's name; tests add "cpu" while an emulator is Triton's driver
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WARPS = 4
ACCESS = 16  # bytes of one load or store of a thread
# The ops that have kernels.
OPS = ('multistep', 'moments', 'poisson', 'pack_spikes', 'pool2d')


class Machine(NamedTuple):
    """What launches depend on: threads of a warp, and what its compiler knows."""

    lanes: int
    registers: bool  # whether the compiler can be told how many registers a thread may have


NVIDIA, AMD = Machine(32, True), Machine(64, False)
MACHINE = AMD if torch.version.hip else NVIDIA  # tests put the other one here


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op there, or None."""
    if op == CUSTOM:
        return 'a Custom surrogate is a Python function'
    if op not in OPS:
        return f'{op} has no Triton kernel'
    if device.type not in DEVICES:
        return f'Triton kernels run on {" and ".join(DEVICES)}, not on {device.type}'
    if dtype not in DTYPES:
        return f'Triton kernels take float32, float16 and bfloat16, not {str(dtype).removeprefix("torch.")}'
    if find_spec('triton') is None:
        return 'triton is not installed'
    return None


def on_device(x: Tensor) -> Any:
    """Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def threads() -> int:
    """Of a program."""
    return WARPS * MACHINE.lanes


def options(registers: int = 255) -> dict[str, Any]:
    """How every kernel is compiled: no contraction, so that results equal the reference's.

    registers: most of a thread. Without a stated ceiling ptxas spills a few bytes where that lets one more block run.
    """
    ceiling = {'maxnreg': registers} if MACHINE.registers else {}
    return {'num_warps': WARPS, 'enable_fp_fusion': False, **ceiling}
