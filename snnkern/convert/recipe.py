"""What a conversion recipe is: how neurons and thresholds are chosen, from statistics and from real inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from snnkern.charges import IF
from snnkern.convert.activations import Activation
from snnkern.convert.graph import ConversionError
from snnkern.convert.layers import Spiking
from snnkern.convert.sketch import Sketch
from snnkern.fires import Binary, Burst, Fire, Signed, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Soft


@dataclass
class Site:
    """One call of an activation, and what calibration saw of its outputs.

    name: of the layer that replaces it; was: the call in words; activation: what it computes; sketch: its outputs;
    timesteps: T asked for; count: how many sites the network has.
    """

    name: str
    was: str
    activation: Activation
    sketch: Sketch
    timesteps: int = 8
    count: int = 1


@dataclass(frozen=True)
class Choice:
    """A neuron for a site: what runs, its numbers that are tensors (one or per channel), v before the first step, and
    what the recipe's layer takes besides."""

    neuron: Neuron
    coefficients: dict[str, Tensor] = field(default_factory=dict)
    v0: Tensor | float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How to convert. `snnkern.convert.recipes` has functions that make them.

    name: for reports. choose: the neuron of a site, from its statistics. tune: None, or what may change a layer once
    those before it are what they will be: tune(layer, x, target, site), with the layer's input x (as it takes it) and
    the activation's output target [B, ...] for the same inputs. layer: the class that runs the neurons. channels:
    whether statistics are kept per channel. gated: pool by the gate and not by lateral inhibition. original_readout:
    apply analogue parts at every step. coding: "direct", the input is a constant current, or "poisson", it is spikes
    with probability x. prepare: None, or what may change the folded network and the sites' statistics
    before neurons are chosen; it returns the numbers that it took from statistics. again: prepare once more, with
    these numbers and without statistics: again(net, sites, numbers); `SNN.load` needs it of what prepares.
    """

    name: str
    choose: Callable[[Site], Choice]
    tune: Callable[[Spiking, Tensor, Tensor, Site], None] | None = None
    layer: type[Spiking] = Spiking
    channels: bool = False
    gated: bool = False
    original_readout: bool = False
    coding: str = 'direct'
    prepare: Callable[[fx.GraphModule, dict[fx.Node, Site]], dict[str, float]] | None = None
    again: Callable[[fx.GraphModule, dict[fx.Node, Site], dict[str, float]], None] | None = None


def threshold(site: Site, theta: Tensor | float) -> tuple[float, dict[str, Tensor]]:
    """theta as a number of the neuron, and as a tensor where it is one per channel. Silent channels get the largest.

    Raises ConversionError if nothing is positive.
    """
    values = torch.as_tensor(theta, dtype=torch.float32)
    top = values.max().item()
    if not 0 < top < float('inf'):
        raise ConversionError(f'{site.was} has no positive finite output in calibration (theta = {top})')
    if values.numel() == 1:
        return top, {}
    return top, {'v_threshold': torch.where(values > 0, values, top)}


def only_relu(site: Site, recipe: str) -> None:
    """Raise ValueError for an activation that is negative somewhere."""
    if site.activation.slope:
        raise ValueError(f'{site.was} is leaky, and recipe {recipe} has neurons for ReLU only')


def burst(site: Site, theta: Tensor | float, max_spikes: int, v0: float = 0.5) -> Choice:
    """The unsigned burst neuron at theta, one or per channel, that starts at v0 * theta; max_spikes = 1 is plain IF."""
    return _choice(site, theta, v0, max_spikes, Burst if max_spikes > 1 else Binary)


def signed(site: Site, theta: Tensor | float, max_spikes: int, v0: float = 0.5) -> Choice:
    """The signed burst neuron with memory; for a leaky activation, the one with an imbalanced threshold."""
    return _choice(site, theta, v0, max_spikes, SignedMemory)


def _choice(site: Site, theta: Tensor | float, v0: float, max_spikes: int, kind: type[Fire]) -> Choice:
    number, tensors = threshold(site, theta)
    cap = site.activation.cap
    if cap is not None and max_spikes * number > cap:
        # A whole number of spikes is the cap, so that a saturated neuron emits it and no more.
        max_spikes = max_spikes if tensors else min(max_spikes, max(1, round(cap / number)))
        number = cap / max_spikes
        tensors = {name: value.clamp_max(number) for name, value in tensors.items()}
    if site.activation.slope:
        fire: Fire = Signed.leaky(site.activation.slope, number, max_spikes, real_units=True)
    elif kind is Binary:
        fire = Binary(number, real_units=True)
    else:
        fire = kind(number, max_spikes, real_units=True)  # type: ignore[call-arg]
    start = v0 * tensors['v_threshold'] if tensors else v0 * number
    return Choice(Neuron(IF(), fire, Soft()), tensors, start)
