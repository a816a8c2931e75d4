"""The pools for Triton: a lane is a window, or a cell, and all steps of it.

Windows of few cells (STEPS = 0) keep their counts in tuples of registers; larger ones take one launch a step, with the
counts in memory. Backward knows which tap won from a first kernel, and each cell gathers: no atomics.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# mypy: disable-error-code="assignment, union-attr, attr-defined, call-arg"

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Geometry(NamedTuple):
    """The numbers of a `window.Axis` for rows and columns, and channels that are together in memory."""

    rows: Any
    cols: Any
    out_rows: Any
    out_cols: Any
    stride: Any
    stride_x: Any
    padding: Any
    padding_x: Any
    dilation: Any
    dilation_x: Any
    inner: Any


class Best(NamedTuple):
    """The winner of each window so far: its key, its value, its tap, and whether there is one."""

    key: Any
    value: Any
    tap: Any
    there: Any


@triton.jit
def lanes(N, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """The numbers of this program's windows or cells, and whether they exist. Unsigned, so that what is below 0 is not
    below a size either, and in 32 bits unless WIDE: a division in 64 takes 70 instructions.
    """
    INDEX: tl.constexpr = tl.uint64 if WIDE else tl.uint32
    i = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK).to(INDEX)
    return i, i < N


@triton.jit
def geometry(sizes, WIDE: tl.constexpr):
    """Sizes like the numbers of `lanes`."""
    INDEX: tl.constexpr = tl.uint64 if WIDE else tl.uint32
    found = ()
    for k in tl.static_range(11):
        found += (tl.cast(sizes[k], INDEX),)
    return Geometry(*found)


@triton.jit
def spot(i, rows, cols, inner):
    """Where i is in [outer, rows, cols, inner]: outer, row, column, channel."""
    rest = i // inner
    return rest // cols // rows, rest // cols % rows, rest % cols, i % inner


@triton.jit
def cell_of(i, ky, kx, g):
    """The place of tap (ky, kx) of window i in a step of x, and whether it is inside."""
    outer, row, col, channel = spot(i, g.out_rows, g.out_cols, g.inner)
    y = row * g.stride - g.padding + ky * g.dilation
    x = col * g.stride_x - g.padding_x + kx * g.dilation_x
    inside = (y < g.rows) & (x < g.cols)
    return ((outer * g.rows + y) * g.cols + x) * g.inner + channel, inside


@triton.jit
def spikes_of(x, scale):
    """The nearest whole number of spikes, halves to even, by an addition that rounds."""
    return (tl.div_rn(x, scale) + 12582912.0) - 12582912.0


@triton.jit
def nobody(like):
    """No winner yet."""
    none = tl.zeros_like(like)
    return Best(none, none, none.to(tl.int32), none != none)


@triton.jit
def offer(best, key, value, tap, inside):
    """The first of the largest keys wins, of equal keys the largest value; a NaN always does."""
    more = (key > best.key) | (key != key) | ((key == best.key) & (value > best.value))
    won = inside & (more | ~best.there)
    key, value = tl.where(won, key, best.key), tl.where(won, value, best.value)
    return Best(key, value, tl.where(won, tap, best.tap), best.there | inside)


@triton.jit(do_not_specialize=['T'])
def windows(
    x,
    counts,
    out,
    which,
    T,
    N,
    cells,
    scale,
    rows,
    cols,
    out_rows,
    out_cols,
    stride,
    stride_x,
    padding,
    padding_x,
    dilation,
    dilation_x,
    inner,
    KW: tl.constexpr,
    TAPS: tl.constexpr,
    BY_VALUE: tl.constexpr,
    BACK: tl.constexpr,
    EXTRA: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Forward: what windows emit; BACK: which tap wins in each step, from the last one on. counts: where it begins."""
    g = (rows, cols, out_rows, out_cols, stride, stride_x, padding, padding_x, dilation, dilation_x, inner)
    g = geometry(g, WIDE)
    i, there = lanes(N, BLOCK, WIDE)
    held, start = (), nobody(i.to(tl.float32))
    for k in tl.static_range(TAPS):
        cell, inside = cell_of(i, k // KW, k % KW, g)
        inside &= there
        c = tl.zeros((BLOCK,), tl.float32)
        if counts is not None:
            c = tl.load(counts + cell, inside, 0.0)
        held += (c,)
        start = offer(start, c, c * 0.0, k, inside)
    before = start.key
    for step in range(0, T):
        t = (T - 1 - step if BACK else step).to(tl.int64)
        best, new = nobody(before), ()
        for k in tl.static_range(TAPS):
            cell, inside = cell_of(i, k // KW, k % KW, g)
            inside &= there
            value = tl.load(x + t * cells + cell, inside, 0.0).to(tl.float32)
            spikes = spikes_of(value, scale)
            c = held[k] - spikes if BACK else held[k] + spikes
            best = offer(best, held[k] if BACK else c, value if BY_VALUE else spikes * 0.0, k, inside)
            new += (c,)
        held = new
        if BACK:
            tl.store(which + (t + EXTRA) * N + i, best.tap.to(which.dtype.element_ty), there)
        else:
            emitted = best.value if BY_VALUE else (best.key - before) * scale
            tl.store(out + t * N + i, emitted.to(out.dtype.element_ty), there)
        before = best.key
    if EXTRA:
        best = nobody(before)
        for k in tl.static_range(TAPS):
            _, inside = cell_of(i, k // KW, k % KW, g)
            best = offer(best, held[k], held[k] * 0.0, k, inside)
        tl.store(which + i, best.tap.to(which.dtype.element_ty), there)


@triton.jit
def one_step(
    x,
    counts,
    out,
    which,
    N,
    scale,
    rows,
    cols,
    out_rows,
    out_cols,
    stride,
    stride_x,
    padding,
    padding_x,
    dilation,
    dilation_x,
    inner,
    kernel,
    kernel_x,
    BY_VALUE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A step of windows of any size: what they emit, or which tap wins by the counts as they are.

    counts: before the step in forward, after it in backward; None in plain pools. x: None at the very start.
    """
    g = (rows, cols, out_rows, out_cols, stride, stride_x, padding, padding_x, dilation, dilation_x, inner)
    g = geometry(g, WIDE)
    i, there = lanes(N, BLOCK, WIDE)
    best, before = nobody(i.to(tl.float32)), nobody(i.to(tl.float32))
    for ky in range(0, kernel):
        for kx in range(0, kernel_x):
            cell, inside = cell_of(i, ky, kx, g)
            inside &= there
            value = tl.zeros((BLOCK,), tl.float32)
            if x is not None:
                value = tl.load(x + cell, inside, 0.0).to(tl.float32)
            key = value
            if counts is not None:
                key = tl.load(counts + cell, inside, 0.0)
                if out is not None:
                    before = offer(before, key, key * 0.0, 0, inside)
                    key += spikes_of(value, scale)
            best = offer(best, key, value if BY_VALUE else value * 0.0, ky * kernel_x + kx, inside)
    if which is not None:
        tl.store(which + i, best.tap.to(which.dtype.element_ty), there)
    if out is not None:
        emitted = best.key
        if BY_VALUE:
            emitted = best.value
        elif counts is not None:
            emitted = (best.key - before.key) * scale
        tl.store(out + i, emitted.to(out.dtype.element_ty), there)


@triton.jit(do_not_specialize=['T'])
def count(x, start, to, T, N, scale, SIGN: tl.constexpr, BLOCK: tl.constexpr):
    """to = start (None: 0) + SIGN * the spikes of T steps."""
    i, there = lanes(N, BLOCK, True)
    total = tl.zeros((BLOCK,), tl.float32)
    if start is not None:
        total = tl.load(start + i, there, 0.0)
    for t in range(0, T):
        total += SIGN * spikes_of(tl.load(x + t.to(tl.int64) * N + i, there, 0.0).to(tl.float32), scale)
    tl.store(to + i, total, there)
