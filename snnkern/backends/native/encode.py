"""The encoders: arguments as csrc/kernels/encode.h wants them."""

from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.native.device import DEVICES, DTYPES


def poisson(x: Tensor, T: int, seed: int, first: int) -> Tensor:
    """Spikes [T, ...] with probability x, elements numbered from `first` (see encode.poisson)."""
    device = DEVICES[x.device.type]
    s = device.new(x.unsqueeze(0), T)
    if s.numel():
        data = DTYPES[x.dtype], T, x.numel(), seed, x.data_ptr(), s.data_ptr()
        device.load().poisson(*data, first, *layout.order(x), *device.where(x))  # type: ignore[union-attr]
    return s
