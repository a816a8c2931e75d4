"""The multistep kernels for Triton (kernels.py): what is compiled, and how it is launched.

Kernels are compiled at their first use, per parts of the neuron, dtype and optional tensors; numbers (tau,
thresholds, T, N) are arguments and compile nothing. Over all T a neuron has two kernels forward (with and without
checkpoints) and four backward: chunks of 4, 8 and 16 steps, and of 16 with checkpoints; in half precision three.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern.backends import checkpoint_count, checkpoint_interval, layout
from snnkern.backends.triton import device
from snnkern.backends.triton.device import ACCESS, on_device
from snnkern.charges import LIF
from snnkern.fires import Integer
from snnkern.neurons import SLOTS, Program

GROUP = 4  # loads of a thread under way at once
LEAN = 128  # registers of a thread of backward where they are known to be enough: a multiprocessor runs 512 threads
KEPT = 160  # numbers that a thread of backward may keep; where there are more, its accesses are half as wide
Maybe = Tensor | None


class Kind(NamedTuple):
    """What is chosen at compile time: the parts, and what is a yes or no about them.

    REST, C, V_RESET: these are not 0, which saves adding them. LATE: the current of the step before charges. CURRENT,
    MEMORY: there is a state i, m. SIGNED: there are negative spikes. SINGLE: one level, no division. OPEN: the lowest
    negative level itself is not crossed. FUSED: an addition may take in the product by 1 / tau, which is exact but for
    subnormal numbers: in backward. ROWS: of the coefficients, by slot, or -1. VARYING: one a step. ALIKE: one for all
    neurons.
    """

    CHARGE: str
    FIRE: str
    RESET: str
    SURROGATE: str
    DECAY_INPUT: bool
    REST: bool
    C: bool
    V_RESET: bool
    LATE: bool
    CURRENT: bool
    MEMORY: bool
    SIGNED: bool
    SINGLE: bool
    STRICT: bool
    OPEN: bool
    REAL_UNITS: bool
    DETACH: bool
    DETACH_V: bool
    POWER_OF_2_TAU: bool
    FUSED: bool
    POWER_OF_2_THETA: bool
    ROWS: tuple[int, ...]
    VARYING: bool
    ALIKE: bool


def _power_of_2(value: float) -> bool:
    """Whether dividing by it equals multiplying by its reciprocal, in float32 too."""
    return math.frexp(value)[0] == 0.5 and 2.0**-100 < value < 2.0**100


def _rows(program: Program) -> tuple[int, ...]:
    """The row of each slot, or -1."""
    found = {SLOTS[name]: row for row, name in enumerate(program.names)}
    return tuple(found.get(slot, -1) for slot in range(max(SLOTS.values()) + 1))


@lru_cache(maxsize=1024)
def _kind(spec: str, varying: bool, alike: bool) -> Kind:
    """What backward is compiled for."""
    program = Program.parse(spec)
    charge, fire, reset, surrogate = program.neuron.parts
    rows, down = _rows(program), fire.negative
    own_theta = rows[SLOTS['v_threshold']] < 0
    single = fire.most == 1 and not isinstance(fire, Integer)
    # A binary fire compares, whatever the sign of its threshold; others divide by it.
    single &= own_theta or not hasattr(fire, 'max_spikes')
    powers = _power_of_2(fire.v_threshold) and (down is None or _power_of_2(down.spacing))
    return Kind(
        CHARGE=type(charge).__name__,
        FIRE=type(fire).__name__,
        RESET=type(reset).__name__,
        SURROGATE=type(surrogate).__name__,
        DECAY_INPUT=getattr(charge, 'decay_input', False),
        REST=getattr(charge, 'v_rest', 0.0) != 0,
        C=rows[SLOTS['c']] >= 0 or charge.c != 0,
        V_RESET=reset.v_start != 0,
        LATE=getattr(charge, 'delayed', False),
        CURRENT=charge.extra,
        MEMORY=fire.extra,
        SIGNED=down is not None,
        SINGLE=single,
        STRICT=fire.strict,
        OPEN=down is not None and (fire.strict or down.first == 0),
        REAL_UNITS=fire.real_units,
        DETACH=reset.detach,
        DETACH_V=reset.detach_v,
        POWER_OF_2_TAU=isinstance(charge, LIF) and _power_of_2(charge.tau),
        FUSED=isinstance(charge, LIF) and _power_of_2(charge.tau),
        POWER_OF_2_THETA=own_theta and not single and powers,
        ROWS=rows,
        VARYING=varying,
        ALIKE=alike,
    )


@lru_cache(maxsize=1024)
def _forward_kind(*arguments: Any) -> Kind:
    """The same without what only backward knows."""
    return _kind(*arguments)._replace(SURROGATE='', DETACH=False, DETACH_V=False, FUSED=False)


@lru_cache(maxsize=1024)
def _numbers(spec: str) -> dict[str, float | int]:
    """The numbers of a neuron that both kernels take."""
    charge, fire, reset, _ = Program.parse(spec).neuron.parts
    first, spacing, _ = fire.negative or (0.0, 0.0, 0)
    found = {
        'a': getattr(charge, 'a', getattr(charge, 'k', 0.0)),
        'b': getattr(charge, 'b', 0.0),
        'c': charge.c,
        'theta': fire.v_threshold,
        'tau': getattr(charge, 'tau', 1.0),
        'v_rest': getattr(charge, 'v_rest', 0.0),
        'decay': getattr(charge, 'decay', 0.0),
        'first_level': first,
        'spacing': spacing,
        'beta': getattr(fire, 'beta', 0.0),
        'fade': getattr(fire, 'decay', 0.0),
        'v_reset': reset.v_start,
        'v_min': getattr(reset, 'v_min', 0.0),
    }
    return {name: float(value) for name, value in found.items()} | {'levels': fire.most}


@lru_cache(maxsize=1024)
def _surrogate_numbers(spec: str) -> dict[str, float]:
    """The numbers of a surrogate."""
    surrogate = Program.parse(spec).neuron.surrogate
    low = [getattr(surrogate, name) for name in ('leak', 'low', 'scale') if hasattr(surrogate, name)]
    return {
        'alpha': getattr(surrogate, 'alpha', 1.0),
        'low': low[0] if low else 0.0,
        'high': getattr(surrogate, 'high', 0.0),
        'nothing': 0,
    }


def _shape(x: Tensor, T: int, coefficients: Maybe, spec: str, widest: int) -> tuple[tuple[int], dict[str, Any]]:
    """The grid, and what both kernels need to know of tensors. A thread holds the widest vector that divides N."""
    N = x.numel() // x.shape[0]
    vector = math.gcd(N, widest)
    block = device.threads() * widest
    channels = 1 if coefficients is None else coefficients.shape[2]
    options = {
        'vectors': N // vector,
        'T': T,
        'inner': x.stride(Program.parse(spec).channel_dim) if channels > 1 else 1,
        'channels': channels,
        'CONSTANT': x.shape[0] < T,
        'GROUP': GROUP,
        'VECTOR': vector,
        'BLOCK': block,
        **device.options(),
    }
    return (-(-N // block),), options


def short(T: int, steps: int) -> int:
    """No more steps at once than there are, rounded up to a power of two: few variants over all T."""
    return min(steps, 1 << (T - 1).bit_length())


def _of(coefficients: Maybe) -> tuple[bool, bool]:
    """Whether the coefficients vary in time, and whether they are the same for all neurons."""
    return (False, True) if coefficients is None else (coefficients.shape[1] > 1, coefficients.shape[2] == 1)


def multistep_fwd(
    x: Tensor,
    state: Maybe,
    coefficients: Maybe,
    residual: Maybe,
    spec: str,
    T: int,
    save: bool,
    want_state: bool,
    want_v_seq: bool,
    want_sum: bool,
) -> tuple[Tensor, Maybe, Maybe, Maybe, Maybe]:
    """Spikes, last states, v of all steps, the sum, checkpoints (see the table in backends/__init__.py)."""
    program = Program.parse(spec)
    s, states = layout.new_like(x, T), len(program.neuron.states)
    last = layout.new_like(x, states, torch.float32) if want_state else None
    v_seq = layout.new_like(x, T, torch.float32) if want_v_seq else None
    total = layout.new_like(x, T) if want_sum else None
    count = checkpoint_count(T, x.dtype) if save else 0
    checkpoints = layout.new_like(x, count * states, torch.float32) if count else None
    if x.numel():
        from snnkern.backends.triton.kernels import forward

        grid, options = _shape(x, T, coefficients, spec, _widest(x, v_seq))
        options |= {
            'K': checkpoint_interval(x.dtype),
            'KIND': _forward_kind(spec, *_of(coefficients)),
            'CONNECT': program.connect,
        }
        tensors = x, state, coefficients, residual, s, last, v_seq, total, checkpoints
        with on_device(x):
            forward[grid](*tensors, **_numbers(spec), **options)
    return s, last, v_seq, total, checkpoints


def _widest(x: Tensor, v_seq: Maybe) -> int:
    """Neurons of a thread whose rows of every step are no more than one access."""
    return ACCESS // (x if v_seq is None else v_seq).element_size()


def _width(widest: int, steps: int, kind: Kind, want_coefficients: bool, lined: bool) -> int:
    """Neurons of a thread of backward. For each it keeps h, m, and where they are wanted dh/da, dh/db and x of each
    step.

    It keeps the coefficients and their gradients, too.
    """
    rows = [row >= 0 for row in kind.ROWS] if want_coefficients else [False]
    kept = steps * (1 + kind.MEMORY + sum(rows[:2]) + lined) + 3 * sum(rows)
    while widest * kept > KEPT:
        widest //= 2
    return widest


def _lean(kind: Kind) -> bool:
    """Whether backward is known to need no more than LEAN registers: binary IF and LIF neurons without divisions."""
    charge = kind.CHARGE == 'IF' or (kind.POWER_OF_2_TAU and kind.DECAY_INPUT)
    return charge and kind.FIRE == 'Binary' and kind.RESET in ('Hard', 'Soft')


def multistep_bwd(
    grad_s: Tensor,
    grad_state: Maybe,
    grad_v_seq: Maybe,
    grad_sum: Maybe,
    x: Tensor,
    state: Maybe,
    coefficients: Maybe,
    checkpoints: Maybe,
    line: Maybe,
    spec: str,
    T: int,
    want_x: bool,
    want_state: bool,
    want_coefficients: bool,
) -> tuple[Maybe, Maybe, Maybe]:
    """Gradients of x, of the initial states and of the coefficients, as far as wanted."""
    program, partials = Program.parse(spec), None
    grad_x = layout.new_like(x, x.shape[0]) if want_x else None
    grad_start = layout.new_like(x, len(program.neuron.states), torch.float32) if want_state else None
    if coefficients is not None and want_coefficients:
        partials = layout.new_like(x, coefficients.shape[0] * coefficients.shape[1], torch.float32)
    if x.numel():
        from snnkern.backends.triton.kernels import backward

        kind = _kind(spec, *_of(coefficients))
        grad_sum, line = (grad_sum, line) if want_x else (None, None)
        K = max(GROUP, short(T, checkpoint_interval(x.dtype)))
        width = _width(_widest(x, grad_v_seq), K, kind, want_coefficients, line is not None)
        grid, options = _shape(x, T, coefficients, spec, width)
        options |= {'K': K, 'KIND': kind} | _numbers(spec) | _surrogate_numbers(spec)
        if _lean(kind) and all(t is None for t in (coefficients, grad_v_seq, grad_sum, line)):
            options |= device.options(LEAN)
        given = grad_s, grad_state, grad_v_seq, grad_sum, x, state, coefficients, checkpoints, line
        with on_device(x):
            backward[grid](*given, grad_x, grad_start, partials, **options)
    if coefficients is None or partials is None:
        return grad_x, grad_start, None
    return grad_x, grad_start, layout.channel_sums(partials, coefficients, program.channel_dim)
