"""Where compiled kernels run: `_cpu` on CPU tensors, `_cuda` on CUDA tensors.

`DEVICES` maps a device type to the `Device` that runs there; tests put one with an emulated `_cuda` in its place.
"""

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from snnkern.backends import CUSTOM, layout
from snnkern.neurons import AXES

# What a module must have to run an op, if it is not its name.
FUNCTIONS = {'multistep': 'multistep_fwd', 'pool2d': 'pool_fwd'}
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
API = (1, 1)  # kApiVersion in csrc/bindings.h
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


def fitting(name: str) -> ModuleType:
    """The extension module of this name. Raises ImportError where there is none, RuntimeError where it was built from
    another version of csrc: to run it would be wrong, and to run something else would only be slow."""
    module = importlib.import_module(f'snnkern.{name}')
    found, rebuild = getattr(module, 'API_VERSION', None), 'rebuild it (`make build`, or install snnkern again)'
    if found != API:
        raise RuntimeError(f'snnkern.{name} must have API version {API}, got {found}: {rebuild}')
    for axis, kinds in AXES.items():
        known, wanted = getattr(module, f'{axis}s'.upper()), [kind.__name__ for kind in kinds]
        if known != wanted:
            raise RuntimeError(f'snnkern.{name} must know the {axis}s {wanted}, got {known}: {rebuild}')
    return module


@cache
def _cpu() -> ModuleType | str:
    try:
        module = fitting('_cpu')
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
        return fitting('_cuda')
    except ImportError as error:
        return f'snnkern._cuda does not load, was nvcc there at build time? ({error})'


class _Memory(threading.local):
    """How a thread wants its memory (csrc/kernels/blocks.h)."""

    thrifty = False


_memory = _Memory()


@contextmanager
def frugal() -> Iterator[None]:
    """Within, outputs on the CPU take whatever kept block is large enough, and blocks that do not fit are not kept
    beside new ones: less at once, more page faults."""
    before, _memory.thrifty = _memory.thrifty, True
    try:
        yield
    finally:
        _memory.thrifty = before


def _recycled(x: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
    """As layout.new_like; large ones from blocks that may be kept when their last tensor goes."""
    nbytes = x.numel() // x.shape[0] * steps * (dtype or x.dtype).itemsize
    if nbytes < LARGE:
        return layout.new_like(x, steps, dtype)
    module = _cpu()
    assert isinstance(module, ModuleType)
    block = torch.frombuffer(module.Block(nbytes, _memory.thrifty), dtype=dtype or x.dtype)
    return block.as_strided_((steps, *x.shape[1:]), layout.strides_of(x))  # in place: a tensor, not a view of one


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
    return None if hasattr(module, FUNCTIONS.get(op, op)) else f'no {op} kernel for {device.type}'


def notes() -> list[str]:
    """What `explain()` adds: the instruction set in use and the memory kept for reuse."""
    module = _cpu()
    if isinstance(module, str):
        return []
    sets = ', '.join(module.instruction_sets())
    kept, limit = module.kept_bytes() >> 20, module.keep_limit() >> 20
    return [f'native cpu: {module.instruction_set()} (of {sets}; SNNKERN_ISA forces one)',
            f'native cpu: {kept} MiB of output blocks kept for reuse, at most {limit} (SNNKERN_KEEP_MB)']  # fmt: skip


def at(t: Tensor | None) -> int:
    """The address of a tensor, 0 for none."""
    return 0 if t is None else t.data_ptr()
