"""The pools of spike trains as a pair of ops: all steps of a layer, forward and backward."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.backends.window import Pool
from snnkern.ops._library import define, plain, wants_gradient
from snnkern.ops.multistep import state_dtype
from snnkern.ops.saved import tag

OP = 'pool2d'
Maybe = Tensor | None


class Call(NamedTuple):
    """Everything of a call that is no tensor. want_state: the counts after the last step are an output."""

    pool: Pool
    want_state: bool = False
    backend: str = ''

    @property
    def packed(self) -> tuple[Any, ...]:
        """As the schemas have it."""
        mode, *window, ceil_mode, scale = self.pool
        flat = [n for pair in window for n in pair]  # type: ignore[union-attr]
        return mode, flat, ceil_mode, scale, self.want_state, self.backend

    @classmethod
    def parse(cls, mode: str, window: list[int], ceil_mode: bool, scale: float, *rest: Any) -> 'Call':
        kernel, stride, padding, dilation = ((window[i], window[i + 1]) for i in range(0, 8, 2))
        return cls(Pool(mode, kernel, stride, padding, dilation, ceil_mode, scale), *rest)


def run_fwd(x: Tensor, state: Maybe, call: Call) -> tuple[Tensor, Maybe]:
    """Forward on real tensors: pooled spikes [T, ...], counts [1, ...] or None."""
    x = layout.planes(x)
    state = state if state is None else layout.like(state, x, state_dtype(x.dtype))
    chosen = backends.select(OP, x.device, x.dtype, call.backend)
    return chosen.pool2d_fwd(x, state, call.pool, call.want_state)


def run_bwd(grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, call: Call) -> tuple[Tensor, Maybe]:
    """Gradients of x and, if `want_state`, of the counts before the first step, on real tensors."""
    x = layout.planes(x)
    rows, cols = call.pool.axes(x)
    grad = layout.like(grad, layout.pooled(x, rows.out, cols.out), x.dtype)
    last, grad_last = (t if t is None else layout.like(t, x, state_dtype(x.dtype)) for t in (last, grad_last))
    chosen = backends.select(OP, x.device, x.dtype, call.backend)
    return chosen.pool2d_bwd(grad, grad_last, x, last, call.pool, call.want_state)


def _tensors(x: Tensor, first: Tensor, second: Maybe) -> tuple[Tensor, Tensor]:
    """An op cannot return None: what is absent travels as an empty tensor."""
    return first, x.new_empty(0, dtype=torch.float32) if second is None else second


def _counts(x: Tensor, call: Call) -> Maybe:
    return layout.new_like(x, 1, state_dtype(x.dtype)) if call.want_state else None


def _fwd(x: Tensor, state: Maybe, *call: Any) -> tuple[Tensor, Tensor]:
    return _tensors(x, *run_fwd(x, state, Call.parse(*call)))


def _fwd_fake(x: Tensor, state: Maybe, *call: Any) -> tuple[Tensor, Tensor]:
    wanted, x = Call.parse(*call), layout.planes(x)
    rows, cols = wanted.pool.axes(x)
    out = layout.new_like(layout.pooled(x, rows.out, cols.out), x.shape[0])
    return _tensors(x, out, _counts(x, wanted))


def _bwd(grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, *call: Any) -> tuple[Tensor, Tensor]:
    return _tensors(x, *run_bwd(grad, grad_last, x, last, Call.parse(*call)))


def _bwd_fake(grad: Tensor, grad_last: Maybe, x: Tensor, last: Maybe, *call: Any) -> tuple[Tensor, Tensor]:
    x = layout.planes(x)
    return _tensors(x, layout.new_like(x, x.shape[0]), _counts(x, Call.parse(*call)))


_CALL = 'str mode, int[] window, bool ceil_mode, float scale, bool want_state, str backend'
_fwd_op = define('pool2d_fwd', f'(Tensor x, Tensor? state, {_CALL}) -> (Tensor out, Tensor last)', _fwd, _fwd_fake)
_bwd_op = define(
    'pool2d_bwd',
    f'(Tensor grad, Tensor? grad_last, Tensor x, Tensor? last, {_CALL}) -> (Tensor grad_x, Tensor grad_state)',
    _bwd,
    _bwd_fake,
)


def _forward(x: Tensor, state: Maybe, call: Call) -> tuple[Tensor, Maybe]:
    if plain(x, state):
        return run_fwd(x, state, call)
    out, last = _fwd_op(x, state, *call.packed)
    return out, last if call.want_state else None


class Pool2d(torch.autograd.Function):
    """A pool with gradients for x and, in the lateral pool, for the counts before the first step.

    Kept for backward are x and the counts after the last step: the steps back from there are exact.
    """

    @staticmethod
    def forward(x: Tensor, state: Maybe, call: Call) -> tuple[Tensor, Maybe]:
        return _forward(x, state, call)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Maybe]) -> None:
        x, _, ctx.call = inputs
        last = output[1]
        if last is not None and ctx.call.pool.mode != 'lateral':
            ctx.mark_non_differentiable(last)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, last)

    @staticmethod
    def backward(ctx: Any, grad: Maybe, grad_last: Maybe) -> tuple[Maybe, Maybe, None]:
        x, last = ctx.saved_tensors
        if grad is None and grad_last is None:
            return None, None, None
        pool = ctx.call.pool
        if grad is None:
            rows, cols = pool.axes(x)
            grad = x.new_zeros((*x.shape[:-2], rows.out, cols.out))
        want = ctx.needs_input_grad[1] and pool.mode == 'lateral'
        call = ctx.call._replace(want_state=want)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph: replay the reference
            found = reference.pool2d_bwd(grad, grad_last, x, last, pool, want)
        elif plain(grad, grad_last, x, last):
            found = run_bwd(grad, grad_last, x, last, call)
        else:
            found = _bwd_op(grad, grad_last, x, last, *call.packed)
        return found[0], found[1] if want else None, None


def pool2d(x: Tensor, state: Maybe, pool: Pool, want_state: bool = False, backend: str = '') -> tuple[Tensor, Maybe]:
    """Pooled spikes [T, ...] and the counts after the last step [1, ...] or None; checked arguments only.

    state: counts before the first step [1, ...] or None. Raises ValueError if the window does not fit.
    """
    pool.axes(x)
    if wants_gradient(x, state):
        out, last = Pool2d.apply(x, state, Call(pool, pool.counts, backend))
    else:
        out, last = _forward(x, state, Call(pool, want_state, backend))
    # In steps of one spike the maximum changes by no more than the inputs do.
    return tag(out, x, pool.scale if pool.mode == 'lateral' else None), last if want_state else None
