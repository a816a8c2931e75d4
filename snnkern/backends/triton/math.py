"""The formulas of the neuron's parts for Triton: each once, value and derivative next to each other.

The parts are chosen at compile time by their names, which stand in the lists below and are those of neurons.py,
fires.py and resets.py (a test compares them); surrogates have a file of their own. Triton looks at every global
constant that a kernel uses before each launch (12 took 60 of 107 us): there are none. Everything is float32. Same
formulas: csrc/math.
Arguments: w and n are the `Values` and `Numbers` of step.py, KIND is a `Kind` of triton.py.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from snnkern.backends.triton.surrogate import surrogate

CHARGES = ('IF', 'LIF', 'PLIF', 'Affine', 'Synaptic')
FIRES = ('Binary', 'Burst', 'Ternary', 'Signed', 'SignedMemory', 'Integer', 'Adaptive', 'MultiSpike')
RESETS = ('Hard', 'Soft', 'NoReset', 'Delayed', 'Bounded')


class Slopes(NamedTuple):
    """The surrogate summed over the levels of a side; the same weighted by the level; its derivative by alpha."""

    up: Any
    up_level: Any
    up_alpha: Any
    down: Any
    down_level: Any
    down_alpha: Any


@triton.jit
def divide(a, b, POWER_OF_2: tl.constexpr):
    """a / b, correctly rounded: a multiplication where that is exact, a quarter of the instructions."""
    return a * tl.div_rn(1.0, b) if POWER_OF_2 else tl.div_rn(a, b)


@triton.jit
def current(i, x, n, KIND: tl.constexpr):
    """What charges v, and the current after the step."""
    if KIND.CHARGE == 'Synaptic':
        after = n.decay * i + x
        used = i if KIND.LATE else after
    else:
        after, used = i, x
    return used, after


@triton.jit
def current_back(gu, gi, n, KIND: tl.constexpr):
    """dL/dx and dL/d of the current before the step, from dL/d of what charged v and of the current after the step."""
    if KIND.CHARGE == 'Synaptic':
        gx = gi if KIND.LATE else gi + gu
        before = n.decay * gx + gu if KIND.LATE else n.decay * gx
    else:
        gx, before = gu, gi
    return gx, before


@triton.jit
def rested(v, n, KIND: tl.constexpr):
    """v above its rest."""
    return v - n.v_rest if KIND.REST else v


@triton.jit
def charge(v, x, w, n, KIND: tl.constexpr):
    """The potential before firing."""
    if KIND.CHARGE == 'IF':
        h = v + x
    elif KIND.CHARGE == 'LIF':
        if KIND.DECAY_INPUT and KIND.FUSED:
            h = tl.fma(x - rested(v, n, KIND), tl.div_rn(1.0, n.tau), v)
        elif KIND.DECAY_INPUT:
            h = v + divide(x - rested(v, n, KIND), n.tau, KIND.POWER_OF_2_TAU)
        else:
            h = v - divide(rested(v, n, KIND), n.tau, KIND.POWER_OF_2_TAU) + x
    elif KIND.CHARGE == 'PLIF':
        above = rested(v, n, KIND)
        h = v + (x - above) * w.a if KIND.DECAY_INPUT else v - above * w.a + x
    else:
        h = w.a * v + w.b * x
    return h + w.c if KIND.C else h


@triton.jit
def charge_back(gh, w, n, KIND: tl.constexpr):
    """gh * dh/dv and gh * dh/dx."""
    if KIND.CHARGE == 'IF':
        gv, gx = gh, gh
    elif KIND.CHARGE == 'LIF' or KIND.CHARGE == 'PLIF':
        share = gh * tl.div_rn(1.0, n.tau) if KIND.CHARGE == 'LIF' else gh * w.a
        gv, gx = gh - share, share if KIND.DECAY_INPUT else gh
    else:
        gv, gx = gh * w.a, gh * w.b
    return gv, gx


@triton.jit
def charge_slopes(v, x, n, KIND: tl.constexpr):
    """dh/da and dh/db (dh/dc is 1)."""
    if KIND.CHARGE == 'PLIF':
        by_a = x - rested(v, n, KIND) if KIND.DECAY_INPUT else -rested(v, n, KIND)
    else:
        by_a = v
    return by_a, x


@triton.jit
def above(h, m, w, n, KIND: tl.constexpr):
    """Whether h has crossed the first positive level; counted ones must be positive."""
    bar = w.theta + n.beta * m if KIND.FIRE == 'Adaptive' else w.theta
    yes = h > bar if KIND.STRICT else h >= bar
    return yes if KIND.SINGLE else yes & (w.theta > 0)


@triton.jit
def below(h, w, n, KIND: tl.constexpr):
    """Whether h has crossed the first negative level."""
    lowest = w.theta * n.first
    yes = h < -lowest if KIND.OPEN else h <= -lowest
    return yes if KIND.SINGLE else yes & (w.theta > 0)


@triton.jit
def counts(h, m, w, n, KIND: tl.constexpr):
    """The numbers of positive and of negative spikes (0 where there are none); none for a NaN."""
    most = n.levels.to(tl.float32)
    if KIND.SINGLE:
        up = tl.where(above(h, m, w, n, KIND), 1.0, 0.0)
    elif KIND.FIRE == 'Integer':
        depth = divide(h, w.theta, KIND.POWER_OF_2_THETA)
        up = (
            tl.where((depth > 0) & (w.theta > 0), tl.minimum(depth, most), 0.0) + 8388608.0 - 8388608.0
        )  # 2^23: rounds halves to even
    else:
        count = tl.minimum(tl.floor(divide(h, w.theta, KIND.POWER_OF_2_THETA)), most)
        up = tl.where(above(h, m, w, n, KIND), count, 0.0)
    if KIND.SIGNED:
        deep = 1.0
        if not KIND.SINGLE:
            depth = divide(-h - w.theta * n.first, w.theta * n.spacing, KIND.POWER_OF_2_THETA)
            deep = tl.ceil(depth) if KIND.OPEN else tl.floor(depth) + 1
            deep = tl.minimum(tl.maximum(deep, 1.0), most)
        down = tl.where(below(h, w, n, KIND), deep, 0.0)
        if KIND.MEMORY:
            room = tl.where(m < 0, 0.0, m)
            down = tl.where(down <= room, down, room)
    else:
        down = 0.0
    return up, down


@triton.jit
def fired(h, m, w, n, KIND: tl.constexpr):
    """Whether there was a spike."""
    if KIND.FIRE == 'Integer':
        yes = counts(h, m, w, n, KIND)[0] > 0
    else:
        yes = above(h, m, w, n, KIND)
    if KIND.SIGNED:
        taken = below(h, w, n, KIND) & (m > 0) if KIND.MEMORY else below(h, w, n, KIND)
        yes = yes | taken
    return yes


@triton.jit
def signed(up, down, KIND: tl.constexpr):
    """The spikes of a step with their sign."""
    return up - down if KIND.SIGNED else up


@triton.jit
def remember(m, s, n, KIND: tl.constexpr):
    """The fire's own state after s spikes."""
    if KIND.FIRE == 'Adaptive':
        m = n.fade * m + s
    elif KIND.MEMORY:
        m = m + s
    return m


