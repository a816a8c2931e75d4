"""Spike calibration: negative spikes where a neuron has been silent for longer than it used to be."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnkern._checks import finite, whole
from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import Choice, Recipe, Site, burst, only_relu


class Calibrated(Spiking):
    """Burst neurons (fused) whose spikes a loop over steps calibrates, with state per neuron.

    allowance: > 0, steps of silence beyond the average interval after which a spike is taken back.
    """

    loops = True

    def run(self, x: Tensor, state: Any, constant: bool) -> tuple[Tensor, Any]:
        v, t, last, average, count, total = state or (None, 0, *[0.0] * 4)
        s, v = super().run(x, v, constant)
        theta = self.broad(self.v_threshold, v)
        k = (s.float() / theta).round_()
        for i in range(len(k)):
            fired = k[i] > 0
            count = count + fired
            average = torch.where(fired, (t - last + average * (count - 1)) / count, average)
            last = torch.where(fired, float(t), last)
            k[i] -= (t - last > average + self.options['allowance']).float()
            total = total + k[i]
            k[i].masked_fill_(total <= -1, 0.0)
            t += 1
        return (k * theta).to(s.dtype), (v, t, last, average, count, total)


def spicalib(allowance: float = 3.0, percentile: float = 0.99, max_spikes: int = 5, v0: float = 0.0) -> Recipe:
    """Burst neurons with spike calibration: what a neuron emitted before it fell silent is taken back, step by step.

    Each neuron keeps the time of its last spike and its average interval between spikes. Where the silence is longer
    than the average by more than `allowance`, it emits one spike less (-1) at that step; an output that lets the sum
    (of outputs before this rule) reach -1 is 0. The calibration depends on the spikes themselves and runs as a loop
    over steps (`loops` on the layer says so); the neurons before it are fused.

    allowance: >= 0, in steps; 0 calibrates nothing. percentile: of activations, theta. max_spikes: most of a step.
    v0: in units of theta. ReLU only. The allowance has no published default, 3 is tuned to nothing; theta and spikes
    are those of the burst neurons that it was published with. Source: Li et al., 2022 (arXiv 2207.02702), by
    BrainCog's SpiCalib, equal spike for spike. Example: `convert(net, x, spicalib(allowance=5), timesteps=32)`.
    """
    finite('allowance', allowance)
    if allowance < 0:
        raise ValueError(f'allowance must be >= 0, got {allowance}')
    whole('max_spikes', max_spikes)

    def choose(site: Site) -> Choice:
        only_relu(site, 'spicalib')
        choice = burst(site, float(site.sketch.quantile(percentile)), max_spikes, v0)
        return replace(choice, options={'allowance': allowance}) if allowance else choice

    return Recipe('spicalib', choose, layer=Calibrated if allowance else Spiking)
