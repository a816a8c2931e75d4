"""Packed spikes: arguments as csrc/kernels/pack.h wants them."""

import sys
from functools import lru_cache

import torch
from torch import Tensor

from snnkern.backends.native.device import DEVICES, DTYPES, at, frugal

KINDS = {'bits': 0, 'counts': 1, 'signed': 2}


@lru_cache(maxsize=256)
def _numbers(scale: float, dtype: torch.dtype) -> tuple[float, float, int]:
    """scale and 1 / scale in float32, and the bits of one spike."""
    number = torch.tensor([scale], dtype=torch.float32)
    one = number.to(dtype).view(torch.uint8).tolist()
    return number.item(), number.reciprocal().item(), int.from_bytes(one, sys.byteorder)


def pack_spikes(x: Tensor, kind: str, scale: float, check: bool) -> Tensor | None:
    """Counts of x [n] as bits or bytes (see functional.pack_spikes); None: x holds something else."""
    device, n = DEVICES[x.device.type], x.numel()
    size, dtype = (-(-n // 8) if kind == 'bits' else n), torch.int8 if kind == 'signed' else torch.uint8
    data = device.new(x.new_empty(1, dtype=dtype), size)
    invalid = x.new_zeros(1, dtype=torch.int32) if check else None
    if n:
        what = KINDS[kind], DTYPES[x.dtype], n, x.data_ptr(), data.data_ptr()
        device.load().pack_spikes(*what, *_numbers(scale, x.dtype), at(invalid), *device.where(x))  # type: ignore[union-attr]
    return None if invalid is not None and invalid.item() else data


def unpack_spikes(data: Tensor, kind: str, scale: float, n: int, dtype: torch.dtype) -> Tensor:
    """The n values that were packed."""
    device = DEVICES[data.device.type]
    with frugal():
        x = device.new(data.new_empty(1, dtype=dtype), n)
    if n:
        what = KINDS[kind], DTYPES[dtype], n, x.data_ptr(), data.data_ptr()
        device.load().unpack_spikes(*what, *_numbers(scale, dtype), 0, *device.where(x))  # type: ignore[union-attr]
    return x
