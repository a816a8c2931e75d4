"""Neurons as NIR writes them, and back.

NIR's potential follows tau * dv/dt = (v_leak - v) + r * x (IF: dv/dt = r * x). A step of dt, by Euler, is
h = v + (v_leak - v + r * x) * dt / tau, so that `Affine`'s h = a * v + b * x + c has tau = dt / (1 - a),
r = b / (1 - a), v_leak = c / (1 - a). Source: Pedersen et al., Nature Communications 2024.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern.adapters.nir.layers import tensor
from snnkern.charges import IF, LIF, Affine, Charge, Synaptic
from snnkern.fires import Binary, Burst, MultiSpike
from snnkern.neurons import Neuron
from snnkern.resets import Bounded, Hard, NoReset, Reset, Soft
from snnkern.spikes import bind

KINDS = {'IF': ('r',), 'LIF': ('tau', 'r', 'v_leak'), 'CubaLIF': ('tau_mem', 'r', 'v_leak', 'tau_syn', 'w_in')}
KINDS |= {'I': KINDS['IF'], 'LI': KINDS['LIF']}


@dataclass(frozen=True)
class Reading:
    """How a library reads what NIR leaves open.

    dt: seconds of a step. reset: "hard" (to v_reset, 0 where the file has none), "zero", "soft" (by subtraction); None:
    as the file's version of NIR defines it. strict: a spike where v > v_threshold, or from equality on. product:
    computes a * v + x, which is v - v / tau + x but for rounding. blind: takes r for 1. sinabs: as many spikes in a
    step as v holds thresholds, a leak of exp(-dt / tau) without scaling the input, v of IF kept above -v_threshold.
    """

    dt: float
    reset: str | None
    strict: bool
    product: bool = False
    blind: bool = False
    sinabs: bool = False


READINGS = {
    'nir': Reading(1e-4, None, True),
    'spikingjelly': Reading(1e-4, 'hard', False),
    'snntorch': Reading(1e-4, 'zero', True, product=True),
    'norse': Reading(1e-3, 'zero', True, blind=True),
    'sinabs': Reading(1.0, 'soft', False, product=True, blind=True, sinabs=True),
}


def numbers(charge: Charge, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What a step does to v: leak = 1 - a, gain = b, current = c, and decay of the synaptic current (None: has none).

    float64 numbers or tensors, since dt / (1 - a) needs the digits.
    """
    own = {name: t.detach().double().cpu() for name, t in tensors.items() if name in charge.learns}
    if isinstance(charge, Synaptic):
        bound = bind(charge, own)
        return {'leak': 1 - bound.a, 'gain': bound.b, 'current': bound.c, 'decay': charge.decay}
    a, b, c = bind(charge, own).line()
    leak = 1 / charge.tau if isinstance(charge, LIF) else 1 - a
    return {'leak': leak, 'gain': b, 'current': c, 'decay': None}


def refusal(neuron: Neuron, tensors: dict[str, Tensor]) -> str | None:
    """Why NIR cannot say a neuron, or None. Resets, strictness and surrogates stand in our metadata."""
    fire, name = neuron.fire, type(neuron.fire).__name__
    if type(fire) not in (Binary, Burst) or getattr(fire, 'max_spikes', 1) > 1:
        return f'its fire {name} emits more than 0 or 1, and the neurons of NIR do not'
    if isinstance(neuron.reset, NoReset):
        return 'it fires without a reset, which NIR has no neuron for'
    if any(t.dim() > 1 for t in tensors.values()):
        return 'its numbers differ from step to step'
    return charge_refusal(neuron.charge, tensors)


def charge_refusal(charge: Charge, tensors: dict[str, Tensor]) -> str | None:
    """Why NIR cannot say a charge, or None."""
    found = {k: torch.as_tensor(v) for k, v in numbers(charge, tensors).items() if v is not None}
    leak, current, decay = found['leak'], found['current'], found.get('decay')
    if decay is not None and (not 0 <= decay < 1 or bool((leak == 0).any())):
        return f'a CubaLIF leaks in both states, and here a = {charge.a}, decay = {decay:g}'  # type: ignore[attr-defined]
    if bool((leak < 0).any() or (leak > 1).any()):
        return f'a potential must keep 0 to 1 of itself in a step, and here 1 - a is {leak.flatten()[:4].tolist()}'
    if bool((leak == 0).any() and (leak != 0).any()):
        return 'some of its neurons leak and others do not'
    if bool((leak == 0).any() and (current != 0).any()):
        return 'it has a constant current, and an IF of NIR has none; put it into the bias of the layer before'
    return None


def encode(charge: Charge, tensors: dict[str, Tensor], spread: Any, dt: float) -> tuple[str, dict[str, Any]]:
    """The kind of a NIR neuron ("IF", "LIF", "CubaLIF") and its numbers, each brought to its shape by `spread`."""
    n = numbers(charge, tensors)
    leak, gain = torch.as_tensor(n['leak'], dtype=torch.float64), n['gain']
    if bool((leak == 0).all()):
        return 'IF', {'r': array(spread(gain / dt))}
    fields = {'r': gain / leak, 'v_leak': n['current'] / leak}
    if n['decay'] is None:
        return 'LIF', {k: array(spread(v)) for k, v in ({'tau': dt / leak} | fields).items()}
    fields |= {'tau_mem': dt / leak, 'tau_syn': dt / (1 - n['decay']), 'w_in': 1 / (1 - n['decay'])}
    return 'CubaLIF', {k: array(spread(v)) for k, v in fields.items()}


