"""The compiled kernels: `_cpu` on CPU tensors, `_cuda` on CUDA tensors. The only Python that sees addresses.

`DEVICES` maps a device type to the `Device` that runs there; tests put one with an emulated `_cuda` in its place.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from snnkern.backends import CUSTOM, checkpoint_count, checkpoint_interval, layout
from snnkern.neurons import Program

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
LARGE = 1 << 20  # bytes from which page faults make a recycled block worth 5 us


@dataclass(frozen=True)
class Device:
    """Where kernels run. load: the extension module, or the reason why there is none; where: the last arguments
    of each call (CPU: number of threads; CUDA: device index and stream); new: allocates like `layout.new_like`;
    partial: gradients of coefficients come out as sums over time of each neuron, for `layout.channel_sums`.
    """

    load: Callable[[], ModuleType | str]
    where: Callable[[Tensor], tuple[int, ...]]
    new: Callable[..., Tensor] = layout.new_like
    partial: bool = False


@cache
def _cpu() -> ModuleType | str:
    try:
        module = importlib.import_module('snnkern._cpu')
    except ImportError as error:
        return f'snnkern._cpu does not load ({error})'
    if name := os.environ.get('SNNKERN_ISA'):
        module.choose_instruction_set(name)
    if limit := os.environ.get('SNNKERN_KEEP_MB'):
        if not limit.isdecimal():
            raise ValueError(f'SNNKERN_KEEP_MB must be a whole number of MiB, got {limit!r}')
        module.set_keep_limit(int(limit) << 20)
    return module


@cache
def _cuda() -> ModuleType | str:
    if not (torch.version.cuda and torch.cuda.is_available()):
        return 'torch sees no CUDA device'
    try:
        return importlib.import_module('snnkern._cuda')
    except ImportError as error:
        return f'snnkern._cuda does not load, was nvcc there at build time? ({error})'


def _recycled(x: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
    """As layout.new_like; large ones from blocks that are kept when their last tensor goes."""
    nbytes = x.numel() // x.shape[0] * steps * (dtype or x.dtype).itemsize
    if nbytes < LARGE:
        return layout.new_like(x, steps, dtype)
    module = _cpu()
    assert isinstance(module, ModuleType)
    memory = torch.frombuffer(module.Block(nbytes), dtype=dtype or x.dtype)
    return memory.as_strided_((steps, *x.shape[1:]), layout.strides_of(x))  # in place: a tensor, not a view of one


def _stream(x: Tensor) -> tuple[int, ...]:
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


DEVICES = {
    'cpu': Device(_cpu, lambda x: (torch.get_num_threads(),), _recycled),
    'cuda': Device(_cuda, _stream, partial=True),
}


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why these kernels cannot run an op there, or None."""
    if op == CUSTOM:
        return 'a custom surrogate is a Python function, which no kernel can call'
    if device.type not in DEVICES:
        return f'no kernels for device {device.type}'
    if dtype not in DTYPES:
        return f'no {str(dtype).removeprefix("torch.")} kernels'
    module = DEVICES[device.type].load()
    if isinstance(module, str):
        return module
    return None if hasattr(module, _FUNCTIONS[op]) else f'no {op} kernel for {device.type}'


_FUNCTIONS = {'multistep': 'multistep_fwd', 'lateral_pool2d': 'lateral_pool2d'}


def notes() -> list[str]:
    """What `explain()` adds: the instruction set in use and the memory kept for reuse."""
    module = _cpu()
    if isinstance(module, str):
        return []
    sets = ', '.join(module.instruction_sets())
    kept, limit = module.kept_bytes() >> 20, module.keep_limit() >> 20
    return [f'native cpu: {module.instruction_set()} (of {sets}; SNNKERN_ISA forces one)',
            f'native cpu: {kept} MiB of output blocks kept for reuse, at most {limit} (SNNKERN_KEEP_MB)']  # fmt: skip


def _at(t: Tensor | None) -> int:
    return 0 if t is None else t.data_ptr()


