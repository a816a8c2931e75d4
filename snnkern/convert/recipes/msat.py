"""Multi-stage adaptive threshold: a threshold that follows a neuron's potential and its input."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern._checks import finite, positive, whole
from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import Choice, Recipe, Site, burst, only_relu


class AdaptiveThreshold(Spiking):
    """IF neurons whose threshold changes by neuron and step; a spike is worth the threshold of its step.

    Arguments: see `msat`. State: potential, sum of the potentials after each step, steps.
    """

    integral = False
    loops = True

    def run(self, x: Tensor, state: Any, constant: bool) -> tuple[Tensor, Any]:
        first = (x if constant else x[0]).float()
        scale = self.broad(self.v_threshold, first)
        v, total, t = state or (self.start(first) / scale, torch.zeros_like(first), 0)
        out = []
        for i in range(self.T):
            current = first / scale if constant else x[i].float() / scale
            theta = self.threshold(v, total / max(t, 1), current) if t else torch.ones_like(v)
            v = v + current
            s = (v / theta).floor().clamp(0, self.max_spikes) * theta
            v = v - s
            total, t = total + v, t + 1
            out.append(s * scale)
        return torch.stack(out).to(x.dtype), (v, total, t)

    def threshold(self, v: Tensor, mean: Tensor, x: Tensor) -> Tensor:
        """Thresholds in (0, 1), from the last potential, its mean so far, and the input of this step."""
        o = self.options
        above = v - mean
        softplus = F.softplus(above / o['ki'])
        potential = o['tau_mp'] * (o['alpha'] * above + o['v_t'] + o['ka'] * softplus)
        rising = o['tau_rd'] * torch.exp(-x / o['c'])
        return torch.sigmoid(potential + rising).clamp_min(torch.finfo(v.dtype).tiny)


def msat(
    alpha: float = 0.5,
    ka: float = 0.5,
    ki: float = 1.0,
    c: float = 1.0,
    tau_mp: float = 1.0,
    tau_rd: float = 1.0,
    v_t: float = -1.0,
    percentile: float = 1.0,
    max_spikes: int = 1,
) -> Recipe:
    """IF neurons with an adaptive threshold, high for a potential above its mean, low for strong input.

    In units of the scale, with v the potential after the step before, m its mean over all steps and x the input:
    theta_t = sigmoid(tau_rd * exp(-x / c) + tau_mp * (alpha * (v - m) + v_t + ka * ln(1 + exp((v - m) / ki)))), and 1
    at the first step; then v += x, s = clamp(floor(v / theta_t), 0, max_spikes), v -= s * theta_t, and s * theta_t
    goes out. Runs as a loop over steps (`loops` on the layer says so). Max-pools behind it read the mean over time,
    since its outputs are no multiples of one number.

    alpha, ka: gain of the linear and the soft part. ki, c: > 0, widths. tau_mp, tau_rd: weights of potential and
    input. v_t: offset. percentile: of activations, the scale. max_spikes: most of a step. The authors read the first
    six from a file that is not public; the defaults here are round numbers, tuned to nothing. The random dropping of
    early spikes (spike confidence) is left out. ReLU only. Source: He et al., 2023 (MSAT, arXiv 2303.13080).
    Example: `convert(net, x, recipe=msat(tau_rd=0.5), timesteps=32)`.
    """
    widths = {'ki': ki, 'c': c}
    gains = {'alpha': alpha, 'ka': ka, 'tau_mp': tau_mp, 'tau_rd': tau_rd, 'v_t': v_t}
    for name, value in widths.items():
        positive(name, value)
    for name, value in gains.items():
        finite(name, value)
    options: dict[str, Any] = widths | gains
    whole('max_spikes', max_spikes)

    def choose(site: Site) -> Choice:
        only_relu(site, 'msat')
        scale = float(site.sketch.quantile(percentile))
        return replace(burst(site, scale, max_spikes, v0=0.0), options=options)

    return Recipe('msat', choose, layer=AdaptiveThreshold)
