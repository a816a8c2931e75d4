"""All T steps of a layer of neurons as one op forward and one backward, with autograd around them.

Forward saves x alone (and v every K steps when T > K); backward recomputes the membrane from it. The schema
is the general one: `coefficients` [P, 1|T, 1|C] (parameters that are tensors), `residual` (a second input)
and `v_seq` (the trace of v) have their places, and are refused until a backend computes them.
"""

from typing import Any

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.neurons import Neuron
from snnkern.ops._library import define, plain, wants_gradient

Maybe = Tensor | None


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of v: float32, but float64 for float64 input."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def run_fwd(
    x: Tensor, state: Maybe, spec: str, T: int, save: bool, want_state: bool, backend: str
) -> tuple[Tensor, Maybe, Maybe]:
    """Spikes, last state or None, checkpoints or None, on real tensors."""
    x = layout.rows(x)
    if state is not None:
        state = layout.like(state, x, state_dtype(x.dtype))
    chosen = backends.select('multistep', x.device, x.dtype, backend)
    return chosen.multistep_fwd(x, state, spec, T, save, want_state)


def run_bwd(
    x: Tensor,
    grad_s: Maybe,
    grad_state: Maybe,
    state: Maybe,
    checkpoints: Maybe,
    spec: str,
    T: int,
    want_state: bool,
    backend: str,
) -> tuple[Tensor, Maybe]:
    """Gradient of x, and of the initial state or None, on real tensors."""
    x = layout.rows(x)
    dtype = state_dtype(x.dtype)
    state = None if state is None else layout.like(state, x, dtype)
    grad_state = None if grad_state is None else layout.like(grad_state, x, dtype)
    checkpoints = None if checkpoints is None else layout.like(checkpoints, x, dtype)
    grad_s = layout.new_like(x, T).zero_() if grad_s is None else layout.like(grad_s, x, x.dtype)
    chosen = backends.select('multistep', x.device, x.dtype, backend)
    # Forward ran on another backend or without a graph: make what it did not store.
    if checkpoints is None and chosen is not reference and backends.checkpoint_count(T, x.dtype):
        checkpoints = chosen.multistep_fwd(x, state, spec, T, True, False)[2]
    return chosen.multistep_bwd(grad_s, grad_state, x, state, checkpoints, spec, T, want_state)


def _refuse(**absent: object) -> None:
    given = [name for name, value in absent.items() if value is not None and value is not False]
    if given:
        raise RuntimeError(f'no backend of this version computes {", ".join(given)}')


def _tensors(x: Tensor, *outputs: Maybe) -> tuple[Tensor, ...]:
    """An op cannot return None: what is absent travels as an empty tensor."""
    return tuple(x.new_empty(0, dtype=torch.float32) if t is None else t for t in outputs)


def _fwd(
    x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, spec: str, T: int, *wants: Any
) -> tuple[Tensor, ...]:
    save, want_state, want_v_seq, backend = wants
    _refuse(coefficients=coefficients, residual=residual, want_v_seq=want_v_seq)
    s, last, checkpoints = run_fwd(x, state, spec, T, save, want_state, backend)
    return _tensors(x, s, last, None, checkpoints)


def _fwd_fake(
    x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, spec: str, T: int, *wants: Any
) -> tuple[Tensor, ...]:
    save, want_state, _, _ = wants
    x, dtype, count = layout.rows(x), state_dtype(x.dtype), backends.checkpoint_count(T, x.dtype)
    last = layout.new_like(x, 1, dtype) if want_state else None
    checkpoints = layout.new_like(x, count, dtype) if save and count else None
    return _tensors(x, layout.new_like(x, T), last, None, checkpoints)


