"""The pools for Triton (pool_kernels.py, pool_gather.py): what is launched.

Numbers compile nothing, windows of few cells do.
"""

from typing import Any

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.triton.device import on_device, options
from snnkern.backends.window import Pool

FEW = 9  # cells of a window whose counts stay in registers, and windows of a cell that are looked at at once
BLOCK = 128
NARROW = 2**31 - BLOCK  # cells or windows of a step that 32 bits count, up to the end of the last program
Maybe = Tensor | None


def _geometry(x: Tensor, pool: Pool) -> tuple[int, ...]:
    """`pool_kernels.Geometry`."""
    rows, cols = pool.axes(x)
    pairs = zip(rows, cols, strict=True)
    size, out, _, stride, padding, dilation = pairs
    return *size, *out, *stride, *padding, *dilation, x.shape[-3] if layout.channels_last(x) else 1


def _launch(kernel: Any, n: int, *arguments: Any, **kind: Any) -> None:
    grid = (-(-n // BLOCK),)
    kernel[grid](*arguments, **kind, BLOCK=BLOCK, **options())


def _steps(x: Tensor, pool: Pool) -> tuple[int, int, int]:
    """T, cells of a step and its windows; without counts all steps are like one."""
    rows, cols = pool.axes(x)
    T = x.shape[0] if pool.counts else 1
    cells = x.numel() // T
    return T, cells, cells // (rows.size * cols.size) * rows.out * cols.out


def _wide(x: Tensor, pool: Pool) -> bool:
    """Whether indices within a step need 64 bits."""
    return max(*_steps(x, pool)[1:], *_geometry(x, pool)) > NARROW


def pool2d_fwd(x: Tensor, state: Maybe, pool: Pool, want_state: bool) -> tuple[Tensor, Maybe]:
    """What the windows let through, and the counts after the last step [1, ...]."""
    rows, cols = pool.axes(x)
    out = layout.new_like(layout.pooled(x, rows.out, cols.out), x.shape[0])
    last = layout.new_like(x, 1, torch.float32) if want_state else None
    if not out.numel():
        return out, last
    from snnkern.backends.triton import pool_kernels as kernels

    (T, cells, windows), geometry = _steps(x, pool), _geometry(x, pool)
    common: dict[str, Any] = {'BY_VALUE': pool.mode == 'spike_max', 'WIDE': _wide(x, pool)}
    with on_device(x):
        if pool.counts and pool.taps <= FEW:
            kind = {'KW': pool.kernel[1], 'TAPS': pool.taps, 'BACK': False, 'EXTRA': False, **common}
            _launch(kernels.windows, windows, x, state, out, None, T, windows, cells, pool.scale, *geometry, **kind)
            if last is not None:
                _launch(kernels.count, cells, x, state, last, T, cells, pool.scale, SIGN=1)
            return out, last
        counts = last
        if pool.counts:
            counts = layout.new_like(x, 1, torch.float32) if last is None else last
            _launch(kernels.count, cells, x, state, counts, 0, cells, pool.scale, SIGN=1)
        for t in range(T):
            rest = windows, pool.scale, *geometry, *pool.kernel
            now, to = (x[t], out[t]) if pool.counts else (x, out)
            _launch(kernels.one_step, windows, now, counts, to, None, *rest, **common)
            if pool.counts:
                _launch(kernels.count, cells, now, counts, counts, 1, cells, pool.scale, SIGN=1)
    return out, last


def _winners(x: Tensor, last: Maybe, pool: Pool, extra: bool) -> Tensor:
    """Which tap wins each window, [T, windows]; with `extra` the row before says it of the counts at the start."""
    from snnkern.backends.triton import pool_kernels as kernels

    (T, cells, windows), geometry = _steps(x, pool), _geometry(x, pool)
    which = torch.empty((T + extra, windows), dtype=torch.uint8 if pool.taps <= 256 else torch.int32, device=x.device)
    common: dict[str, Any] = {'BY_VALUE': pool.mode == 'spike_max', 'WIDE': _wide(x, pool)}
    if pool.counts and pool.taps <= FEW:
        kind = {'KW': pool.kernel[1], 'TAPS': pool.taps, 'BACK': True, 'EXTRA': extra, **common}
        _launch(kernels.windows, windows, x, last, None, which, T, windows, cells, pool.scale, *geometry, **kind)
        return which
    counts = None
    if pool.counts:
        counts = layout.new_like(x, 1, torch.float32)
        _launch(kernels.count, cells, x, last, counts, 0, cells, pool.scale, SIGN=1)
    for t in range(T - 1, -1 - extra, -1):
        now = None if t < 0 else x[t] if pool.counts else x
        rest = windows, pool.scale, *geometry, *pool.kernel
        _launch(kernels.one_step, windows, now, counts, None, which[t + extra], *rest, **common)
        if pool.counts and t >= 0:
            _launch(kernels.count, cells, now, counts, counts, 1, cells, pool.scale, SIGN=-1)
    return which


def pool2d_bwd(
    grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, pool: Pool, want_state: bool
) -> tuple[Tensor, Maybe]:
    """Gradients of x and, if wanted, of the counts before the first step [1, ...]."""
    grad_x = layout.new_like(x, x.shape[0])
    grad_state = layout.new_like(x, 1, torch.float32) if want_state else None
    if x.numel():
        from snnkern.backends.triton.pool_gather import gather

        T, cells, windows = _steps(x, pool)
        # Windows of one row or column of them that a cell can be in.
        most = tuple(((axis.kernel - 1) * axis.dilation) // axis.stride + 1 for axis in pool.axes(x))
        with on_device(x):
            tensors = grad, grad_last, _winners(x, last, pool, want_state), grad_x, grad_state
            rest = T, cells, windows, pool.scale, *_geometry(x, pool), *pool.kernel, *most
            few = most if most[0] * most[1] <= FEW else None
            kind = {'FEW': few, 'LATERAL': pool.mode == 'lateral', 'EXTRA': want_state, 'WIDE': _wide(x, pool)}
            _launch(gather, cells, *tensors, *rest, **kind)
    return grad_x, grad_state
