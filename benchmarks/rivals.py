"""Other libraries' own neurons with their default numbers, each beside the preset of snnkern that computes the same."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.lif import EAGER, SLOW, restarted
from benchmarks.subjects import NATIVE, NEURONS, REFERENCE, Case, Op, Provider, Run
from snnkern import functional, presets

FLIPS = 1e-3  # where a library adds in another order than we do


def _ours(preset: str, backend: str) -> Run:
    return partial(functional.multistep, neuron=presets.NEURONS[preset], backend=backend)  # type: ignore[return-value]


def _looped(layer: Any, reset: Callable[[], list[Any]]) -> Run:
    """A module of one step. reset: gives the states that it takes and hands on."""

    def run(x: Tensor) -> Tensor:
        kept, spikes = reset(), []
        for step in x.unbind(0):
            s = layer(step, *kept)
            if kept:
                s, *kept = s
            spikes.append(s)
        return torch.stack(spikes)

    return run


def _spikingjelly(name: str) -> Run:
    return restarted(getattr(import_module('spikingjelly.activation_based.neuron'), name)(step_mode='m'))


def _snntorch(name: str) -> Run:
    made = {'Leaky': (0.9,), 'Synaptic': (0.9, 0.8)}[name]
    layer = getattr(import_module('snntorch'), name)(*made)

    def reset() -> list[Any]:
        states = layer.reset_mem()
        return list(states) if isinstance(states, tuple) else [states]

    return _looped(layer, reset)


def _norse(name: str) -> Run:
    cell = getattr(import_module('norse.torch'), name)()
    return lambda x: cell(x)[0]


def _braincog(name: str) -> Run:
    node = getattr(import_module('braincog.base.node.node'), name)()

    def reset() -> list[Any]:
        node.n_reset()
        return []

    return _looped(node, reset)


def _sinabs(name: str) -> Run:
    made = {'LIF': {'tau_mem': -1 / math.log(0.9)}}.get(name, {})
    layer = getattr(import_module('sinabs.layers'), name)(**made)

    def run(x: Tensor) -> Tensor:
        layer.reset_states()
        return layer(x.unsqueeze(0))[0]

    return run


LIBRARIES: dict[str, tuple[str, Callable[[str], Run]]] = {
    'spikingjelly': ('SpikingJelly', _spikingjelly),
    'snntorch': ('snnTorch', _snntorch),
    'norse': ('Norse', _norse),
    'braincog': ('BrainCog', _braincog),
    'sinabs': ('sinabs', _sinabs),
}
ROWS = (
    ('spikingjelly.IFNode', 0.0),
    ('spikingjelly.ParametricLIFNode', 0.0),
    ('snntorch.Leaky', 0.0),
    ('snntorch.Synaptic', 0.0),
    ('norse.LIF', FLIPS),
    ('braincog.IFNode', 0.0),
    ('braincog.LIFNode', 0.0),
    ('sinabs.IAF', 0.0),
    ('sinabs.LIF', FLIPS),
)


def _louder(case: Case) -> tuple[Tensor, Tensor]:
    """Inputs that make a neuron with b = 0.1 spike."""
    x, grad = case.inputs()
    return (x.detach() * 8).requires_grad_(x.requires_grad), grad


def _op(preset: str, flips: float) -> Op:
    package, _, name = preset.partition('.')
    title, make = LIBRARIES[package]
    providers = (
        Provider(NATIVE, partial(_ours, preset, 'native'), ours=True),
        Provider(REFERENCE, partial(_ours, preset, 'reference'), ours=True, saves=SLOW),
        Provider(title, partial(make, name), (package,), flips=flips, widens=True, saves=EAGER),
    )
    return Op(preset, NEURONS, providers, _louder if preset == 'sinabs.LIF' else Case.inputs)


RIVALS = tuple(_op(*row) for row in ROWS)
