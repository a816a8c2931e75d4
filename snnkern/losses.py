"""Losses of direct training, on outputs over time [T, B, K, ...]: spikes, or what the last layer gives at each step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern._checks import finite

__all__ = ['count_mse', 'cross_entropy', 'dice', 'one_hot_mse', 'rate_penalty', 'tet']


def _check(out: Tensor, y: Tensor) -> None:
    """Raise unless y [B, ...] holds a label for each place of out [T, B, K, ...]."""
    if not isinstance(out, Tensor) or out.dim() < 3 or len(out) == 0:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f'out must be [T, B, K, ...] with T >= 1, got {got}')
    places = (out.shape[1], *out.shape[3:])
    if not isinstance(y, Tensor) or y.shape != places or y.is_floating_point():
        given = f'{tuple(y.shape)} of {y.dtype}' if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f'y must hold labels {places} for out {tuple(out.shape)}, got {given}')


def cross_entropy(out: Tensor, y: Tensor, **options: Any) -> Tensor:
    """Cross entropy of the mean output over time, a scalar.

    out: [T, B, K, ...]. y: labels int64 [B, ...]. options: of torch.nn.functional.cross_entropy (label_smoothing,
    weight, ignore_index). Raises ValueError for shapes that do not fit.
    Example: `cross_entropy(net(x), y, label_smoothing=0.1)`.
    """
    _check(out, y)
    return F.cross_entropy(out.float().mean(0), y, **options)


def tet(out: Tensor, y: Tensor, lamb: float = 0.05, means: float = 1.0, **options: Any) -> Tensor:
    """Temporal efficient training: the mean of the cross entropies of all steps, a scalar.

    lamb: share of a term that draws all outputs to `means` (mean square distance). Others as in `cross_entropy`. Raises
    ValueError for shapes that do not fit or a lamb outside of [0, 1].
    Source: Deng et al., ICLR 2022, arXiv 2202.11946. Example: `tet(net(x), y)`.
    """
    _check(out, y)
    finite('means', means)
    if not 0 <= lamb <= 1:
        raise ValueError(f'lamb must be in [0, 1], got {lamb}')
    out = out.float()
    steps = F.cross_entropy(out.flatten(0, 1), y.repeat(len(out), *[1] * (y.dim() - 1)), **options)
    if lamb == 0:
        return steps
    return (1 - lamb) * steps + lamb * F.mse_loss(out, torch.full_like(out, means))


def count_mse(out: Tensor, y: Tensor, correct_rate: float = 0.8, incorrect_rate: float = 0.2) -> Tensor:
    """Mean square error of the spike counts, divided by T, a scalar.

    out: spikes [T, B, K]. y: labels int64 [B]. The class should spike int(correct_rate * T) times, the others
    int(incorrect_rate * T) times. Raises ValueError for shapes that do not fit or rates outside of [0, 1].
    Source: snnTorch's mse_count_loss. Example: `count_mse(net(x), y)`.
    """
    _check(out, y)
    for name, rate in (('correct_rate', correct_rate), ('incorrect_rate', incorrect_rate)):
        if not 0 <= rate <= 1:
            raise ValueError(f'{name} must be in [0, 1], got {rate}')
    T, count = len(out), out.float().sum(0)
    if int(T * correct_rate) == int(T * incorrect_rate):
        raise ValueError(f'out must have enough steps for the counts of class and others to differ, got T = {T}')
    wanted = torch.full_like(count, int(T * incorrect_rate)).scatter(1, y.unsqueeze(1), int(T * correct_rate))
    return F.mse_loss(count, wanted) / T


def one_hot_mse(out: Tensor, y: Tensor) -> Tensor:
    """Mean square error of the mean output over time from 1 for the class and 0 otherwise, a scalar.

    out: [T, B, K]. y: labels int64 [B]. Raises ValueError for shapes that do not fit.
    Source: Wu et al., Nat. Commun. 13:65 (2022). Example: `one_hot_mse(net(x), y)`.
    """
    _check(out, y)
    mean = out.float().mean(0)
    return F.mse_loss(mean, F.one_hot(y, mean.shape[1]).to(mean.dtype))


def dice(logits: Tensor, y: Tensor, ignore_index: int | None = None) -> Tensor:
    """1 - (2 sum(p y) + 1) / (sum p + sum y + 1) over the batch, p the softmax; the mean over classes, a scalar.

    logits: [B, K, ...]. y: labels int64 [B, ...]. ignore_index: a label of places that do not count. Raises ValueError
    for shapes that do not fit. Source: Milletari et al., V-Net, 3DV 2016. Example: `dice(net(x).mean(0), masks)`.
    """
    _check(logits.unsqueeze(0), y)
    p, K = logits.float().softmax(1), logits.shape[1]
    counted = torch.ones_like(y, dtype=torch.bool) if ignore_index is None else y != ignore_index
    true = F.one_hot(torch.where(counted, y, 0), K).movedim(-1, 1) * counted.unsqueeze(1)
    p = p * counted.unsqueeze(1)
    places = [0, *range(2, p.dim())]
    both, either = (p * true).sum(places), p.sum(places) + true.sum(places)
    return 1 - ((2 * both + 1) / (either + 1)).mean()


def rate_penalty(rates: Sequence[Tensor], target: float = 0.1) -> Tensor:
    """Mean square distance of firing rates from a target, a scalar.

    rates: the spikes a neuron and step of each layer, scalars with gradients (see `nn.Rates`). target: the rate that
    is wanted, 0.1. Raises ValueError without rates or for a negative target.
    Source: the activity regulariser of Zenke and Vogels, Neural Computation 33 (2021), of both sides.
    Example: `loss = cross_entropy(out, y) + 0.1 * rate_penalty(rates, 0.05)`.
    """
    if not rates:
        raise ValueError('rates must hold the rate of one layer at least, got none')
    if not target >= 0:
        raise ValueError(f'target must be >= 0, got {target}')
    return (torch.stack(list(rates)) - target).square().mean()
