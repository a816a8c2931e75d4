"""One time step of a neuron for Triton, forward and backward (as csrc/math/step.h), and what it is made of."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

from typing import Any, NamedTuple

import triton
import triton.language as tl

from snnkern.backends.triton import math


class Values(NamedTuple):
    """The numbers that may be rows of the coefficients (SLOTS in neurons.py); also dL/d of them in one step."""

    a: Any  # of PLIF: k
    b: Any
    c: Any
    theta: Any
    alpha: Any


class Numbers(NamedTuple):
    """The other numbers; 0 where a neuron lacks one."""

    tau: Any
    v_rest: Any
    decay: Any
    levels: Any
    first: Any
    spacing: Any
    beta: Any
    fade: Any
    v_reset: Any
    v_min: Any
    low: Any
    high: Any


class State(NamedTuple):
    """The states of a neuron, 0 where it lacks one; also dL/d of them."""

    v: Any
    i: Any
    m: Any


@triton.jit
def step(now, x, w, n, KIND: tl.constexpr):
    """h, what the step emits, the state after it, and dh/da and dh/db."""
    used, i = math.current(now.i, x, n, KIND)
    by_a, by_b = math.charge_slopes(now.v, used, n, KIND)
    h = math.charge(now.v, used, w, n, KIND)
    if KIND.RESET == 'Delayed':
        up, down = math.counts(now.v, now.m, w, n, KIND)
        h = math.reset(h, up, down, w, n, KIND, 'Soft')
    up, down = math.counts(h, now.m, w, n, KIND)
    v = math.reset(h, up, down, w, n, KIND, tl.constexpr(KIND.RESET))
    s = math.signed(up, down, KIND)
    out = s * w.theta if KIND.REAL_UNITS else s
    return h, out, State(v, i, math.remember(now.m, s, n, KIND)), by_a, by_b


@triton.jit
def step_back(g, after, h, before, by_a, by_b, w, n, KIND: tl.constexpr):
    """dL/dx, and dL/d of the state before the step and of its values. g, after: dL/d of what it emitted and left."""
    gs = g * w.theta if KIND.REAL_UNITS else g
    if KIND.FIRE == 'Adaptive':
        gs += after.m
    gh, through, theta, alpha = fire_back(gs, after.v, h, before.m, w, n, KIND, tl.constexpr(KIND.RESET))
    if KIND.REAL_UNITS:
        up, down = math.counts(h, before.m, w, n, KIND)
        theta += g * math.signed(up, down, KIND)
    gv, gu = math.charge_back(gh, w, n, KIND)
    if KIND.RESET == 'Delayed':
        none = tl.zeros_like(gh)
        _, through_v, theta_v, alpha_v = fire_back(none, gh, before.v, before.m, w, n, KIND, 'Soft')
        gv, theta, alpha = gv + through_v, theta + theta_v, alpha + alpha_v
    if KIND.DETACH_V:
        gv = tl.zeros_like(gv)
    gx, gi = math.current_back(gu, after.i, n, KIND)
    gm = math.remember_back(after.m, through, n, KIND)
    return gx, State(gv, gi, gm), Values(gh * by_a, gh * by_b, gh, theta, alpha)


@triton.jit
def fire_back(gs, gv, h, m, w, n, KIND: tl.constexpr, RESET: tl.constexpr):
    """dL/dh, its part through the spikes, dL/dtheta and dL/dalpha; gs: dL/ds, gv: dL/dv after the reset."""
    gv = math.passed(gv, h, m, w, n, KIND, RESET)
    up, down, past = math.reset_back(gs, gv, h, m, w, n, KIND, RESET)
    p = math.slopes(h, m, w, n, KIND)
    gh, through, theta, alpha = tl.fma(up, p.up, past), up * p.up, -(up * p.up_level), up * p.up_alpha
    if KIND.SIGNED:
        gh, through = tl.fma(down, p.down, gh), through + down * p.down
        theta, alpha = theta + down * p.down_level, alpha - down * p.down_alpha
    if RESET == 'Soft' or RESET == 'Bounded':
        theta += gv * math.soft_by_theta(h, m, w, n, KIND)
    return gh, through, theta, alpha
