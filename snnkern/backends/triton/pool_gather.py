"""Backward of the pools for Triton: each cell gathers from the windows that it won, which `pool_kernels` told."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# mypy: disable-error-code="assignment, attr-defined"

from typing import Any, NamedTuple

import triton
import triton.language as tl

from snnkern.backends.triton.pool_kernels import geometry, lanes, spot


class Near(NamedTuple):
    """The last window that a cell may be in: its row, column and place, and where in it the cell is; whether there is a
    cell.
    """

    row: Any
    col: Any
    place: Any
    y: Any
    x: Any
    there: Any


@triton.jit
def near(i, there, g):
    """`Near` of cell i."""
    outer, row, col, channel = spot(i, g.rows, g.cols, g.inner)
    row, col = row + g.padding, col + g.padding_x
    last, last_x = row // g.stride, col // g.stride_x
    place = ((outer * g.out_rows + last) * g.out_cols + last_x) * g.inner + channel
    return Near(last, last_x, place, row % g.stride, col % g.stride_x, there)


@triton.jit
def passed(grad, which, now, later, outputs, cell, up, left, g, kernel, kernel_x, LATERAL: tl.constexpr):
    """What comes to a cell from the window that is `up` and `left` of the last one. grad, which: of this step; now,
    later: whether it has a gradient, and the step after it.
    """
    y, x = cell.y + up * g.stride, cell.x + left * g.stride_x
    ky, kx = y // g.dilation, x // g.dilation_x
    mine = cell.there & (cell.row - up < g.out_rows) & (cell.col - left < g.out_cols)
    mine &= (ky < kernel) & (kx < kernel_x) & (ky * g.dilation == y) & (kx * g.dilation_x == x)
    place = cell.place - (up * g.out_cols + left) * g.inner
    mine &= tl.load(which + place, mine, 0).to(tl.uint32) == ky * kernel_x + kx
    value = tl.load(grad + place, mine & now, 0.0).to(tl.float32)
    if LATERAL:
        value -= tl.load(grad + outputs + place, mine & later, 0.0).to(tl.float32)
    return value


@triton.jit(do_not_specialize=['T'])
def gather(
    grad,
    grad_last,
    which,
    grad_x,
    grad_state,
    T,
    N,
    outputs,
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
    ups,
    lefts,
    FEW: tl.constexpr,
    LATERAL: tl.constexpr,
    EXTRA: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A cell's gradients of all steps from the windows that it won; row EXTRA + t of `which` belongs to step t. It may
    be in `ups` x `lefts` windows, which FEW states if they are few.
    """
    g = (rows, cols, out_rows, out_cols, stride, stride_x, padding, padding_x, dilation, dilation_x, inner)
    g = geometry(g, WIDE)
    i, there = lanes(N, BLOCK, WIDE)
    cell = near(i, there, g)
    total = tl.zeros((BLOCK,), tl.float32)
    if grad_last is not None:
        total = tl.load(grad_last + i, there, 0.0) / scale
    for step in range(0, T + EXTRA):
        t = (T - 1 - step).to(tl.int64)
        if not LATERAL:
            total = tl.zeros((BLOCK,), tl.float32)
        rows_of = grad + t * outputs, which + (t + EXTRA) * outputs, t >= 0, t + 1 < T
        if FEW is None:
            for up in range(0, ups):
                for left in range(0, lefts):
                    total += passed(*rows_of, outputs, cell, up, left, g, kernel, kernel_x, LATERAL)
        else:
            for j in tl.static_range(FEW[0] * FEW[1]):
                total += passed(*rows_of, outputs, cell, j // FEW[1], j % FEW[1], g, kernel, kernel_x, LATERAL)
        tl.store(grad_x + t * N + i, total.to(grad_x.dtype.element_ty), there & (t >= 0))
    if grad_state is not None:
        tl.store(grad_state + i, total * scale, there)