def _bwd(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    grad_s, grad_state, grad_v_seq, state, coefficients, residual, checkpoints, *rest = arguments
    _refuse(coefficients=coefficients, residual=residual, grad_v_seq=grad_v_seq)
    gradients = run_bwd(x, grad_s, grad_state, state, checkpoints, *rest)
    return _tensors(x, *gradients, None)


def _bwd_fake(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    x, want_state = layout.rows(x), arguments[-2]
    grad_v0 = layout.new_like(x, 1, state_dtype(x.dtype)) if want_state else None
    return _tensors(x, layout.new_like(x, x.shape[0]), grad_v0, None)


_fwd_op = define(
    'multistep_fwd',
    '(Tensor x, Tensor? state, Tensor? coefficients, Tensor? residual, str spec, SymInt T, bool save, '
    'bool want_state, bool want_v_seq, str backend) -> (Tensor s, Tensor last, Tensor v_seq, Tensor checkpoints)',
    _fwd,
    _fwd_fake,
)
_bwd_op = define(
    'multistep_bwd',
    '(Tensor x, Tensor? grad_s, Tensor? grad_state, Tensor? grad_v_seq, Tensor? state, Tensor? coefficients, '
    'Tensor? residual, Tensor? checkpoints, str spec, SymInt T, bool want_state, str backend) '
    '-> (Tensor grad_x, Tensor grad_state, Tensor grad_coefficients)',
    _bwd,
    _bwd_fake,
)


def _forward(
    x: Tensor, state: Maybe, spec: str, T: int, save: bool, want_state: bool, backend: str
) -> tuple[Tensor, Maybe, Maybe]:
    if plain(x, state):
        return run_fwd(x, state, spec, T, save, want_state, backend)
    s, last, _, checkpoints = _fwd_op(x, state, None, None, spec, T, save, want_state, False, backend)
    return s, last if want_state else None, checkpoints if save and backends.checkpoint_count(T, x.dtype) else None


class MultiStep(torch.autograd.Function):
    """The recurrence with gradients for x and the initial state."""

    @staticmethod
    def forward(
        x: Tensor, state: Maybe, spec: str, T: int, want_state: bool, backend: str
    ) -> tuple[Tensor, Maybe, Maybe]:
        return _forward(x, state, spec, T, True, want_state, backend)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, state, ctx.spec, ctx.T, _, ctx.backend = inputs
        checkpoints = output[2]
        if checkpoints is not None:
            ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state, checkpoints)

    @staticmethod
    def backward(ctx: Any, grad_s: Maybe, grad_state: Maybe, _: Maybe) -> tuple[Maybe, ...]:
        x, state, checkpoints = ctx.saved_tensors
        if grad_s is None and grad_state is None:
            return (None,) * 6
        want_state = ctx.needs_input_grad[1]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph: replay the reference
            grads = reference.multistep_bwd(
                grad_s, grad_state, x, state, None, ctx.spec, ctx.T, want_state, create_graph=True
            )
        elif plain(x, state, grad_s, grad_state):
            grads = run_bwd(x, grad_s, grad_state, state, checkpoints, ctx.spec, ctx.T, want_state, ctx.backend)
        else:
            arguments = (x, grad_s, grad_state, None, state, None, None, checkpoints)
            grad_x, grad_v0, _ = _bwd_op(*arguments, ctx.spec, ctx.T, want_state, ctx.backend)
            grads = grad_x, grad_v0 if want_state else None
        return *grads, None, None, None, None


class PlainMultiStep(torch.autograd.Function):
    """MultiStep in the older form of a Function: torch.func needs `setup_context`, which costs 15 us a call.

    call: all arguments of MultiStep that are no tensors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Maybe, call: tuple[Any, ...]) -> tuple[Tensor, Maybe, Maybe]:
        spec, T, want_state, backend = call
        outputs = run_fwd(x, state, spec, T, True, want_state, backend)
        MultiStep.setup_context(ctx, (x, state, *call), outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        return MultiStep.backward(ctx, *grads)[:3]


def multistep(
    x: Tensor, state: Maybe, neuron: Neuron, T: int, want_state: bool, backend: str = ''
) -> tuple[Tensor, Maybe]:
    """Spikes [T, ...] and the last state [1, ...] (None unless wanted); checked arguments only."""
    if wants_gradient(x, state):
        if plain(x, state) and torch.autograd.forward_ad._current_level < 0:
            return PlainMultiStep.apply(x, state, (neuron.spec, T, want_state, backend))[:2]
        return MultiStep.apply(x, state, neuron.spec, T, want_state, backend)[:2]
    return _forward(x, state, neuron.spec, T, False, want_state, backend)[:2]
