"""Mean and variance by channel in plain torch."""

import torch
from torch import Tensor


def moments(x: Tensor, channel_dim: int) -> Tensor:
    """[2, C] in float64: mean and (biased) variance of x [T, ...] by channel; differentiable."""
    others = [d for d in range(x.dim()) if d != channel_dim]
    variance, mean = torch.var_mean(x.double(), others, correction=0)
    return torch.stack([mean, variance])
