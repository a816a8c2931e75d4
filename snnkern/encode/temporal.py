"""Codes in which the step of a spike counts: latency, time to first spike, phase, burst. No gradient flows."""

import math

import torch
from torch import Tensor

from snnkern._checks import finite, positive, whole
from snnkern.encode._inputs import choice, intensity, steps

LATENCIES = ('linear', 'log', 'rc')


def latency(
    x: Tensor, T: int, code: str = 'linear', threshold: float | None = None, tau: float = 1.0, check: bool = True
) -> Tensor:
    """One spike (1) for each element, the earlier the larger it is.

    x: [...] in [0, 1]. T: steps. code: the step of the spike, rounded to the nearest, halves to even:

    | code | step | threshold (default) |
    |---|---|---|
    | linear | (T - 1) (1 - x) | smaller x never spike (0: all do) |
    | log | (T - 1) - ln(alpha x + 1), alpha = e^(T - 1) - 1 | smaller x never spike (0: all do) |
    | rc | tau ln(x / (x - threshold)), none at T or later | of the neuron; up to it x never spikes (0.01) |

    "rc" is the time at which a leaky neuron of time constant tau (in steps) with the constant input x reaches the
    threshold. check: see `poisson`.
    Returns [T, ...] in the dtype of x. Raises TypeError or ValueError for bad arguments.
    Source: SpikingJelly's LatencyEncoder (linear, log; threshold 0), snnTorch's spikegen.latency with clip=True
    (linear with normalize=True; rc with bypass=True). Example: `encode.latency(images, T=8)`.
    """
    wide = intensity(x, T, check)
    choice('code', code, LATENCIES)
    if threshold is None:
        threshold = 0.01 if code == 'rc' else 0.0
    finite('threshold', threshold)
    positive('tau', tau)
    if not (0 <= threshold < 1) or (code == 'rc' and threshold == 0):
        raise ValueError(f'threshold must lie in {"(0, 1)" if code == "rc" else "[0, 1)"}, got {threshold}')
    fires = wide >= threshold
    if code == 'linear':
        time = (T - 1) * (1 - wide)
    elif code == 'log':  # the formula of the table, without the overflow of alpha
        time = -(wide + (1 - wide) * math.exp(1 - T)).log()
    else:
        fires = wide > threshold
        time = tau * (wide / (wide - threshold)).log()
    if code != 'rc':
        time = time.clamp_max(T - 1)  # where x is 0 and e^(1 - T), too
    return (steps(T, wide) == time.round().where(fires, -1)).to(x.dtype)


def ttfs(x: Tensor, T: int, weighted: bool = True, check: bool = True) -> Tensor:
    """Time to first spike: one spike at step i = T - ceil(T x), worth 1 / (i + 1); none where x is 0.

    x: [...] in [0, 1]. T: steps. weighted: whether a spike is worth 1 / (i + 1), or 1. check: see `poisson`.
    Returns [T, ...] in the dtype of x. Raises TypeError or ValueError for bad arguments.
    Source: BrainCog's Encoder, "ttfs". Example: `encode.ttfs(images, T=8)`.
    """
    wide = intensity(x, T, check)
    step = steps(T, wide)
    spikes = step == T - (T * wide).ceil()
    return (spikes / (step + 1) if weighted else spikes).to(x.dtype)


def phase(x: Tensor, T: int, bits: int = 8, first: float | None = 0.5, check: bool = True) -> Tensor:
    """Weighted phase coding: step t carries a bit of round((2^bits - 1) x), most significant first, again and again.

    x: [...] in [0, 1]; 1.0 has all bits set. T: steps. bits: the period, 1 to 16. first: what a spike of the first
    step of a period is worth, half of it in each step after; None: all are worth 1. With 0.5 the weights are 1/2,
    1/4, .. 1/256 (Kim et al.), with 1.0 they are 1, 1/2, .. 1/128 (BrainCog). check: see `poisson`.
    Returns [T, ...] in the dtype of x. The sum over a period is x, to half of the last bit:
    `phase(x, 8).sum(0) * 256 / 255 == (255 * x).round() / 255`.
    Raises TypeError or ValueError for bad arguments.
    Source: Kim et al., "Deep neural networks with weighted spikes", Neurocomputing 2018. BrainCog and SpikingJelly
    take the bits of 256 x, which has none for x = 1. Example: `encode.phase(images, T=8)`.
    """
    wide = intensity(x, T, check)
    whole('bits', bits, at_most=16)
    if first is not None:
        positive('first', first)
    number = ((2**bits - 1) * wide).round().to(torch.int32)
    period = steps(min(T, bits), number)
    spikes = (number >> (bits - 1 - period) & 1).to(x.dtype)
    if first is not None:
        spikes = spikes * (first * 0.5 ** period.to(wide.dtype)).to(x.dtype)
    return spikes if bits >= T else spikes[torch.arange(T, device=x.device) % bits]


def burst(
    x: Tensor, T: int, max_spikes: int = 5, t_min: int = 2, t_max: int | None = None, check: bool = True
) -> Tensor:
    """Burst coding: a larger x gives more spikes (1), closer together, from step 0 on.

    N = ceil(max_spikes x) spikes at the steps 0, I, 2 I, ... with the interval
    I = ceil(t_max - (t_max - t_min) x).

    x: [...] in [0, 1]. T: steps. max_spikes: for x = 1, at least 1. t_min, t_max: intervals of x = 1 and of x = 0;
    t_max None: the longest with which the last of max_spikes is within T, but at least t_min. Spikes at T or later
    are lost. check: see `poisson`.
    Returns [T, ...] in the dtype of x. Raises TypeError or ValueError for bad arguments, and if even the closest
    burst, (max_spikes - 1) t_min + 1 steps, does not fit into T.
    Source: Guo, Fouda, Eltawil, Salama, "Neural coding in spiking neural networks", Front. Neurosci. 15:638474
    (2021). Example: `encode.burst(images, T=16)`.
    """
    wide = intensity(x, T, check)
    whole('max_spikes', max_spikes)
    whole('t_min', t_min)
    if t_min * (max_spikes - 1) >= T:
        raise ValueError(f'T must be > (max_spikes - 1) * t_min = {t_min * (max_spikes - 1)}, got {T}')
    if t_max is None:
        t_max = max(t_min, (T - 1) // max(1, max_spikes - 1))
    whole('t_max', t_max, at_least=t_min)
    count = (max_spikes * wide).ceil()
    interval = (t_max - (t_max - t_min) * wide).ceil()
    step = steps(T, wide)
    number = (step / interval).floor()
    return ((step == number * interval) & (number < count)).to(x.dtype)