@triton.jit
def remember_back(gm, through, n, KIND: tl.constexpr):
    """dL/dm before the step. through: dL/dh through the spikes, whose threshold m has raised."""
    return n.fade * gm - n.beta * through if KIND.FIRE == 'Adaptive' else gm


@triton.jit
def reset(h, up, down, w, n, KIND: tl.constexpr, RESET: tl.constexpr):
    """The potential after the step."""
    if RESET == 'Hard':
        v = tl.where(up + down > 0 if KIND.SIGNED else up > 0, n.v_reset, h)
    elif RESET == 'Soft' or RESET == 'Bounded':
        v = h - (tl.where(up > 0, w.theta, 0.0) if KIND.SINGLE else up * w.theta)
        if KIND.SIGNED:
            v += down * (w.theta * n.spacing)
        if RESET == 'Bounded':
            above = v - n.v_min
            v = tl.where(above < 0, 0.0, above) + n.v_min
    else:
        v = h
    return v


@triton.jit
def passed(gv, h, m, w, n, KIND: tl.constexpr, RESET: tl.constexpr):
    """What of dL/dv after the reset gets past a bound on v."""
    if RESET == 'Bounded':
        up, down = counts(h, m, w, n, KIND)
        gv = tl.where(reset(h, up, down, w, n, KIND, 'Soft') > n.v_min, gv, 0.0)
    return gv


