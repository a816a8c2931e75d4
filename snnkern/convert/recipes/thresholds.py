"""Recipes whose thresholds are a statistic of the activations: a percentile or the least squared error."""

import torch
from torch import Tensor

from snnkern._checks import finite, whole
from snnkern.convert.recipe import Choice, Recipe, Site, burst
from snnkern.convert.sketch import Sketch

CANDIDATES = 1 - 0.01 * torch.arange(95, dtype=torch.float64)  # shares of the largest activation


def share(name: str, value: float) -> None:
    """Raise unless `value` is in (0, 1]."""
    finite(name, value)
    if not 0 < value <= 1:
        raise ValueError(f'{name} must be in (0, 1], got {value}')


def plain_if(percentile: float = 0.999) -> Recipe:
    """The plain integrate-and-fire neuron of the first conversions: one spike a step at most, v0 = 0, soft reset.

    percentile: in (0, 1], of a layer's activations, which is theta; 1 is the largest activation (Diehl), 0.999 the
    robust one (Rueckauer). Pools by lateral inhibition. Many steps are needed: v0 = 0 rounds every activation down.
    Raises ValueError for another percentile. Sources: Diehl et al., IJCNN 2015; Rueckauer et al., Front. Neurosci.
    2017. Example: `convert(net, x, recipe=plain_if(1.0), timesteps=64)`.
    """
    return percentiles('plain_if', percentile, 1, 0.0)


def layerwise(percentile: float = 0.999, max_spikes: int = 1, v0: float = 0.5) -> Recipe:
    """One threshold a layer: a percentile of its activations.

    percentile: in (0, 1]. max_spikes: >= 1, most spikes of a step. v0: the potential before the first step as a
    share of theta; 0.5 rounds activations to the nearest multiple of theta / T. Raises ValueError for bad numbers.
    Sources: Rueckauer et al., Front. Neurosci. 2017; v0, Bu et al., AAAI 2022 (arXiv 2202.01440).
    Example: `convert(net, x, recipe=layerwise(0.95, max_spikes=15))`.
    """
    return percentiles('layerwise', percentile, max_spikes, v0)


def channelwise(percentile: float = 0.999, max_spikes: int = 1, v0: float = 0.5) -> Recipe:
    """One threshold a channel: a percentile of its activations, so that weak channels fire as often as strong ones.

    Arguments and errors as for `layerwise`. Channels that were silent in calibration get the layer's largest
    threshold. Behind a Linear every feature is a channel. Source: Kim et al., AAAI 2020 (arXiv 1903.06530).
    Example: `convert(net, x, recipe=channelwise(max_spikes=5))`.
    """
    return percentiles('channelwise', percentile, max_spikes, v0, channels=True)


def spiking_yolo(percentile: float = 0.999) -> Recipe:
    """Spiking-YOLO: channel-wise thresholds, plain IF from v0 = 0, an imbalanced threshold for LeakyReLU.

    A leaky ReLU of slope a becomes a neuron that fires +1 at u >= theta and -1 at u <= -theta / a, and takes off or
    adds back as much (IBT); theta is a percentile of |activation|. A ReLU becomes a plain IF neuron. The last layer
    has no neuron: its mean input is the output. Pools by lateral inhibition, where the gate of the original
    overestimates. Small negative values are slow: about theta / (a * |x|) steps pass before the first such spike.

    percentile: in (0, 1]. Raises ValueError for another. Source: Kim et al., AAAI 2020 (arXiv 1903.06530).
    Example: `convert(tiny_yolo, images, recipe='spiking_yolo', timesteps=256)`.
    """
    return percentiles('spiking_yolo', percentile, 1, 0.0, channels=True)


def mse(max_spikes: int = 1, v0: float = 0.5, channels: bool = False) -> Recipe:
    """Thresholds of least squared error: of what T steps make of the calibration's activations.

    theta is the one of max * (1 - 0.01 i), i < 95, for which rounding to multiples of theta / T, up to max_spikes *
    theta, has the least mean squared error; T is the `timesteps` asked for. The rounding is floor(x + theta / (2 T)),
    what v0 = theta / 2 makes of a constant input.

    max_spikes: >= 1, most spikes of a step. v0: the potential before the first step, in thetas. channels: one theta
    per channel. Raises ValueError for bad numbers. Source: Li et al., ICML 2021 (arXiv 2106.06984).
    Example: `convert(net, x, recipe=mse(max_spikes=4), timesteps=4)`.
    """
    _numbers(max_spikes, v0)

    def choose(site: Site) -> Choice:
        return burst(site, best(site.sketch, site.timesteps, max_spikes), max_spikes, v0)

    return Recipe('mse', choose, channels=channels)


def best(sketch: Sketch, steps: int, max_spikes: int) -> Tensor:
    """The threshold of least squared error, [1] or [C]; 0 where all is silent."""
    assert sketch.highest is not None
    highest = sketch.highest.cpu().double() if sketch.channels else torch.tensor([sketch.top], dtype=torch.float64)
    grid = CANDIDATES.unsqueeze(1) * torch.where(highest > 0, highest, 1.0)
    at = sketch.error(grid, steps, max_spikes).argmin(0, keepdim=True)
    theta = torch.where(highest > 0, grid.gather(0, at).squeeze(0), 0.0)
    return theta.float().to(sketch.highest.device)


def percentiles(
    name: str,
    percentile: float,
    max_spikes: int,
    v0: float,
    channels: bool = False,
    gated: bool = False,
    act_shrink: float = 1.0,
) -> Recipe:
    """A recipe of unsigned burst neurons at a percentile, one theta a layer or a channel.

    act_shrink: >= 1, activations above 1 are divided by it before the percentile.
    """
    share('percentile', percentile)
    _numbers(max_spikes, v0)
    shrinks('act_shrink', act_shrink)

    def choose(site: Site) -> Choice:
        return burst(site, site.sketch.quantile(percentile, act_shrink), max_spikes, v0)

    return Recipe(name, choose, channels=channels, gated=gated)


def shrinks(name: str, value: float) -> None:
    """Raise unless `value` is a number >= 1."""
    finite(name, value)
    if value < 1:
        raise ValueError(f'{name} must be >= 1, got {value}')


def _numbers(max_spikes: int, v0: float) -> None:
    whole('max_spikes', max_spikes)
    finite('v0', v0)
