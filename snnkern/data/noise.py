"""Noise on images, to see how a network that never met it stands it."""

import torch
from torch import Tensor

LEVEL = 0.01  # variance of one level


def gaussian(x: Tensor, draw: torch.Generator, level: float = 6.0) -> Tensor:
    """Images with normal noise, clipped to 0..1; x itself is not changed.

    x: float [B, C, H, W] in 0..1. draw: where the noise comes from, one generator for each sample where it shall not
    depend on the batch (`samples.generator(seed, number)`). level: 100 times the variance, in squared units of x:
    level 6 is a deviation of 0.245.

    Raises ValueError for a level below 0. Source: the robustness test of Wu et al., Nat. Commun. 13:65 (2022), whose
    levels 0 to 6 these are. Example: `gaussian(image, generator(0, 17), level=6)`.
    """
    if not 0 <= level < float('inf'):
        raise ValueError(f'level: expected a number >= 0, got {level!r}')
    noise = torch.randn(x.shape, generator=draw, dtype=x.dtype)
    return (x + noise * (LEVEL * level) ** 0.5).clamp(0, 1)
