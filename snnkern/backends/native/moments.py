"""Mean and variance by channel: arguments as csrc/kernels/moments.h wants them."""

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.native.device import DEVICES, DTYPES


def adds_lines(x: Tensor) -> bool:
    """Whether `add_line` runs there: where arithmetic, not memory, bounds backward."""
    return hasattr(DEVICES[x.device.type].load(), 'add_line') and x.dtype == torch.float32


def add_line(to: Tensor, x: Tensor, line: Tensor, channel_dim: int) -> None:
    """to += line[0] * x + line[1] in place, line: [2, C]; to [T, ...] in the layout of x."""
    device, channels = DEVICES[x.device.type], x.shape[channel_dim]
    if n := x.numel() // x.shape[0]:
        size = x.shape[0], n, channels, x.stride(channel_dim) if channels > 1 else n
        device.load().add_line(*size, x.data_ptr(), line.data_ptr(), to.data_ptr(), *device.where(x))  # type: ignore[union-attr]


def moments(x: Tensor, channel_dim: int) -> Tensor:
    """[2, C] in float64: mean and (biased) variance of x [T, ...] by channel."""
    device, channels = DEVICES[x.device.type], x.shape[channel_dim]
    n = x.numel() // x.shape[0]
    if device.partial:
        out = device.new(x, 2, torch.float32)
    else:
        out = torch.zeros(2, channels, dtype=torch.float64, device=x.device)
    if n:
        size = DTYPES[x.dtype], x.shape[0], n, channels, x.stride(channel_dim) if channels > 1 else n
        device.load().moments(*size, x.data_ptr(), out.data_ptr(), *device.where(x))  # type: ignore[union-attr]
    if device.partial:
        return layout.channel_moments(out, x.shape[0], channel_dim)
    return out
