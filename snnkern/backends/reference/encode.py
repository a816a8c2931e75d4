"""The Poisson encoder in plain torch: Philox 4x32-10 in 64-bit integers."""

import torch
from torch import Tensor

from snnkern.backends import layout

LOW = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10


def philox(counter: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    """Four random words, int64 tensors of 32-bit numbers, of a counter of four and a key of 64 bits.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = seed & LOW, seed >> 32 & LOW
    for _ in range(ROUNDS):
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + KEY_STEPS[0] & LOW, k1 + KEY_STEPS[1] & LOW
    return c0, c1, c2, c3


def _product(a: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The halves of a 64-bit product, which int64 does not hold: from products by 16 bits of a."""
    below = (a & 0xFFFF) * m
    above = (a >> 16) * m + (below >> 16)
    return above >> 16, (above & 0xFFFF) << 16 | below & 0xFFFF


def poisson(x: Tensor, T: int, seed: int, first: int) -> Tensor:
    """Spikes [T, ...] with probability x, elements numbered from `first` (see encode.poisson)."""
    s = layout.new_like(x.unsqueeze(0), T)
    probability = x.to(torch.float32)
    element = torch.arange(x.numel(), device=x.device).view(x.shape) + first
    low, high, zero = element & LOW, element >> 32, torch.zeros_like(element)
    for t in range(0, T, 4):
        words = philox((low, high, torch.full_like(element, t // 4), zero), seed)
        for out, word in zip(s[t : t + 4], words, strict=False):
            out.copy_((word >> 8).to(torch.float32) * 2.0**-24 < probability)
    return s
