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

from snnkern.backends import checkpoint_count, checkpoint_interval, layout
from snnkern.neurons import Neuron

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
LARGE = 1 << 20  # bytes from which page faults make a recycled block worth 5 us


@dataclass(frozen=True)
class Device:
    """Where kernels run. load: the extension module, or the reason why there is none; where: the last arguments
    of each call (CPU: number of threads; CUDA: device index and stream); new: allocates like `layout.new_like`.
    """

    load: Callable[[], ModuleType | str]
    where: Callable[[Tensor], tuple[int, ...]]
    new: Callable[..., Tensor] = layout.new_like


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
    'cuda': Device(_cuda, _stream),
}


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why these kernels cannot run an op there, or None."""
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


def _common(x: Tensor, state: Tensor | None, checkpoints: Tensor | None, spec: str, T: int) -> tuple[Any, ...]:
    """The arguments that both directions begin with (MultistepArgs in csrc/kernels/multistep.h)."""
    n, constant = x.numel() // x.shape[0], x.shape[0] != T
    interval = checkpoint_interval(x.dtype)
    shape = DTYPES[x.dtype], T, n, interval, constant
    return Neuron.parse(spec).packed, *shape, x.data_ptr(), _at(state), _at(checkpoints)


def multistep_fwd(
    x: Tensor, state: Tensor | None, spec: str, T: int, save: bool, want_state: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Spikes, last state or None, checkpoints or None (see the table in backends/__init__.py)."""
    device = DEVICES[x.device.type]
    s = device.new(x, T)
    last = device.new(x, 1, torch.float32) if want_state else None
    kept = checkpoint_count(T, x.dtype)
    checkpoints = device.new(x, kept, torch.float32) if save and kept else None
    if s.numel():
        common = _common(x, state, checkpoints, spec, T)
        device.load().multistep_fwd(*common, s.data_ptr(), _at(last), *device.where(x))  # type: ignore[union-attr]
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
    """Gradients of x and, if wanted, of the initial state."""
    device = DEVICES[x.device.type]
    grad_x = device.new(x, x.shape[0])
    grad_v0 = device.new(x, 1, torch.float32) if want_state else None
    if grad_s.numel():
        common = _common(x, state, checkpoints, spec, T)
        addresses = grad_s.data_ptr(), _at(grad_state), grad_x.data_ptr(), _at(grad_v0)
        device.load().multistep_bwd(*common, *addresses, *device.where(x))  # type: ignore[union-attr]
    return grad_x, grad_v0


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
