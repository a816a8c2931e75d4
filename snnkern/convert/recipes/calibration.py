"""Layer-wise calibration without training: thresholds of least error, then biases or initial potentials."""

from dataclasses import replace

from torch import Tensor

from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import Recipe, Site
from snnkern.convert.recipes.default import add_bias, channel_mean, mean_output
from snnkern.convert.recipes.thresholds import mse

MODES = ('light', 'potential')


def calibration(mode: str = 'light', max_spikes: int = 1, channels: bool = False) -> Recipe:
    """Thresholds of least squared error (`mse`), then, layer by layer, what takes off the mean error of T steps.

    With the spikes that the corrected layers before really emit. "light" adds to each channel's bias
    mean(ANN) - mean(SNN), over inputs and places. "potential" adds T * (mean(ANN) - mean(SNN)), over inputs, to the
    initial potential theta / 2 of each neuron; it holds for about T steps, and inputs must keep their size. T is the
    `timesteps` asked for, means are over outputs.

    mode: "light" or "potential". max_spikes: >= 1, most spikes of a step; 1 as published. channels: one theta per
    channel. Raises ValueError for another mode and bad numbers. Source: Li et al., ICML 2021 (arXiv 2106.06984); its
    "advanced" mode trains weights and is not offered. Example: `convert(net, x, recipe=calibration('potential'))`.
    """
    if mode not in MODES:
        raise ValueError(f'mode must be one of {", ".join(MODES)}, got {mode!r}')
    return replace(mse(max_spikes, 0.5, channels), name='calibration', tune=light if mode == 'light' else potential)


def light(layer: Spiking, x: Tensor, target: Tensor, site: Site) -> None:
    """Add the mean error of each channel to its bias."""
    add_bias(layer, channel_mean(target - mean_output(layer, x)))


def potential(layer: Spiking, x: Tensor, target: Tensor, site: Site) -> None:
    """Add T times the mean error of each neuron to its initial potential."""
    missing = (target - mean_output(layer, x)).float().mean(0)
    layer.set(layer.neuron, layer.coefficients, layer.start(target)[0] + layer.T * missing)
