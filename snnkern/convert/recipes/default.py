"""The default: the signed burst neuron with memory, at the largest threshold that is precise enough."""

import math

import torch
from torch import Tensor

from snnkern._checks import positive, whole
from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import Choice, Recipe, Site, signed

SMALLEST = 64  # theta is at least the largest activation by this
HALVINGS = 7
WORTH = 0.9  # of the squared error: a bias that takes off less is mostly chance


def default(tolerance: float = 0.1, max_spikes: int = 15, correct: bool = True) -> Recipe:
    """Signed burst neurons with memory from v0 = theta / 2, lateral pools, theta and burst limit for the asked T.

    Layer by layer, with the spikes that the layers before really emit: theta is the largest threshold (so, the fewest
    spikes) at which the mean of T steps of the neuron lies within tolerance / sqrt(L) of the activation of its mean
    input, as the relative root mean square; L is the number of neuron layers, since independent errors add in squares.
    The burst limit lets the largest activation of calibration through at every step, up to max_spikes: what is cut off
    would stay an error at any T. Then a bias per channel takes off the mean error against the original activation,
    where that is a tenth of the squared error or more on inputs that it was not computed from; it is right for the
    asked T, and an error of its size stays at others.

    tolerance: > 0, the relative error allowed at the output; less costs spikes. max_spikes: most spikes of a step.
    correct: whether to add the biases. Sources: neuron and criterion, this library (docs/conversion.md); v0, Bu et
    al., AAAI 2022 (arXiv 2202.01440); bias, Li et al., ICML 2021 (arXiv 2106.06984).
    Example: `convert(net, x, recipe=default(tolerance=0.2), timesteps=4)`.
    """
    positive('tolerance', tolerance)
    whole('max_spikes', max_spikes)

    def choose(site: Site) -> Choice:
        return signed(site, float(site.sketch.quantile(0.99)), max_spikes)

    def tune(layer: Spiking, x: Tensor, target: Tensor, site: Site) -> None:
        search = Search(layer, x, site)
        theta = search.theta(tolerance / math.sqrt(site.count), max_spikes)
        search.use(theta, min(max_spikes, math.ceil(site.sketch.top / theta)))
        if correct:
            correct_bias(layer, x, target, site)

    return Recipe('default', choose, tune)


class Search:
    """Tries neurons on a layer's real input."""

    def __init__(self, layer: Spiking, x: Tensor, site: Site) -> None:
        self.layer, self.x, self.site = layer, x, site
        self.wanted = site.activation(x if layer.constant_input else layer.unfold(x).mean(0))
        self.scale = self.wanted.float().norm().clamp_min(1e-12)

    def use(self, theta: float, max_spikes: int) -> None:
        """Make the layer's neuron this one."""
        choice = signed(self.site, theta, max_spikes)
        self.layer.set(choice.neuron, choice.coefficients, choice.v0)

    def error(self, theta: float, max_spikes: int) -> float:
        """The relative error of the mean output."""
        self.use(theta, max_spikes)
        return ((mean_output(self.layer, self.x) - self.wanted).float().norm() / self.scale).item()

    def theta(self, tolerance: float, max_spikes: int) -> float:
        """The largest threshold within the tolerance; the best one if none is. By halving on a logarithmic scale."""
        high = self.site.sketch.top
        low = high / SMALLEST
        tried: dict[float, float] = {}
        for _ in range(HALVINGS):
            middle = math.sqrt(low * high)
            tried[middle] = self.error(middle, max_spikes)
            # Left of its minimum the error grows again: values above max_spikes * theta cannot be emitted.
            rising = any(t > middle and e < tried[middle] for t, e in tried.items())
            low, high = (middle, high) if tried[middle] <= tolerance or rising else (low, middle)
        good = [t for t, e in tried.items() if e <= tolerance]
        return max(good) if good else min(tried, key=lambda t: tried[t])


def mean_output(layer: Spiking, x: Tensor) -> Tensor:
    """The mean output [B, ...] of a layer over all its steps, from a fresh start."""
    layer.reset()
    out = layer.unfold(layer(x)).mean(0)
    layer.reset()
    return out


def correct_bias(layer: Spiking, x: Tensor, target: Tensor, site: Site) -> None:
    """Add a bias per channel against the mean error to the activation, if it helps where it was not computed.

    Half of the inputs give the bias, the other half judge it.
    """
    half = len(target) // 2
    if half == 0 or target.dim() in (1, 3):  # no channels, or tokens in their place
        return
    output = mean_output(layer, x)
    before = (output - target)[half:].float().square().mean()
    bias = channel_mean((target - output)[:half])
    neuron, coefficients, v0 = layer.neuron, layer.coefficients, layer.get_buffer('v0')
    add_bias(layer, bias)
    after = (mean_output(layer, x) - target)[half:].float().square().mean()
    if not after < WORTH * before:
        layer.set(neuron, coefficients, v0)


def add_bias(layer: Spiking, bias: Tensor) -> None:
    """Let a layer's neuron charge by so much more, [C], at every step."""
    old = layer.coefficients.get('c', torch.zeros_like(bias))
    layer.set(layer.neuron, {**layer.coefficients, 'c': old + bias}, layer.get_buffer('v0'))


def channel_mean(y: Tensor) -> Tensor:
    """[B, C, ...] as [C]."""
    return y.float().transpose(0, 1).flatten(1).mean(1)
