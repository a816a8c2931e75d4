"""Mean and variance by channel: arguments as csrc/kernels/moments.h wants them."""

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.native.device import DEVICES, DTYPES


def adds_lines(x: Tensor) -> bool:
    """Whether `add_line` runs there: where arithmetic, not memory, bounds backward."""
    return hasattr(DEVICES[x.device.type].load(), 'add_line') and x.dtype == torch.float32


def _channels(x: Tensor, channel_dim: int) -> tuple[int, int]:
    """How many there are, and how many neurons stand in a row of one."""
    channels = x.shape[channel_dim]
    return channels, x.stride(channel_dim) if channels > 1 else x.numel() // x.shape[0]


def add_line(to: Tensor, x: Tensor, line: Tensor, channel_dim: int) -> None:
    """to += line[0] * x + line[1] in place, line: [2, C]; to [T, ...] in the layout of x."""
    device = DEVICES[x.device.type]
    if n := x.numel() // x.shape[0]:
        data = x.shape[0], n, x.data_ptr(), line.data_ptr(), to.data_ptr()
        device.load().add_line(*data, *_channels(x, channel_dim), *device.where(x))  # type: ignore[union-attr]


def moments(x: Tensor, channel_dim: int) -> Tensor:
    """[2, C] in float64: mean and (biased) variance of x [T, ...] by channel."""
    device, n = DEVICES[x.device.type], x.numel() // x.shape[0]
    if device.partial:
        out = device.new(x, 2, torch.float32)
    else:
        out = torch.zeros(2, x.shape[channel_dim], dtype=torch.float64, device=x.device)
    if n:
        data = DTYPES[x.dtype], x.shape[0], n, x.data_ptr(), out.data_ptr()
        device.load().moments(*data, *_channels(x, channel_dim), *device.where(x))  # type: ignore[union-attr]
    if device.partial:
        return layout.channel_moments(out, x.shape[0], channel_dim)
    return out
