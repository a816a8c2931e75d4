"""Packed spikes: how the kernels of pack_kernels.py are launched."""

from typing import Any

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.triton.device import ACCESS, on_device, options, threads

WORDS = {4: torch.int32, 2: torch.int16}


def _launch(kernel: Any, each: int, x: Tensor, *arguments: Any) -> None:
    """each: values of a thread."""
    block = each * threads()
    if x.numel():
        grid = (-(-x.numel() // block),)
        with on_device(x):
            kernel[grid](*arguments, x.numel(), BLOCK=block, **options())


def _numbers(scale: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """scale and 1 / scale in float32, and the bits of one spike, on the host."""
    number = torch.tensor([scale], dtype=torch.float32)
    return number, number.reciprocal(), number.to(x.dtype).view(WORDS[x.element_size()])


def pack_spikes(x: Tensor, kind: str, scale: float, check: bool) -> Tensor | None:
    """Counts of x [n] as bits or bytes (see functional.pack_spikes); None: x holds something else."""
    from snnkern.backends.triton import pack_kernels as kernels

    n, dtype = x.numel(), torch.int8 if kind == 'signed' else torch.uint8
    data = layout.new_like(x.new_empty(1), -(-n // 8) if kind == 'bits' else n, dtype)
    invalid = x.new_zeros(1, dtype=torch.int32) if check else None
    number, inverse, one = _numbers(scale, x)
    if kind == 'bits':
        _launch(kernels.pack_bits, 8, x, x.view(one.dtype), data, invalid, one.item())
    else:
        each = ACCESS // x.element_size()  # by one access: a second one beside it would share its sectors
        low = -128.0 if kind == 'signed' else 0.0
        _launch(kernels.pack_counts, each, x, x, data, invalid, number.item(), inverse.item(), low)
    return None if invalid is not None and invalid.item() else data


def unpack_spikes(data: Tensor, kind: str, scale: float, n: int, dtype: torch.dtype) -> Tensor:
    """The n values that were packed."""
    from snnkern.backends.triton import pack_kernels as kernels

    x = layout.new_like(data.new_empty(1), n, dtype)
    number, _, one = _numbers(scale, x)
    if kind == 'bits':
        _launch(kernels.unpack_bits, 8, x, data, x.view(one.dtype), one.item())
    else:
        _launch(kernels.unpack_counts, 8, x, data, x, number.item())
    return x
