"""The directly trained networks by name, and detectors to convert, which train in the same way at T = 1."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from snnkern._checks import whole

# Name: the module and the class or function in it, imported when asked for, and arguments that the name stands for.
SPIKING: dict[str, tuple[str, dict[str, Any]]] = {
    'mlp': ('mlp:MLP', {}),
    'conv': ('conv:ConvNet', {}),
    'rnn': ('recurrent:RNN', {}),
    'hp': ('hybrid:HybridMLP', {}),
    'vgg9': ('vgg:SpikingVGG', {'depth': 9}),
    'vgg11': ('vgg:SpikingVGG', {'depth': 11}),
    'vgg16': ('vgg:SpikingVGG', {'depth': 16}),
    'events-conv': ('events_conv:EventsConv', {}),
    'segment': ('segment:SegmentNet', {}),
    'tiny-yolo': ('detectors:TinyYolo', {}),
    'converted': ('converted:converted', {}),
}


def factory(name: str) -> Callable[..., nn.Module]:
    """What makes the network of that name. Raises ValueError for an unknown one."""
    if name not in SPIKING:
        raise ValueError(f'model: no spiking network {name!r}, expected one of {", ".join(SPIKING)}')
    place, fixed = SPIKING[name]
    module, _, made = place.partition(':')
    return partial(getattr(import_module(f'snnkern.models.spiking.{module}'), made), **fixed)


def build(name: str, *, in_channels: int, size: tuple[int, int], num_classes: int, **options: Any) -> nn.Module:
    """The untrained network of that name, drawn from torch's global random state.

    It maps x [T, B, in_channels, *size] to outputs [T, B, num_classes] of each step, or for segmenters to [T, B,
    num_classes, h, w], for detectors to the maps [T, B, C, h, w] of their `head`; its neurons carry state from call to
    call: `snnkern.nn.reset(net)`. options: its own arguments. Raises ValueError for an unknown name or options that the
    network does not take. Example: `build('mlp', in_channels=1, size=(28, 28), num_classes=10, hidden=300)`.
    """
    make = factory(name)
    for key in ('width', 'hidden', 'T'):
        if options.get(key) is not None:
            whole(f'options.{key}', options[key])
    try:
        return make(in_channels=in_channels, size=size, num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f'options of {name}: {error}') from error
