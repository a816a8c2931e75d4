"""The two loops over time for Triton: one program = one block of neurons, the membrane stays in registers.

Tensors are rows [steps, N] with N = vectors * VECTOR, which tells the compiler how rows are aligned. GROUP
steps are loaded into a tuple of registers before the first of them is stored, since the compiler cannot know
that stores leave x alone: so GROUP loads are under way at once. Backward recomputes K potentials, a tuple of
registers too: an array indexed at run time would live in local memory. Steps at or behind T are masked.
"""

import triton
import triton.language as tl

from snnkern.backends import triton_math as math

# Specialised on neither: T = 1 or a multiple of 16 would be variants of their own.
RUN_TIME = ['T', 'levels', 'vectors']


@triton.jit
def load_state(state, v_start, offsets, inside, BLOCK: tl.constexpr):
    """The potentials before the first step."""
    if state is None:
        v = tl.full((BLOCK,), v_start, tl.float32)
    else:
        v = tl.load(state + offsets, inside, 0.0)
    return v


@triton.jit
def load_chunk(state, checkpoints, v_start, first, N, offsets, inside, K: tl.constexpr, BLOCK: tl.constexpr):
    """The potentials before step `first`, a multiple of K."""
    if checkpoints is None:
        v = load_state(state, v_start, offsets, inside, BLOCK)
    elif first == 0:
        v = load_state(state, v_start, offsets, inside, BLOCK)
    else:
        v = tl.load(checkpoints + (first // K - 1) * N + offsets, inside, 0.0)
    return v


@triton.jit
def load_steps(p, first, T, N, offsets, inside, COUNT: tl.constexpr):
    """COUNT steps of p [T, N] as a tuple."""
    steps = ()
    for j in tl.static_range(COUNT):
        steps += (tl.load(p + (first + j) * N + offsets, inside & (first + j < T), 0.0),)
    return steps


@triton.jit
def repeat(value, COUNT: tl.constexpr):
    """A tuple of the same value."""
    steps = ()
    for _ in tl.static_range(COUNT):
        steps += (value,)
    return steps


@triton.jit(do_not_specialize=RUN_TIME)
def forward(
    x,
    state,
    s,
    last,
    checkpoints,
    vectors,
    T,
    v_start,
    v_rest,
    tau,
    v_threshold,
    levels,
    v_reset,
    CHARGE: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    FIRE: tl.constexpr,
    REAL_UNITS: tl.constexpr,
    RESET: tl.constexpr,
    POWER_OF_2_TAU: tl.constexpr,
    POWER_OF_2_THRESHOLD: tl.constexpr,
    CONSTANT: tl.constexpr,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """s, and where they are wanted last [1, N] and checkpoints: v before steps K, 2K, ..."""
    N = vectors.to(tl.int64) * VECTOR
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < N
    v = load_state(state, v_start, offsets, inside, BLOCK)
    if CONSTANT:
        xs = repeat(tl.load(x + offsets, inside, 0.0), GROUP)
    for first in range(0, T, GROUP):
        if checkpoints is not None:
            chunk_start = (first > 0) & (first % K == 0)
            tl.store(checkpoints + (first // K - 1) * N + offsets, v, inside & chunk_start)
        if not CONSTANT:
            xs = load_steps(x, first, T, N, offsets, inside, GROUP)
        for j in tl.static_range(GROUP):
            t = first + j
            h = math.charge(v, xs[j].to(tl.float32), v_rest, tau, CHARGE, DECAY_INPUT, POWER_OF_2_TAU)
            count = math.spikes(h, v_threshold, levels, FIRE, POWER_OF_2_THRESHOLD)
            v = tl.where(t < T, math.reset(h, count, v_threshold, v_reset, RESET), v)
            out = count * v_threshold if REAL_UNITS else count
            tl.store(s + t * N + offsets, out.to(s.dtype.element_ty), inside & (t < T))
    if last is not None:
        tl.store(last + offsets, v, inside)


@triton.jit(do_not_specialize=RUN_TIME)
def backward(
    grad_s,
    grad_last,
    x,
    state,
    checkpoints,
    grad_x,
    grad_state,
    vectors,
    T,
    v_start,
    v_rest,
    tau,
    v_threshold,
    levels,
    v_reset,
    alpha,
    CHARGE: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    FIRE: tl.constexpr,
    REAL_UNITS: tl.constexpr,
    RESET: tl.constexpr,
    DETACH: tl.constexpr,
    SURROGATE: tl.constexpr,
    POWER_OF_2_TAU: tl.constexpr,
    POWER_OF_2_THRESHOLD: tl.constexpr,
    CONSTANT: tl.constexpr,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad_x, and grad_state [1, N] where it is wanted; chunks of K steps, the last one first."""
    N = vectors.to(tl.int64) * VECTOR
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < N
    gv = load_state(grad_last, 0.0, offsets, inside, BLOCK)
    if CONSTANT:
        xs = repeat(tl.load(x + offsets, inside, 0.0), GROUP)
        total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, T, K):
        first = (T - 1) // K * K - i
        v = load_chunk(state, checkpoints, v_start, first, N, offsets, inside, K, BLOCK)
        hs = ()
        for start in tl.static_range(0, K, GROUP):
            if not CONSTANT:
                xs = load_steps(x, first + start, T, N, offsets, inside, GROUP)
            for j in tl.static_range(GROUP):
                h = math.charge(v, xs[j].to(tl.float32), v_rest, tau, CHARGE, DECAY_INPUT, POWER_OF_2_TAU)
                count = math.spikes(h, v_threshold, levels, FIRE, POWER_OF_2_THRESHOLD)
                v = math.reset(h, count, v_threshold, v_reset, RESET)
                hs += (h,)
        for start in tl.static_range(K - GROUP, -1, -GROUP):
            gs = load_steps(grad_s, first + start, T, N, offsets, inside, GROUP)
            for j in tl.static_range(GROUP - 1, -1, -1):
                h, t = hs[start + j], first + start + j
                through_s, through_h = math.reset_grads(gv, h, v_threshold, v_reset, RESET)
                g = gs[j].to(tl.float32)
                g = g * v_threshold if REAL_UNITS else g
                g = g if DETACH else g + through_s
                slope = math.spikes_slope(h, v_threshold, levels, alpha, FIRE, SURROGATE)
                before, gx = math.charge_grads(g * slope + through_h, tau, CHARGE, DECAY_INPUT)
                gv = tl.where(t < T, before, gv)
                if CONSTANT:
                    total += tl.where(t < T, gx, 0.0)
                else:
                    out = gx.to(grad_x.dtype.element_ty)
                    tl.store(grad_x + t * N + offsets, out, inside & (t < T))
    if CONSTANT:
        tl.store(grad_x + offsets, total.to(grad_x.dtype.element_ty), inside)
    if grad_state is not None:
        tl.store(grad_state + offsets, gv, inside)
