"""Loads and stores of the Triton kernels: rows of states, steps, coefficients and partial sums."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, disable-error-code=assignment

from typing import Any, NamedTuple

import triton
import triton.language as tl

from snnkern.backends.triton.step import State, Values


class Block(NamedTuple):
    """The neurons of a program: N of all, their offsets in a row, whether they exist; T; columns of coefficients."""

    N: Any
    offsets: Any
    inside: Any
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
    return Block(N, offsets, offsets < N, T, wide, columns)


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
        v = tl.load(p + first * at.N + at.offsets, at.inside, 0.0)
        if KIND.CURRENT:
            i = tl.load(p + (first + 1) * at.N + at.offsets, at.inside, 0.0)
        if KIND.MEMORY:
            m = tl.load(p + (first + 1 + KIND.CURRENT) * at.N + at.offsets, at.inside, 0.0)
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
def choose(condition, new, old, KIND: tl.constexpr):
    """New states where the condition holds, else old ones."""
    i = tl.where(condition, new.i, old.i) if KIND.CURRENT else old.i
    m = tl.where(condition, new.m, old.m) if KIND.MEMORY else old.m
    return State(tl.where(condition, new.v, old.v), i, m)


@triton.jit
def load_steps(p, first, at, COUNT: tl.constexpr):
    """COUNT steps of p [T, N] as a tuple."""
    steps, row = (), first * at.N
    for j in tl.static_range(COUNT):
        steps += (tl.load(p + (row + j * at.N) + at.offsets, at.inside & (first + j < at.T), 0.0),)
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
            value = tl.load(coefficients + row, t < at.T, 0.0)
        else:
            value = tl.load(coefficients + row * at.channels + at.columns, at.inside & (t < at.T), 0.0)
    return value


@triton.jit
def load_line(line, at, KIND: tl.constexpr):
    """The two numbers of each neuron's line [2, 1|C]."""
    if KIND.ALIKE:
        slope, start = tl.load(line), tl.load(line + 1)
    else:
        slope = tl.load(line + at.columns, at.inside, 0.0)
        start = tl.load(line + at.channels + at.columns, at.inside, 0.0)
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
def add_values(sums, values, condition):
    """Sums of values where the condition holds."""
    return Values(
        sums.a + tl.where(condition, values.a, 0.0),
        sums.b + tl.where(condition, values.b, 0.0),
        sums.c + tl.where(condition, values.c, 0.0),
        sums.theta + tl.where(condition, values.theta, 0.0),
        sums.alpha + tl.where(condition, values.alpha, 0.0),
    )