@triton.jit
def reset_back(gs, gv, h, m, w, n, KIND: tl.constexpr, RESET: tl.constexpr):
    """dL/d of positive counts, -dL/d of negative ones, dL/dh past the spikes; gs: dL/ds, gv: dL/dv after the reset."""
    up, down, past = gs, gs, gv
    if RESET == 'Hard':
        past = tl.where(fired(h, m, w, n, KIND), 0.0, gv)
        if not KIND.DETACH:
            lost = n.v_reset - h if KIND.V_RESET else -h
            up, down = tl.fma(gv, lost, gs), tl.fma(gv, -lost, gs)
    elif (RESET == 'Soft' or RESET == 'Bounded') and not KIND.DETACH:
        up, down = gs - gv * w.theta, gs - gv * (w.theta * n.spacing)
    return up, down, past


@triton.jit
def soft_by_theta(h, m, w, n, KIND: tl.constexpr):
    """dv/dtheta of a soft reset."""
    up, down = counts(h, m, w, n, KIND)
    return down * n.spacing - up if KIND.SIGNED else -up


@triton.jit
def slopes(h, m, w, n, KIND: tl.constexpr):
    """The sums over the levels; negative ones are open where the memory holds enough."""
    FIRST: tl.constexpr = 0.5 if KIND.FIRE == 'Integer' else 1.0
    if KIND.SINGLE or KIND.FIRE == 'MultiSpike':
        bar = w.theta + n.beta * m if KIND.FIRE == 'Adaptive' else w.theta
        p = slopes_of(h - bar, -h - n.first * w.theta, 0, FIRST, n.first, m, w, n, KIND)
    else:
        none = tl.zeros_like(h)
        p = Slopes(none, none, none, none, none, none)
        for k in range(0, n.levels):
            up, down = FIRST + k, n.first + k * n.spacing
            q = slopes_of(h - up * w.theta, -h - down * w.theta, k, up, down, m, w, n, KIND)
            ups = p.up + q.up, p.up_level + q.up_level, p.up_alpha + q.up_alpha
            downs = p.down + q.down, p.down_level + q.down_level, p.down_alpha + q.down_alpha
            p = Slopes(ups[0], ups[1], ups[2], downs[0], downs[1], downs[2])
    return p


@triton.jit
def slopes_of(z_up, z_down, k, up, down, m, w, n, KIND: tl.constexpr):
    """Those of the k-th level of either side: z from the spike, level."""
    slope, by_alpha = surrogate(z_up, w.alpha, n, KIND)
    none = tl.zeros_like(slope)
    p = Slopes(slope, up * slope, by_alpha, none, none, none)
    if KIND.SIGNED:
        back, back_alpha = surrogate(z_down, w.alpha, n, KIND)
        if KIND.MEMORY:
            back, back_alpha = tl.where(m > k, back, 0.0), tl.where(m > k, back_alpha, 0.0)
        p = Slopes(p.up, p.up_level, p.up_alpha, back, down * back, back_alpha)
    return p
