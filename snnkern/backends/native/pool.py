"""The pools: arguments as csrc/kernels/pool.h wants them."""

from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.native.device import DEVICES, DTYPES

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
