"""The loops over time for Triton: one program = one block of neurons, the states stay in registers.

Tensors are rows [steps, N] with N = vectors * VECTOR, which tells the compiler how rows are aligned. GROUP
steps are loaded into a tuple of registers before the first of them is stored, since the compiler cannot know
that stores leave x alone: so GROUP loads are under way at once. Backward recomputes K steps into tuples of
registers too: an array indexed at run time would live in local memory. What a neuron does not use of them costs
nothing. Steps at or behind T are masked.
"""

import triton
import triton.language as tl

from snnkern.backends.triton.rows import (
    add_line,
    add_values,
    block_of,
    choose,
    load_chunk,
    load_line,
    load_states,
    load_steps,
    load_values,
    repeat,
    store_states,
    store_values,
)
from snnkern.backends.triton.step import Numbers, State, Values, step, step_back

# Not specialised: T = 1 or a multiple of 16 would be variants of their own.
RUN_TIME = ['T', 'levels', 'vectors', 'inner', 'channels', 'nothing']


@triton.jit(do_not_specialize=RUN_TIME)
def forward(
    x,
    state,
    coefficients,
    residual,
    s,
    last,
    v_seq,
    total,
    checkpoints,
    vectors,
    T,
    inner,
    channels,
    a,
    b,
    c,
    theta,
    tau,
    v_rest,
    decay,
    levels,
    first_level,
    spacing,
    beta,
    fade,
    v_reset,
    v_min,
    KIND: tl.constexpr,
    CONNECT: tl.constexpr,
    CONSTANT: tl.constexpr,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """s, and where they are wanted last [S, N], v_seq [T, N] and checkpoints: the states before steps K, 2K, ...

    total: what neurons see [T, N]. CONNECT: what the residual is added to, of CONNECTS in neurons.py.
    """
    at = block_of(vectors, T, inner, channels, VECTOR, BLOCK, KIND.ALIKE)
    n = Numbers(tau, v_rest, decay, levels, first_level, spacing, beta, fade, v_reset, v_min, 0.0, 0.0)
    own = Values(a, b, c, theta, 0.0)
    w = load_values(own, coefficients, 0, at, KIND)
    now = load_states(state, 0, v_reset, at, KIND)
    if CONSTANT:
        xs = repeat(tl.load(x + at.offsets, at.inside, 0.0), GROUP)
    for first in range(0, T, GROUP):
        if checkpoints is not None:
            row = (first // K - 1) * (1 + KIND.CURRENT + KIND.MEMORY)
            store_states(checkpoints, row, now, at, (first > 0) & (first % K == 0), KIND)
        if not CONSTANT:
            xs = load_steps(x, first, at, GROUP)
        if residual is not None:
            more = load_steps(residual, first, at, GROUP)
        for j in tl.static_range(GROUP):
            t, seen = first + j, xs[j]
            place, inside = t * at.N + at.offsets, at.inside & (t < T)
            if KIND.VARYING:
                w = load_values(own, coefficients, t, at, KIND)
            if residual is not None and CONNECT == 'ms':
                seen = (seen.to(tl.float32) + more[j].to(tl.float32)).to(seen.dtype)
            if total is not None:
                tl.store(total + place, seen, inside)
            _, out, new, _, _ = step(now, seen.to(tl.float32), w, n, KIND)
            now = choose(t < T, new, now, KIND)
            if residual is not None and CONNECT == 'sew':
                out += more[j].to(tl.float32)
            tl.store(s + place, out.to(s.dtype.element_ty), inside)
            if v_seq is not None:
                tl.store(v_seq + place, now.v, inside)
    if last is not None:
        store_states(last, 0, now, at, True, KIND)


@triton.jit
def recompute(
    x,
    xs,
    coefficients,
    now,
    first,
    own,
    w,
    n,
    at,
    KIND: tl.constexpr,
    CONSTANT: tl.constexpr,
    K: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Of each of K steps from `first` on: h, the state before, dh/da, dh/db and x. now: the state before them all."""
    kept = ()
    for start in tl.static_range(0, K, GROUP):
        if not CONSTANT:
            xs = load_steps(x, first + start, at, GROUP)
        for j in tl.static_range(GROUP):
            if KIND.VARYING:
                w = load_values(own, coefficients, first + start + j, at, KIND)
            before = now
            h, _, now, by_a, by_b = step(before, xs[j].to(tl.float32), w, n, KIND)
            kept += ((h, before, by_a, by_b, xs[j]),)
    return kept


@triton.jit
def steps_back(
    grad_s,
    grad_v_seq,
    grad_sum,
    coefficients,
    line,
    grad_x,
    partials,
    kept,
    first,
    sums,
    own,
    w,
    n,
    one,
    at,
    KIND: tl.constexpr,
    CONSTANT: tl.constexpr,
    START: tl.constexpr,
    GROUP: tl.constexpr,
):
    """GROUP steps from `first` on, which are kept[START], ...; sums: dL/d of the state, of a constant x, of values."""
    back, total, added = sums
    gs, row = load_steps(grad_s, first, at, GROUP), first * at.N
    if grad_v_seq is not None:
        gvs = load_steps(grad_v_seq, first, at, GROUP)
    if grad_sum is not None:
        more = load_steps(grad_sum, first, at, GROUP)
    for j in tl.static_range(GROUP - 1, -1, -1):
        t, there = first + j, first + j < at.T
        if KIND.VARYING:
            w = load_values(own, coefficients, t, at, KIND)
        h, before, by_a, by_b, seen = kept[START + j]
        before = State(before.v * one, before.i, before.m * one)
        after = back if grad_v_seq is None else State(back.v + gvs[j], back.i, back.m)
        gx, new, values = step_back(gs[j].to(tl.float32), after, h * one, before, by_a, by_b, w, n, KIND)
        back = choose(there, new, back, KIND)
        if partials is not None and KIND.VARYING:
            store_values(partials, values, t, at, there, KIND)
        elif partials is not None:
            added = add_values(added, values, there)
        if grad_sum is not None:
            gx += more[j].to(tl.float32)
        if CONSTANT:
            total += tl.where(there, gx, 0.0)
        elif grad_x is not None:
            if line is not None:
                gx = add_line(gx, line, seen)
            place = (row + j * at.N) + at.offsets
            tl.store(grad_x + place, gx.to(grad_x.dtype.element_ty), at.inside & there)
    return back, total, added


@triton.jit(do_not_specialize=RUN_TIME)
def backward(
    grad_s,
    grad_last,
    grad_v_seq,
    grad_sum,
    x,
    state,
    coefficients,
    checkpoints,
    line,
    grad_x,
    grad_state,
    partials,
    vectors,
    T,
    inner,
    channels,
    a,
    b,
    c,
    theta,
    tau,
    v_rest,
    decay,
    levels,
    first_level,
    spacing,
    beta,
    fade,
    v_reset,
    v_min,
    alpha,
    low,
    high,
    nothing,
    KIND: tl.constexpr,
    CONSTANT: tl.constexpr,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Where they are wanted grad_x, grad_state [S, N] and partials; chunks of K steps, the last one first.

    nothing: 0, which the compiler cannot know. Else it keeps what the two passes over a chunk have in common, such
    as counts of spikes and places in memory, in registers: up to 568 spills, with it none.
    """
    at = block_of(vectors, T, inner, channels, VECTOR, BLOCK, KIND.ALIKE)
    n = Numbers(tau, v_rest, decay, levels, first_level, spacing, beta, fade, v_reset, v_min, low, high)
    own, one = Values(a, b, c, theta, alpha), (nothing + 1).to(tl.float32)
    w = load_values(own, coefficients, 0, at, KIND)
    none, xs = tl.zeros((BLOCK,), tl.float32), ()
    sums = load_states(grad_last, 0, 0.0, at, KIND), none, Values(none, none, none, none, none)
    if CONSTANT:
        xs = repeat(tl.load(x + at.offsets, at.inside, 0.0), GROUP)
    if line is not None:
        line = load_line(line, at, KIND)
    for i in range(0, T, K):
        first = (T - 1) // K * K - i
        now = load_chunk(state, checkpoints, first // K, v_reset, at, KIND)
        kept = recompute(x, xs, coefficients, now, first, own, w, n, at, KIND, CONSTANT, K, GROUP)
        tensors = grad_s, grad_v_seq, grad_sum, coefficients, line, grad_x, partials
        for start in tl.static_range(K - GROUP, -1, -GROUP):
            group = first + start + nothing
            if group < T:
                sums = steps_back(*tensors, kept, group, sums, own, w, n, one, at, KIND, CONSTANT, start, GROUP)
    back, total, added = sums
    if CONSTANT and grad_x is not None:
        if line is not None:
            total = add_line(total, line, xs[0])  # type: ignore[misc]
        tl.store(grad_x + at.offsets, total.to(grad_x.dtype.element_ty), at.inside)
    if grad_state is not None:
        store_states(grad_state, 0, back, at, True, KIND)
    if partials is not None and not KIND.VARYING:
        store_values(partials, added, 0, at, True, KIND)


@triton.jit(do_not_specialize=RUN_TIME)
def moments(x, out, vectors, T, GROUP: tl.constexpr, VECTOR: tl.constexpr, BLOCK: tl.constexpr):
    """out [2, N]: mean and sum of squared deviations of each neuron over its T steps.

    Welford's recurrence, of differences from the first step: a mean far larger than the deviations takes no digits
    from them.
    """
    at = block_of(vectors, T, 1, 1, VECTOR, BLOCK, True)
    origin = tl.zeros((BLOCK,), tl.float32)
    mean, deviation = origin, origin
    for first in range(0, T, GROUP):
        xs = load_steps(x, first, at, GROUP)
        origin = tl.where(first == 0, xs[0].to(tl.float32), origin)
        for j in tl.static_range(GROUP):
            t = first + j
            above = xs[j].to(tl.float32) - origin
            change = tl.where(t < T, above - mean, 0.0)
            mean += change * tl.div_rn(1.0, (t + 1).to(tl.float32))
            deviation += change * (above - mean)
    tl.store(out + at.offsets, origin + mean, at.inside)
    tl.store(out + at.N + at.offsets, deviation, at.inside)
