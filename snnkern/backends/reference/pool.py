"""The pools in plain torch."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern.charges import divide


class Round(torch.autograd.Function):
    """The nearest whole number, with the derivative of the identity: counts are whole anyway."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def lateral_pool2d(
    x: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    scale: float,
) -> Tensor:
    """The change of the window maximum of the cumulative spike counts (see functional.lateral_pool2d)."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    total = Round.apply(divide(wide, scale)).cumsum(0)
    planes = total.flatten(0, -3).unsqueeze(1)  # max_pool2d accepts none of these, but not none of channels
    top = F.max_pool2d(planes, kernel_size, stride, padding, dilation, ceil_mode)
    top = top.squeeze(1).unflatten(0, total.shape[:-2])
    return (torch.diff(top, dim=0, prepend=torch.zeros_like(top[:1])) * scale).to(x.dtype)
