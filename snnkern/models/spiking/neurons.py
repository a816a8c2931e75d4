"""Layers of neurons by name, as the options of a network give them, alone or behind their norm."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnkern._checks import positive
from snnkern.nn import IF, LIF, TEP, BatchNormNeuron, BiasLIF, DoubleSidePLIF, Leaky, Neuron, ParametricLIF
from snnkern.nn.fold import SeqToANNContainer

LAYERS: dict[str, Callable[..., nn.Module]] = {
    'if': IF,
    'lif': LIF,
    'plif': ParametricLIF,
    'leaky': Leaky,
    'bias-lif': BiasLIF,
    'double-side-plif': DoubleSidePLIF,
    'relu': nn.ReLU,
}
NORMS = ('bn', 'tdbn', 'tebn', 'tep', 'none')


def neuron(name: str, tau: float | None = None, **options: Any) -> nn.Module:
    """A layer of these neurons, which maps currents [T, B, ...] to spikes [T, B, ...].

    name: "if", "lif", "plif", "leaky" (snnTorch's, beta learned), "bias-lif", "double-side-plif" (spikes of both
    signs), or "relu" for the non-spiking twin of a network, which ignores whatever spiking neurons take. tau: time
    constant in steps, > 0, for "leaky", whose beta is 1 - 1 / tau, at least 1; None: the neuron's own. options: other
    arguments of the class in `snnkern.nn` (v_threshold, surrogate, detach_reset, ...).

    Raises ValueError for another name, a tau out of range, or one for "if", which has none; what the class raises for
    others.
    Example: `neuron('lif', tau=2.0, v_reset=None)(currents)`.
    """
    if name not in LAYERS:
        raise ValueError(f'neuron: expected one of {", ".join(LAYERS)}, got {name!r}')
    if name == 'relu':
        return nn.ReLU()
    if name == 'leaky':
        options = {'learn_beta': True, **options}
    if tau is not None:
        if name == 'if':
            raise ValueError(f'tau: a neuron "if" has none, got {tau}')
        positive('tau', tau)
        if name == 'leaky' and tau < 1:
            raise ValueError(f'tau: expected at least 1 for a neuron "leaky", whose beta is 1 - 1 / tau, got {tau}')
        options |= {'beta': 1 - 1 / tau} if name == 'leaky' else {'init_tau' if name == 'plif' else 'tau': tau}
    return LAYERS[name](**options)


def norm_neuron(
    name: str, channels: int, norm: str = 'bn', T: int | None = None, tau: float | None = None, **options: Any
) -> nn.Module:
    """Norm of channels and the neurons behind it as one layer, [T, B, C, H, W] to the same shape.

    name, tau, options: see `neuron`. channels: C. norm: "bn", "tdbn" (its gain starts at v_threshold) or "tebn" (a
    factor for each of T steps): `nn.BatchNormNeuron`, over all processes; "tep": "bn", and `nn.TEP` behind the
    neurons; "none". T: needed by "tebn". The twin, "relu", has a plain BatchNorm for each of the first three.

    Raises ValueError for another norm or name, "tebn" without T, learned numbers that are neither one nor [C], and
    connect "ms", which adds to x before the norm.
    Example: `norm_neuron('plif', 64, 'tdbn')(conv(x))`.
    """
    if norm not in NORMS:
        raise ValueError(f'norm: expected one of {", ".join(NORMS)}, got {norm!r}')
    layer = neuron(name, tau, **options)
    if norm == 'none':
        return layer
    if not isinstance(layer, Neuron):
        layer = SeqToANNContainer(nn.BatchNorm2d(channels), layer)
    else:
        kind = 'bn' if norm == 'tep' else norm
        layer = _normed(layer, channels, kind, T if kind == 'tebn' else None)
    return nn.Sequential(layer, TEP(channels)) if norm == 'tep' else layer


def _normed(layer: Neuron, channels: int, norm: str, T: int | None) -> BatchNormNeuron:
    """BatchNorm fused with neurons like those of the layer; what they learn is learned, and starts alike."""
    tensors = {number: getattr(layer, own) for number, (own, _) in layer.forms.items()}
    learn = {number: form for number, (_, form) in layer.forms.items() if isinstance(tensors[number], nn.Parameter)}
    shapes = {number: tuple(tensors[number].shape) for number in learn}
    if wrong := [f'{number} {shape}' for number, shape in shapes.items() if shape not in ((), (channels,))]:
        raise ValueError(f'learned numbers must be one or one of each of {channels} channels, got {", ".join(wrong)}')
    fused = BatchNormNeuron(
        channels, layer.neuron, norm, T=T, process_group='world', learn=learn, backend=layer.backend,
        channels=channels if (channels,) in shapes.values() else None,
        tensors={number: tensor for number, tensor in tensors.items() if number not in learn},
        channel_dim=layer.channel_dim, store_v_seq=layer.store_v_seq, save_state=layer.save_state,
        connect=layer.connect, step_mode=layer.step_mode,
    )  # fmt: skip
    with torch.no_grad():
        for number in learn:
            getattr(fused, fused.forms[number][0]).copy_(tensors[number])
    return fused
