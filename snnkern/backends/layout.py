"""Memory layouts: kernels see every tensor as rows [T, N] of one dense block of neurons.

Any layout of x will do in which time is outermost and one step is dense (contiguous, channels-last, any other
permutation); everything else is copied once. All other tensors of a call are brought to the layout of x.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def rows(x: Tensor) -> Tensor:
    """x itself if it is [T, N] in memory, else a contiguous copy."""
    x = x.resolve_neg()
    if x.is_contiguous():
        return x
    step = x.numel() // x.shape[0]
    outermost = x.shape[0] == 1 or x.stride(0) == step
    return x if outermost and dense(x.shape[1:], x.stride()[1:]) else x.contiguous()


def dense(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether these strides visit every place of a block exactly once."""
    expected = 1
    for stride, size in sorted((b, a) for a, b in zip(sizes, strides, strict=True) if a != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def strides_of(x: Tensor) -> tuple[int, ...]:
    """The strides of a tensor that holds any number of steps in the layout of x."""
    return (x.numel() // x.shape[0], *x.stride()[1:])


def new_like(x: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor of `steps` steps in the layout of x."""
    if dtype is None and steps == x.shape[0]:
        return torch.empty_like(x)
    size = (steps, *x.shape[1:])
    return torch.empty_strided(size, strides_of(x), dtype=dtype or x.dtype, device=x.device)


def like(t: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """t in the layout of x and of this dtype: itself where it is already."""
    t = t.resolve_neg()
    if t.dtype == dtype and t.shape == x.shape and t.stride() == x.stride():
        return t
    if t.dtype == dtype and t.shape[1:] == x.shape[1:] and t.stride()[1:] == x.stride()[1:]:
        if t.shape[0] == 1 or t.stride(0) == t.numel() // t.shape[0]:
            return t
    return new_like(x, t.shape[0], dtype).copy_(t)


def ordered(x: Tensor) -> Tensor:
    """x [B, ...] itself if its elements lie in order or channels last, else a contiguous copy."""
    x = x.resolve_neg()
    return x if _channels_last(x) else x.contiguous()


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.dim() > 2 and x.movedim(1, -1).is_contiguous()


def order(x: Tensor) -> tuple[int, int]:
    """(channels, inner) of what `ordered` returns: in memory it is [..., inner, channels]; (1, 1) if in order."""
    return (x.shape[1], x[0, 0].numel()) if _channels_last(x) else (1, 1)


def channel_sums(partial: Tensor, coefficients: Tensor, channel_dim: int) -> Tensor:
    """Sums [P, 1|T, 1|C] over neurons of partial sums [P * (1|T), ...] in the layout of x, in float64."""
    P, steps, C = coefficients.shape
    rows = partial.unflatten(0, (P, steps))
    # x's dimension d is dimension d of [1|T, ...]
    others = [d for d in range(1, rows.dim() - 1) if C == 1 or d != channel_dim]
    # Row by row: a sum in another dtype copies what it sums.
    sums = [row.sum(others, dtype=torch.float64) if others else row.double() for row in rows]
    return torch.stack(sums).reshape(P, steps, C).to(coefficients.dtype)


def channel_moments(each: Tensor, T: int, channel_dim: int) -> Tensor:
    """Mean and variance [2, C] in float64 of those [2, ...] that T steps of each neuron have (its mean, and its sum of
    squared deviations from that)."""
    mean, deviation = each.double()
    others = [d for d in range(mean.dim()) if d != channel_dim - 1]
    spread, middle = torch.var_mean(mean, others, correction=0)
    return torch.stack([middle, spread + deviation.mean(others) / T])


def planes(x: Tensor) -> Tensor:
    """x [T, ..., C, H, W] itself if it is contiguous or channels-last with time outermost, else a contiguous copy."""
    x = x.resolve_neg()
    return x if x.is_contiguous() or x.movedim(-3, -1).is_contiguous() else x.contiguous()


def channels_last(x: Tensor) -> bool:
    """Which of the two layouts that `planes` leaves x is in."""
    return not x.is_contiguous()


def pooled(x: Tensor, height: int, width: int) -> Tensor:
    """An empty step [1, ..., C, height, width] in the layout of x, one of those two: what results are `new_like`."""
    if not channels_last(x):
        return x.new_empty((1, *x.shape[1:-2], height, width))
    return x.new_empty((1, *x.shape[1:-3], height, width, x.shape[-3])).movedim(-1, -3)
