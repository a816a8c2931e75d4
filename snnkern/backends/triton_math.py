"""The formulas of the neuron's parts for Triton: each once, value and derivative next to each other.

The parts are chosen at compile time by ids, their places in the lists below, which are those of neurons.py,
fires.py, resets.py and surrogates.py (a test compares them). Everything is float32. Same formulas: csrc/math.
"""

import math

import triton
import triton.language as tl

CHARGES = ('IF', 'LIF')
FIRES = ('Binary', 'Burst')
RESETS = ('Hard', 'Soft')
SURROGATES = ('ATan', 'Sigmoid', 'Triangle', 'Rectangle')

IF, LIF = map(tl.constexpr, range(len(CHARGES)))
BINARY, BURST = map(tl.constexpr, range(len(FIRES)))
HARD, SOFT = map(tl.constexpr, range(len(RESETS)))
ATAN, SIGMOID, TRIANGLE, RECTANGLE = map(tl.constexpr, range(len(SURROGATES)))
HALF_PI = tl.constexpr(math.pi / 2)


@triton.jit
def divide(a, b, POWER_OF_2: tl.constexpr):
    """a / b, correctly rounded: a multiplication where that is exact, a quarter of the instructions."""
    return a * tl.div_rn(1.0, b) if POWER_OF_2 else tl.div_rn(a, b)


@triton.jit
def charge(v, x, v_rest, tau, CHARGE: tl.constexpr, DECAY_INPUT: tl.constexpr, POWER_OF_2: tl.constexpr):
    """The potential before firing."""
    if CHARGE == IF:
        h = v + x
    elif DECAY_INPUT:
        h = v + divide(x - (v - v_rest), tau, POWER_OF_2)
    else:
        h = v - divide(v - v_rest, tau, POWER_OF_2) + x
    return h


@triton.jit
def charge_grads(gh, tau, CHARGE: tl.constexpr, DECAY_INPUT: tl.constexpr):
    """gh * dh/dv and gh * dh/dx."""
    if CHARGE == IF:
        gv, gx = gh, gh
    else:
        share = gh * tl.div_rn(1.0, tau)
        gv, gx = gh - share, share if DECAY_INPUT else gh
    return gv, gx


@triton.jit
def spikes(h, v_threshold, levels, FIRE: tl.constexpr, POWER_OF_2: tl.constexpr):
    """The number of spikes; none for a NaN."""
    if FIRE == BINARY:
        count = tl.full(h.shape, 1.0, tl.float32)
    else:
        count = tl.minimum(tl.floor(divide(h, v_threshold, POWER_OF_2)), levels.to(tl.float32))
    return tl.where(h >= v_threshold, count, 0.0)


@triton.jit
def spikes_slope(h, v_threshold, levels, alpha, FIRE: tl.constexpr, SURROGATE: tl.constexpr):
    """ds/dh of the surrogate, summed over the thresholds."""
    if FIRE == BINARY:
        slope = surrogate_grad(h - v_threshold, alpha, SURROGATE)
    else:
        slope = tl.zeros_like(h)
        for k in range(1, levels + 1):
            slope += surrogate_grad(h - k * v_threshold, alpha, SURROGATE)
    return slope


@triton.jit
def reset(h, s, v_threshold, v_reset, RESET: tl.constexpr):
    """The potential after the step."""
    return tl.where(s > 0, v_reset, h) if RESET == HARD else h - s * v_threshold


@triton.jit
def reset_grads(gv, h, v_threshold, v_reset, RESET: tl.constexpr):
    """gv * dv/ds and gv * dv/dh; a neuron has fired where h >= v_threshold."""
    if RESET == HARD:
        gs, gh = gv * (v_reset - h), tl.where(h >= v_threshold, 0.0, gv)
    else:
        gs, gh = -gv * v_threshold, gv
    return gs, gh


@triton.jit
def surrogate_grad(z, alpha, SURROGATE: tl.constexpr):
    """The derivative of the smooth step at z = h - threshold."""
    if SURROGATE == ATAN:
        u = HALF_PI * alpha * z
        grad = alpha / 2 / (1 + u * u)
    elif SURROGATE == SIGMOID:
        y = tl.sigmoid(alpha * z)
        grad = alpha * (1 - y) * y
    elif SURROGATE == TRIANGLE:
        grad = tl.maximum(alpha - alpha * alpha * tl.abs(z), 0.0)
    else:
        grad = tl.where(tl.abs(z) < tl.div_rn(1.0, alpha), 1.0, 0.0)
    return grad
