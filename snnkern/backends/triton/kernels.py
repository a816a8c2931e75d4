"""The loops over time for Triton: one program = one block of neurons, the states stay in registers.

Tensors are rows [steps, N] with N = vectors * VECTOR, which tells the compiler how rows are aligned; where they are
not, neighbouring threads take neighbouring neurons. Backward recomputes K steps into tuples of registers: an array
indexed at run time would live in local memory. h takes the place of the x that it comes from, so all K loads of x are
under way at once; those of the gradients GROUP at a time, the next ones while half of a group is still to be done.
What a neuron does not use costs nothing.
"""

import triton
import triton.language as tl

from snnkern.backends.triton.loops import recompute, step_back_at, steps_on
from snnkern.backends.triton.rows import (
    add_line,
    block_of,
    keep,
    load_chunk,
    load_line,
    load_maybe,
    load_rows,
    load_states,
    load_steps,
    load_values,
    repeat,
    row_of,
    store_states,
    store_values,
)
from snnkern.backends.triton.step import Numbers, Values

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
    neuron, xs, tensors = (own, w, n, at), (), (x, residual, coefficients, s, v_seq, total)
    if CONSTANT:
        xs = repeat(tl.load(x + at.offsets), GROUP)
    whole = T // GROUP * GROUP
    for first in range(0, whole, GROUP):
        keep(checkpoints, now, first, at, KIND, K)
        now = steps_on(tensors, xs, now, first, neuron, KIND, CONNECT, CONSTANT, GROUP, True)
    if whole < T:
        keep(checkpoints, now, whole, at, KIND, K)
        now = steps_on(tensors, xs, now, whole, neuron, KIND, CONNECT, CONSTANT, GROUP, False)
    if last is not None:
        store_states(last, 0, now, at, True, KIND)


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
    as comparisons with theta and places in memory, in registers: up to 568 spills, with it none.
    """
    at = block_of(vectors, T, inner, channels, VECTOR, BLOCK, KIND.ALIKE)
    n = Numbers(tau, v_rest, decay, levels, first_level, spacing, beta, fade, v_reset, v_min, low, high)
    own, one = Values(a, b, c, theta, alpha), (nothing + 1).to(tl.float32)
    w = load_values(own, coefficients, 0, at, KIND)
    neuron, xs = (own, w, n, at), ()
    again = Values(a, b, c, theta * one, alpha), Values(w.a, w.b, w.c, w.theta * one, w.alpha), n, at
    none = tl.zeros((BLOCK,), tl.float32)
    sums = load_states(grad_last, 0, 0.0, at, KIND), none, Values(none, none, none, none, none)
    if CONSTANT:
        xs = repeat(tl.load(x + at.offsets), 1)
    if line is not None:
        line = load_line(line, at, KIND)
    tensors = grad_v_seq, grad_sum, coefficients, line, grad_x, partials
    for i in range(0, T, K):
        first = (T - 1) // K * K - i
        now = load_chunk(state, checkpoints, first // K, v_reset, at, KIND)
        kept = recompute(x, xs, coefficients, now, first, neuron, KIND, CONSTANT, K)
        t = first + (K - 1) + nothing
        to = row_of(x if CONSTANT or grad_x is None else grad_x, t, at)
        place = row_of(grad_s, t - (GROUP - 1), at)
        ahead, gs, gvs, more = load_rows(place, T - (t - (GROUP - 1)), at, GROUP, False), (), (), ()
        for j in tl.static_range(K - 1, -1, -1):
            if j % GROUP == GROUP - 1:
                gs, gvs = ahead, load_maybe(grad_v_seq, t - (GROUP - 1), at, GROUP)
                more = load_maybe(grad_sum, t - (GROUP - 1), at, GROUP)
            if j % GROUP == GROUP // 2 - 1 and j > GROUP:
                place -= GROUP * at.N
                ahead = load_rows(place, T - (t - (GROUP + GROUP // 2 - 1)), at, GROUP, False)
            if t < T:
                sums = step_back_at(tensors, gs, gvs, more, kept[j], t, to, sums, again, KIND, CONSTANT, j % GROUP)
            t, to = t - 1, to - at.N
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
        xs = load_steps(row_of(x, first, at), first, at, GROUP)
        origin = tl.where(first == 0, xs[0].to(tl.float32), origin)
        for j in tl.static_range(GROUP):
            t = first + j
            above = tl.where(t < T, xs[j].to(tl.float32) - origin, mean)
            change = above - mean
            mean += change * tl.div_rn(1.0, (t + 1).to(tl.float32))
            deviation += change * (above - mean)
    tl.store(out + at.offsets, origin + mean, at.inside)
    tl.store(out + at.N + at.offsets, deviation, at.inside)
