"""The pools in plain torch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern.backends import layout
from snnkern.backends.window import Pool
from snnkern.charges import divide

Maybe = Tensor | None


def _max_pool(x: Tensor, pool: Pool) -> Tensor:
    """The largest cell of each window of [..., H, W]."""
    planes = x.flatten(0, -3).unsqueeze(1)  # max_pool2d accepts none of these, but not none of channels
    top = F.max_pool2d(planes, pool.kernel, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    return top.squeeze(1).unflatten(0, x.shape[:-2])


def _taps(x: Tensor, pool: Pool, outside: float) -> Tensor:
    """[taps, ..., H', W']: the cells of all windows in row-major order."""
    rows, cols = pool.axes(x)
    ends = [(a.out - 1) * a.stride + 1 for a in (rows, cols)]
    more = [max(0, end + (a.kernel - 1) * a.dilation - a.size - a.padding)
            for a, end in zip((rows, cols), ends, strict=True)]  # fmt: skip
    padded = F.pad(x, (cols.padding, more[1], rows.padding, more[0]), value=outside)
    return torch.stack([
        padded[..., y : y + ends[0] : rows.stride, z : z + ends[1] : cols.stride]
        for y in range(0, rows.kernel * rows.dilation, rows.dilation)
        for z in range(0, cols.kernel * cols.dilation, cols.dilation)
    ])  # fmt: skip


def _gated(x: Tensor, total: Tensor, pool: Pool) -> Tensor:
    """[taps, ...]: the cells of each window whose counts are the largest, -inf in the place of the others."""
    keys = _taps(total, pool, -torch.inf)
    return torch.where((keys == keys.amax(0)) | keys.isnan(), _taps(x, pool, 0.0), -torch.inf)


def pool2d_fwd(x: Tensor, state: Maybe, pool: Pool, want_state: bool) -> tuple[Tensor, Maybe]:
    """What the windows let through, and the counts after the last step [1, ...]."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    last = None
    if pool.mode == 'plain':
        out = _max_pool(wide, pool)
    else:
        spikes = divide(wide, pool.scale).round()
        total = torch.cat([torch.zeros_like(spikes[:1]) if state is None else state, spikes]).cumsum(0)
        last = layout.new_like(layout.planes(x), 1, total.dtype).copy_(total[-1:])  # no view, in the layout of x
        if pool.mode == 'lateral':
            out = torch.diff(_max_pool(total, pool), dim=0) * pool.scale
        else:
            out = _gated(wide, total[1:], pool).amax(0)
    rows, cols = pool.axes(x)
    out = layout.like(out.to(x.dtype), layout.pooled(layout.planes(x), rows.out, cols.out), x.dtype)
    return out, last if want_state else None


def pool2d_bwd(
    grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, pool: Pool, want_state: bool
) -> tuple[Tensor, Maybe]:
    """Gradients of x and, if wanted, of the counts before the first step; linear in grad, and so differentiable."""
    keys = wide = x.detach().double() if x.dtype == torch.float64 else x.detach().float()
    if last is not None:
        spikes = torch.cat([torch.zeros_like(wide[:1]), divide(wide, pool.scale).round()])
        keys = last.detach() + spikes - spikes.flip(0).cumsum(0).flip(0)  # before the first step, after each one
    given = grad.to(keys.dtype)
    if pool.mode == 'lateral':
        given = -torch.diff(given, dim=0, prepend=torch.zeros_like(given[:1]), append=torch.zeros_like(given[:1]))
        found = _scatter(_taps(keys, pool, -torch.inf), given, x, pool)
        if grad_last is not None:
            found = torch.cat([found[:-1], found[-1:] + grad_last / pool.scale])
        found = found.flip(0).cumsum(0).flip(0)
        state, found = found[:1] * pool.scale, found[1:]
    else:
        cells = _taps(wide, pool, -torch.inf) if last is None else _gated(wide, keys[1:], pool)
        state, found = None, _scatter(cells, given, x, pool)
    # No views, in the layout of x.
    grad_x = layout.new_like(x, x.shape[0]).copy_(found)
    if not want_state or state is None:
        return grad_x, None
    return grad_x, layout.new_like(x, 1, state.dtype).copy_(state)


def _scatter(cells: Tensor, grad: Tensor, x: Tensor, pool: Pool) -> Tensor:
    """The gradient of each window [..., H', W'] to the first of its largest cells [taps, ..., H', W']."""
    H, W = x.shape[-2:]
    numbers = torch.arange(H * W, device=x.device, dtype=torch.float64).view(*[1] * (x.dim() - 2), H, W)
    places = _taps(numbers, pool, H * W).long().expand(cells.shape)  # one place more for padding
    won = places.gather(0, cells.argmax(0, keepdim=True))[0]
    sums = grad.new_zeros((*grad.shape[:-2], H * W + 1)).scatter_add(-1, won.flatten(-2), grad.flatten(-2))
    return sums[..., :-1].unflatten(-1, (H, W))