def _common(
    x: Tensor, state: Tensor | None, coefficients: Tensor | None, checkpoints: Tensor | None, program: Program, T: int
) -> tuple[Any, ...]:
    """The arguments that both directions begin with (MultistepArgs in csrc/kernels/multistep.h)."""
    n, constant = x.numel() // x.shape[0], x.shape[0] != T
    shape = DTYPES[x.dtype], T, n, checkpoint_interval(x.dtype), constant
    steps, channels, inner = 1, 1, 1
    if coefficients is not None:
        _, steps, channels = coefficients.shape
        inner = x.stride(program.channel_dim) if channels > 1 else 1
    rows = _at(coefficients), steps, channels, inner
    return program.packed, *shape, *rows, x.data_ptr(), _at(state), _at(checkpoints)


def multistep_fwd(
    x: Tensor,
    state: Tensor | None,
    coefficients: Tensor | None,
    spec: str,
    T: int,
    save: bool,
    want_state: bool,
    want_v_seq: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Spikes, last states, v of all steps, checkpoints (see the table in backends/__init__.py)."""
    device, program = DEVICES[x.device.type], Program.parse(spec)
    states = len(program.neuron.states) if save or want_state else 0
    s = device.new(x, T)
    last = device.new(x, states, torch.float32) if want_state else None
    v_seq = device.new(x, T, torch.float32) if want_v_seq else None
    kept = checkpoint_count(T, x.dtype) if save else 0
    checkpoints = device.new(x, kept * states, torch.float32) if kept else None
    if s.numel():
        common = _common(x, state, coefficients, checkpoints, program, T)
        device.load().multistep_fwd(*common, s.data_ptr(), _at(last), _at(v_seq), *device.where(x))  # type: ignore[union-attr]
    return s, last, v_seq, checkpoints


def multistep_bwd(
    grad_s: Tensor,
    grad_state: Tensor | None,
    grad_v_seq: Tensor | None,
    x: Tensor,
    state: Tensor | None,
    coefficients: Tensor | None,
    checkpoints: Tensor | None,
    spec: str,
    T: int,
    want_state: bool,
    want_coefficients: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of x and, if wanted, of the initial states and of the coefficients."""
    device, program = DEVICES[x.device.type], Program.parse(spec)
    grad_x = device.new(x, x.shape[0])
    grad_states = device.new(x, len(program.neuron.states), torch.float32) if want_state else None
    sums = None
    if want_coefficients and coefficients is not None:
        rows = coefficients.shape[0] * coefficients.shape[1]
        sums = device.new(x, rows, torch.float32) if device.partial else torch.zeros_like(coefficients)
    if grad_s.numel():
        common = _common(x, state, coefficients, checkpoints, program, T)
        given = _at(grad_s), _at(grad_state), _at(grad_v_seq)
        wanted = grad_x.data_ptr(), _at(grad_states), _at(sums)
        device.load().multistep_bwd(*common, *given, *wanted, *device.where(x))  # type: ignore[union-attr]
    if sums is not None and coefficients is not None and device.partial:
        sums = layout.channel_sums(sums, coefficients, program.channel_dim)
    return grad_x, grad_states, sums


Pair = tuple[int, int]


def lateral_pool2d(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, scale: float
) -> Tensor:
    """The change of the window maximum of the cumulative spike counts (see functional.lateral_pool2d)."""
    device = DEVICES[x.device.type]
    x = x.contiguous()
    height, width = layout.pooled_size(x, kernel_size, stride, padding, dilation, ceil_mode)
    out = x.new_empty((*x.shape[:-2], height, width))
    T, planes = x.shape[0], x.numel() // max(1, x.shape[0] * x.shape[-2] * x.shape[-1])
    sizes = [T, planes, x.shape[-2], x.shape[-1], height, width]
    if out.numel():
        window = kernel_size, stride, padding, dilation
        addresses = x.data_ptr(), out.data_ptr()
        device.load().lateral_pool2d(DTYPES[x.dtype], sizes, *window, scale, *addresses, *device.where(x))  # type: ignore[union-attr]
    return out