def array(values: Tensor) -> np.ndarray:
    """float64 numbers as float32 where that loses nothing: some readers take no other."""
    full = values.detach().cpu().numpy()
    small = full.astype(np.float32)
    return small if (small == full).all() else full


@dataclass
class Read:
    """A neuron out of a graph: what runs, its tensors ([C], or [N] if flat), and v before the first step."""

    neuron: Neuron
    tensors: dict[str, Tensor]
    flat: bool = False
    v0: Tensor | None = None


def decode(node: Any, kind: str, reading: Reading, dt: float | None, reset: str | None, v_min: float | None) -> Read:
    """A neuron by NIR's own numbers. Raises ValueError for numbers that no step of dt can have."""
    given = {name: np.asarray(getattr(node, name), np.float64) for name in KINDS[kind]}
    step = dt
    if step is None:
        # Most libraries write r = 1 for an IF that adds x at every step.
        step = 1.0 if kind in ('I', 'IF') and (given['r'] == 1).all() else reading.dt
    own = per_step(kind, given, step, reading)
    if 'v_threshold' in vars(node):
        own['v_threshold'] = np.asarray(node.v_threshold, np.float64)
    values, tensors, flat = split(own)
    charge = _charge(kind, values, tensors, reading)
    theta = values.get('v_threshold', 1.0)
    fire = MultiSpike(theta) if reading.sinabs else Binary(theta, strict=reading.strict)
    tensors = {k: t for k, t in tensors.items() if k in (*charge.learns, 'v_threshold')}
    return Read(Neuron(charge, fire, _reset(node, kind, reading, reset, v_min)), tensors, flat)


def per_step(kind: str, given: dict[str, np.ndarray], dt: float, reading: Reading) -> dict[str, np.ndarray]:
    """a, b, c (and decay) of one step."""
    if kind in ('I', 'IF'):
        return {'a': np.ones(()), 'b': np.ones(()) if reading.blind else given['r'] * dt, 'c': np.zeros(())}
    tau = given['tau_mem' if kind == 'CubaLIF' else 'tau']
    for name, value in given.items():
        if name.startswith('tau') and (value < dt * (1 - 1e-6)).any():
            least = value.min()
            raise ValueError(
                f'{name} must be at least one step, dt = {dt:g}, got {least:g}: give the dt of its library'
            )
    k = dt / tau
    if reading.sinabs:
        return {'a': np.exp(-k), 'b': np.ones(()), 'c': given['v_leak'] * 0}
    own = {'a': 1 - k, 'b': k if reading.blind and kind != 'CubaLIF' else given['r'] * k, 'c': given['v_leak'] * k}
    if kind == 'CubaLIF':
        decay = dt / given['tau_syn']
        own |= {'decay': 1 - decay, 'b': own['b'] * given['w_in'] * decay}
    return own


def split(own: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Tensor], bool]:
    """Numbers that all neurons share, tensors of the others ([C] or, if flat, [N]), and which of the two."""
    values, tensors, flat = {}, {}, False
    spread = {}
    for name, value in own.items():
        values[name] = float(value.flat[0]) if value.size else 0.0
        if value.size and not (value == value.flat[0]).all():
            spread[name] = value
    flat = any((v != v[(slice(None), *[slice(0, 1)] * (v.ndim - 1))]).any() for v in spread.values())
    for name, value in spread.items():
        tensors[name] = tensor(value.reshape(-1) if flat else value.reshape(len(value), -1)[:, 0])
    return values, tensors, flat


def _charge(kind: str, values: dict[str, float], tensors: dict[str, Tensor], reading: Reading) -> Charge:
    a, b, c = (values[name] for name in 'abc')
    plain = not {'a', 'b', 'c'} & tensors.keys()
    if kind == 'CubaLIF':
        if 'decay' in tensors:
            raise ValueError('tau_syn must be the same for all neurons of a layer')
        return Synaptic(a, b, c, decay=values['decay'])
    if plain and (a, b, c) == (1.0, 1.0, 0.0):
        return IF()
    leak = 1 - a
    if plain and not reading.product and leak > 0 and (near(b, leak) or near(b, 1.0)):
        return LIF(1 / leak, c / leak, near(b, leak))
    return Affine(a, b, c)


def near(a: float, b: float) -> bool:
    """Equal but for the rounding of files."""
    return abs(a - b) <= 1e-6 * abs(b)


def _reset(node: Any, kind: str, reading: Reading, reset: str | None, v_min: float | None) -> Reset:
    to = getattr(node, 'v_reset', None)
    way = reset or reading.reset or ('soft' if to is None else 'hard')
    if v_min is None and reading.sinabs and kind == 'IF':
        theta = np.unique(node.v_threshold)
        if theta.size != 1:
            raise ValueError('v_threshold must be the same for all neurons of a layer to bound v as sinabs does')
        v_min = -float(theta[0])
    v_min = None if v_min == -math.inf else v_min
    if way == 'soft':
        return Soft() if v_min is None else Bounded(v_min)
    if v_min is not None:
        raise ValueError(f'v_min must come with a soft reset, got v_min = {v_min:g} and a hard one')
    values = np.unique(0.0 if to is None or way == 'zero' else to)
    if values.size != 1:
        raise ValueError('v_reset must be the same for all neurons of a layer')
    return Hard(float(values[0]))
