"""The pools: arguments as csrc/kernels/pool.h wants them."""

from typing import Any

import torch
from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.native.device import DEVICES, DTYPES, at
from snnkern.backends.window import MODES, Pool

Maybe = Tensor | None


def _common(x: Tensor, pool: Pool) -> tuple[Any, ...]:
    """The arguments that both directions begin with (PoolArgs in csrc/kernels/pool.h)."""
    rows, cols = pool.axes(x)
    T, inner = x.shape[0], x.shape[-3] if layout.channels_last(x) else 1
    outer = x.numel() // max(1, T * inner * rows.size * cols.size)
    shape = (T, outer, inner) if pool.counts else (1, T * outer, inner)  # without counts a step is like any plane
    return MODES.index(pool.mode), DTYPES[x.dtype], shape, rows, cols, pool.scale, x.data_ptr()


def _scratch(x: Tensor, common: tuple[Any, ...], back: bool, want_state: bool) -> list[Tensor]:
    """Memory for what CUDA kernels leave to each other; the CPU's take none."""
    size = getattr(DEVICES[x.device.type].load(), 'pool_scratch', None)
    if size is None:
        return []
    return [torch.empty(size(*common, back, want_state), dtype=torch.uint8, device=x.device)]


def pool2d_fwd(x: Tensor, state: Maybe, pool: Pool, want_state: bool) -> tuple[Tensor, Maybe]:
    """What the windows let through, and the counts after the last step [1, ...]."""
    device = DEVICES[x.device.type]
    rows, cols = pool.axes(x)
    out = device.new(layout.pooled(x, rows.out, cols.out), x.shape[0])
    last = device.new(x, 1, torch.float32) if want_state else None
    if out.numel():
        results, common = (out.data_ptr(), at(state), at(last)), _common(x, pool)
        scratch = _scratch(x, common, False, want_state)
        device.load().pool_fwd(*common, *results, *map(at, scratch), *device.where(x))  # type: ignore[union-attr]
    return out, last


def pool2d_bwd(
    grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, pool: Pool, want_state: bool
) -> tuple[Tensor, Maybe]:
    """Gradients of x and, if wanted, of the counts before the first step [1, ...]."""
    device = DEVICES[x.device.type]
    grad_x = device.new(x, x.shape[0])
    grad_state = device.new(x, 1, torch.float32) if want_state else None
    if x.numel():
        planes, common = (grad.data_ptr(), grad_x.data_ptr()), _common(x, pool)
        counts = at(last), at(grad_last), at(grad_state)
        scratch = _scratch(x, common, True, want_state)
        device.load().pool_bwd(*common, *planes, *counts, *map(at, scratch), *device.where(x))  # type: ignore[union-attr]
    return grad_x, grad_state
