"""Loads and stores of the Triton kernels: rows of states, steps, coefficients and partial sums."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, disable-error-code=assignment

from typing import Any, NamedTuple

import triton
import triton.language as tl

from snnkern.backends.triton.step import State, Values


class Block(NamedTuple):
    """The neurons of a program: N of all, their offsets in a row, whether they exist, how many steps they have (0 if
    they do not); T; columns of coefficients. Those that do not exist have the first ones' offsets, so that loads need
    no mask, which would set registers to 0 beforehand.
    """

    N: Any
    offsets: Any
    inside: Any
    steps: Any
    T: Any
    channels: Any
    columns: Any


@triton.jit
def block_of(vectors, T, inner, channels, VECTOR: tl.constexpr, BLOCK: tl.constexpr, ALIKE: tl.constexpr):
    """The neurons of this program. Their columns of the coefficients: (n // inner) % channels, unless all are alike."""
    N = vectors.to(tl.int64) * VECTOR
    start = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = start + tl.arange(0, BLOCK)
    if ALIKE:
        columns, wide = 0, 0
    else:
        size, wide = inner.to(tl.int64), channels.to(tl.int64)
        first, passed = start // size % wide, crossings(start % size, size, tl.arange(0, BLOCK))
        columns = first + passed - crossings(first, wide, passed) * wide
    inside = offsets < N
    offsets = tl.where(inside, offsets, tl.arange(0, BLOCK) % VECTOR)
    offsets = tl.max_contiguous(tl.multiple_of(offsets, VECTOR), VECTOR)
    return Block(N, offsets, inside, tl.where(inside, T, 0), T, wide, columns)


@triton.jit
def crossings(start, size, steps):
    """(start + steps) // size for start < size, in 32 bits: a 64-bit division takes 70 instructions."""
    narrow = tl.minimum(size, 1 << 30)
    base = tl.maximum(start - (size - narrow), 0)
    return (base.to(tl.uint32) + steps.to(tl.uint32)) // narrow.to(tl.uint32)


@triton.jit
def load_states(p, first, v_start, at, KIND: tl.constexpr):
    """The states in rows first, first + 1, ... of p [rows, N]; without p those that a neuron starts from."""
    v, i, m = tl.full(at.offsets.shape, v_start, tl.float32), 0.0, 0.0
    if KIND.CURRENT:
        i = tl.zeros_like(v)
    if KIND.MEMORY:
        m = tl.zeros_like(v)
    if p is not None:
        v = tl.load(p + first * at.N + at.offsets)
        if KIND.CURRENT:
            i = tl.load(p + (first + 1) * at.N + at.offsets)
        if KIND.MEMORY:
            m = tl.load(p + (first + 1 + KIND.CURRENT) * at.N + at.offsets)
    return State(v, i, m)


@triton.jit
def load_chunk(state, checkpoints, chunk, v_start, at, KIND: tl.constexpr):
    """The states before the first step of this chunk."""
    if checkpoints is None:
        now = load_states(state, 0, v_start, at, KIND)
    elif chunk == 0:
        now = load_states(state, 0, v_start, at, KIND)
    else:
        now = load_states(checkpoints, (chunk - 1) * (1 + KIND.CURRENT + KIND.MEMORY), v_start, at, KIND)
    return now


@triton.jit
def store_states(p, first, states, at, condition, KIND: tl.constexpr):
    """The states to rows first, first + 1, ... of p [rows, N] where the condition holds."""
    inside = at.inside & condition
    tl.store(p + first * at.N + at.offsets, states.v, inside)
    if KIND.CURRENT:
        tl.store(p + (first + 1) * at.N + at.offsets, states.i, inside)
    if KIND.MEMORY:
        tl.store(p + (first + 1 + KIND.CURRENT) * at.N + at.offsets, states.m, inside)


@triton.jit
def keep(checkpoints, now, first, at, KIND: tl.constexpr, K: tl.constexpr):
    """The states before step `first` to their rows of the checkpoints, if it is one of K, 2K, ..."""
    if checkpoints is not None:
        row = (first // K - 1) * (1 + KIND.CURRENT + KIND.MEMORY)
        store_states(checkpoints, row, now, at, (first > 0) & (first % K == 0), KIND)


@triton.jit
def row_of(p, t, at):
    """Where the neurons' values of step t are in p [T, N]."""
    return p + t * at.N + at.offsets


@triton.jit
def load_steps(place, first, at, COUNT: tl.constexpr, WHOLE: tl.constexpr = False):
    """COUNT steps as a tuple, of which `first` is at a place; what lies behind T is undefined. WHOLE: all are there."""
    if WHOLE:
        steps = load_rows(place, COUNT, at, COUNT, True)
    elif first + COUNT <= at.T:
        steps = load_rows(place, COUNT, at, COUNT, True)
    else:
        steps = load_rows(place, at.T - first, at, COUNT, False)
    return steps


@triton.jit
def load_maybe(p, first, at, COUNT: tl.constexpr):
    """COUNT steps of p [T, N], or none without it."""
    steps = ()
    if p is not None:
        steps = load_steps(row_of(p, first, at), first, at, COUNT)
    return steps


@triton.jit
def load_rows(place, there, at, COUNT: tl.constexpr, WHOLE: tl.constexpr):
    """COUNT rows from a place on, or those `there` are."""
    steps = ()
    for j in tl.static_range(COUNT):
        steps += (tl.load(place, None if WHOLE else j < there),)
        place += at.N
    return steps


@triton.jit
def repeat(value, COUNT: tl.constexpr):
    """A tuple of the same value."""
    steps = ()
    for _ in tl.static_range(COUNT):
        steps += (value,)
    return steps


@triton.jit
def load_value(own, coefficients, t, at, SLOT: tl.constexpr, KIND: tl.constexpr):
    """A number of step t: its own, or from its row of the coefficients [P, 1|T, 1|C]."""
    value = own[SLOT]
    if KIND.ROWS[SLOT] >= 0:
        row = KIND.ROWS[SLOT] * at.T + t if KIND.VARYING else KIND.ROWS[SLOT]
        if KIND.ALIKE:
            value = tl.load(coefficients + row, t < at.T)
        else:
            value = tl.load(coefficients + row * at.channels + at.columns, t < at.T)
    return value


@triton.jit
def load_line(line, at, KIND: tl.constexpr):
    """The two numbers of each neuron's line [2, 1|C]."""
    if KIND.ALIKE:
        slope, start = tl.load(line), tl.load(line + 1)
    else:
        slope = tl.load(line + at.columns)
        start = tl.load(line + at.channels + at.columns)
    return slope, start


@triton.jit
def add_line(value, line, x):
    """value + slope * x + start."""
    return value + (line[0] * x.to(tl.float32) + line[1])


@triton.jit
def load_values(own, coefficients, t, at, KIND: tl.constexpr):
    """The numbers of step t."""
    return Values(
        load_value(own, coefficients, t, at, 0, KIND),
        load_value(own, coefficients, t, at, 1, KIND),
        load_value(own, coefficients, t, at, 2, KIND),
        load_value(own, coefficients, t, at, 3, KIND),
        load_value(own, coefficients, t, at, 4, KIND),
    )


@triton.jit
def store_values(p, values, t, at, condition, KIND: tl.constexpr):
    """Partial sums to their rows of p [P * (1|T), N] where the condition holds."""
    for slot in tl.static_range(5):
        if KIND.ROWS[slot] >= 0:
            row = KIND.ROWS[slot] * at.T + t if KIND.VARYING else KIND.ROWS[slot]
            tl.store(p + row * at.N + at.offsets, values[slot], at.inside & condition)


@triton.jit
def add_values(sums, values):
    """Their sums."""
    return Values(
        sums.a + values.a,
        sums.b + values.b,
        sums.c + values.c,
        sums.theta + values.theta,
        sums.alpha + values.alpha,
    )
