"""The Triton backend: any GPU that Triton knows, no compiler needed. Kernels: triton_kernels.py.

Kernels are compiled at their first use, per parts of the neuron, dtype, optional tensors and chunk of steps;
numbers (tau, thresholds, T, N) are arguments and compile nothing. triton is imported at the first launch.
"""

import math
from contextlib import nullcontext
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from snnkern.backends import checkpoint_count, checkpoint_interval, layout
from snnkern.fires import FIRES, Burst
from snnkern.neurons import CHARGES, LIF, Neuron
from snnkern.resets import RESETS, Hard
from snnkern.surrogates import SURROGATES

DEVICES: tuple[str, ...] = ('cuda',)  # also ROCm's name; tests add "cpu" while an emulator is Triton's driver
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LANES = 64 if torch.version.hip else 32
WARPS = 4
ACCESS = 16  # bytes of one load or store of a thread
VALUES = 16  # values that a thread loads at once, as float32 one register each
# Without a stated ceiling ptxas spills a few bytes where that lets one more block run.
REGISTERS = {} if torch.version.hip else {'maxnreg': 255}


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op there, or None."""
    if op != 'multistep':
        return f'{op} has no Triton kernel'
    if device.type not in DEVICES:
        return f'Triton kernels run on {" and ".join(DEVICES)}, not on {device.type}'
    if dtype not in DTYPES:
        return f'Triton kernels take float32, float16 and bfloat16, not {str(dtype).removeprefix("torch.")}'
    if find_spec('triton') is None:
        return 'triton is not installed'
    return None


def _power_of_2(value: float) -> bool:
    """Whether dividing by it equals multiplying by its reciprocal, in float32 too."""
    return math.frexp(value)[0] == 0.5 and 2.0**-100 < value < 2.0**100


@lru_cache(maxsize=1024)
def _arguments(spec: str) -> dict[str, Any]:
    """What both kernels need to know of a neuron."""
    charge, fire, reset, _ = Neuron.parse(spec).parts
    leaky = isinstance(charge, LIF)
    return {
        'v_start': reset.v_start,
        'v_rest': charge.v_rest if leaky else 0.0,
        'tau': charge.tau if leaky else 1.0,
        'v_threshold': fire.v_threshold,
        'levels': fire.levels,
        'v_reset': reset.v_reset if isinstance(reset, Hard) else 0.0,
        'CHARGE': CHARGES.index(type(charge)),
        'DECAY_INPUT': leaky and charge.decay_input,
        'FIRE': FIRES.index(type(fire)),
        'REAL_UNITS': fire.real_units,
        'RESET': RESETS.index(type(reset)),
        'POWER_OF_2_TAU': leaky and _power_of_2(charge.tau),
        'POWER_OF_2_THRESHOLD': isinstance(fire, Burst) and _power_of_2(fire.v_threshold),
    }


@lru_cache(maxsize=1024)
def _backward_arguments(spec: str) -> dict[str, Any]:
    """What only backward needs to know of a neuron."""
    _, _, reset, surrogate = Neuron.parse(spec).parts
    return {
        'alpha': surrogate.alpha,
        'DETACH': reset.detach,
        'SURROGATE': SURROGATES.index(type(surrogate)),
    }


def _shape(x: Tensor, T: int) -> tuple[tuple[int], dict[str, Any]]:
    """The grid, and what both kernels need to know of x. A thread holds the widest vector that divides N."""
    N, widest = x.numel() // x.shape[0], ACCESS // x.element_size()
    vector = math.gcd(N, widest)
    block = LANES * WARPS * vector
    options = {
        'vectors': N // vector,
        'T': T,
        'CONSTANT': x.shape[0] < T,
        'GROUP': _short(T, VALUES // widest),
        'VECTOR': vector,
        'BLOCK': block,
        'num_warps': WARPS,
        'enable_fp_fusion': False,
        **REGISTERS,
    }
    return (-(-N // block),), options


def _short(T: int, steps: int) -> int:
    """No more steps at once than there are, rounded up to a power of two: few variants over all T."""
    return min(steps, 1 << (T - 1).bit_length())


def _device(x: Tensor) -> Any:
    """Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def multistep_fwd(
    x: Tensor, state: Tensor | None, spec: str, T: int, save: bool, want_state: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Spikes, last state or None, checkpoints or None."""
    s = layout.new_like(x, T)
    last = layout.new_like(x, 1, torch.float32) if want_state else None
    count = checkpoint_count(T, x.dtype) if save else 0
    checkpoints = layout.new_like(x, count, torch.float32) if count else None
    if x.numel():
        from snnkern.backends.triton_kernels import forward

        grid, options = _shape(x, T)
        options['K'] = checkpoint_interval(x.dtype) if checkpoints is not None else 1
        with _device(x):
            forward[grid](x, state, s, last, checkpoints, **_arguments(spec), **options)
    return s, last, checkpoints


def multistep_bwd(
    grad_s: Tensor,
    grad_state: Tensor | None,
    x: Tensor,
    state: Tensor | None,
    checkpoints: Tensor | None,
    spec: str,
    T: int,
    want_state: bool,
) -> tuple[Tensor, Tensor | None]:
    """Gradient of x, and of the initial state or None."""
    grad_x = layout.new_like(x, x.shape[0])
    grad_v0 = layout.new_like(x, 1, torch.float32) if want_state else None
    if x.numel():
        from snnkern.backends.triton_kernels import backward

        grid, options = _shape(x, T)
        options |= _backward_arguments(spec) | {'K': _short(T, checkpoint_interval(x.dtype))}
        tensors = (grad_s, grad_state, x, state, checkpoints, grad_x, grad_v0)
        with _device(x):
            backward[grid](*tensors, **_arguments(spec), **options)
    return grad_x, grad_v0
