"""The pools in plain torch."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern.backends import layout
from snnkern.backends.window import Pool
from snnkern.charges import divide

Maybe = Tensor | None


class Round(torch.autograd.Function):
    """The nearest whole number, with the derivative of the identity: counts are whole anyway."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _max_pool(x: Tensor, pool: Pool) -> Tensor:
    """The largest cell of each window of [..., H, W]; the gradient goes to the first of them."""
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


def _spike_max(x: Tensor, total: Tensor, pool: Pool) -> Tensor:
    """The largest cell of x among those of a window whose counts are the largest; the first of equal ones."""
    keys = _taps(total.detach(), pool, -torch.inf)
    open_ = (keys == keys.amax(0)) | keys.isnan()
    return torch.where(open_, _taps(x, pool, 0.0), -torch.inf).max(0).values


def pool2d_fwd(x: Tensor, state: Maybe, pool: Pool, want_state: bool) -> tuple[Tensor, Maybe]:
    """What the windows let through, and the counts after the last step [1, ...]."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    last = None
    if pool.mode == 'plain':
        out = _max_pool(wide, pool)
    else:
        spikes = Round.apply(divide(wide, pool.scale))
        total = torch.cat([torch.zeros_like(spikes[:1]) if state is None else state, spikes]).cumsum(0)
        last = layout.new_like(layout.planes(x), 1, total.dtype).copy_(total[-1:])  # no view, in the layout of x
        if pool.mode == 'lateral':
            out = torch.diff(_max_pool(total, pool), dim=0) * pool.scale
        else:
            out = _spike_max(wide, total[1:], pool)
    rows, cols = pool.axes(x)
    out = layout.like(out.to(x.dtype), layout.pooled(layout.planes(x), rows.out, cols.out), x.dtype)
    return out, last if want_state else None


def pool2d_bwd(
    grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, pool: Pool, want_state: bool, graph: bool = False
) -> tuple[Tensor, Maybe]:
    """Gradients of x and, if wanted, of the counts before the first step; differentiable if `graph`."""
    with torch.enable_grad():
        source, state = x if graph and x.requires_grad else x.detach().requires_grad_(), None
        if last is not None:
            wide = x.detach().to(last.dtype)
            state = (last.detach() - divide(wide, pool.scale).round().sum(0, keepdim=True)).requires_grad_()
        out, end = pool2d_fwd(source, state, pool, True)
        outputs, grads = [out], [grad]
        if grad_last is not None and end is not None:
            outputs, grads = [out, end], [grad, grad_last]
        inputs = [source, state] if want_state and state is not None else [source]
        found = torch.autograd.grad(outputs, inputs, grads, create_graph=graph)
    grads = [layout.like(g, x, g.dtype) for g in found]
    return grads[0], grads[1] if len(grads) > 1 else None
