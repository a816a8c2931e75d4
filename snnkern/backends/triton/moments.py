"""Mean and variance by channel for Triton (kernels.py)."""

import math

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.triton.device import ACCESS, on_device, options, threads
from snnkern.backends.triton.multistep import short

VALUES = 16  # that a thread loads at once, as float32 one register each


def moments(x: Tensor, channel_dim: int) -> Tensor:
    """[2, C] in float64: mean and (biased) variance of x [T, ...] by channel."""
    T, each = x.shape[0], layout.new_like(x, 2, torch.float32)
    if x.numel():
        from snnkern.backends.triton.kernels import moments as kernel

        N = x.numel() // T
        vector = math.gcd(N, ACCESS // x.element_size())
        block = threads() * vector
        with on_device(x):
            kernel[(-(-N // block),)](
                x,
                each,
                N // vector,
                T,
                GROUP=short(T, VALUES * x.element_size() // ACCESS),
                VECTOR=vector,
                BLOCK=block,
                **options(),
            )
    return layout.channel_moments(each, T, channel_dim)
