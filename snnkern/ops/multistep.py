"""All T steps of a layer of neurons as one op forward and one backward, with autograd around them.

Forward saves x alone (and the states every K steps when T > K); backward recomputes the membrane from it. The schema
is the general one: `coefficients` [P, 1|T, 1|C] (parameters that are tensors), `v_seq` (the trace of v), and
`residual` (a second input), which has its place, and is refused until a backend computes it.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.neurons import Program
from snnkern.ops._library import define, plain, wants_gradient
from snnkern.ops.saved import mark

Maybe = Tensor | None


class Call(NamedTuple):
    """Everything of a call that is no tensor. save: backward will come, keep what it needs."""

    spec: str
    T: int
    save: bool = False
    want_state: bool = False
    want_v_seq: bool = False
    backend: str = ''


class Results(NamedTuple):
    """What forward gives: spikes [T, ...], last states [S, ...], trace of v [T, ...], checkpoints; None: not wanted."""

    s: Tensor
    last: Maybe
    v_seq: Maybe
    checkpoints: Maybe


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of v: float32, but float64 for float64 input."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@lru_cache(maxsize=1024)
def _op(spec: str) -> str:
    return 'multistep' if Program.parse(spec).neuron.fused else backends.CUSTOM


def _coefficients(coefficients: Tensor, x: Tensor) -> Tensor:
    return coefficients.resolve_neg().to(state_dtype(x.dtype)).contiguous()


def run_fwd(x: Tensor, state: Maybe, coefficients: Maybe, call: Call) -> Results:
    """Forward on real tensors."""
    x = layout.rows(x)
    state = state if state is None else layout.like(state, x, state_dtype(x.dtype))
    coefficients = coefficients if coefficients is None else _coefficients(coefficients, x)
    spec, T, *wants, backend = call
    chosen = backends.select(_op(spec), x.device, x.dtype, backend)
    return Results(*chosen.multistep_fwd(x, state, coefficients, spec, T, *wants))


def run_bwd(
    x: Tensor,
    grads: tuple[Maybe, Maybe, Maybe],
    state: Maybe,
    coefficients: Maybe,
    checkpoints: Maybe,
    call: Call,
    want_state: bool,
    want_coefficients: bool,
) -> tuple[Tensor, Maybe, Maybe]:
    """Gradients of x, of the initial state and of the coefficients, the last two or None, on real tensors.

    grads: upstream, of spikes, last states and trace of v.
    """
    x, dtype = layout.rows(x), state_dtype(x.dtype)
    grad_s, *others = grads
    # Nothing is called for what is absent: that is most of it, most of the time.
    state, checkpoints, grad_state, grad_v_seq = (
        t if t is None else layout.like(t, x, dtype) for t in (state, checkpoints, *others)
    )
    coefficients = coefficients if coefficients is None else _coefficients(coefficients, x)
    grad_s = layout.new_like(x, call.T).zero_() if grad_s is None else layout.like(grad_s, x, x.dtype)
    upstream = grad_s, grad_state, grad_v_seq
    chosen = backends.select(_op(call.spec), x.device, x.dtype, call.backend)
    # Forward ran on another backend or without a graph: make what it did not store.
    if checkpoints is None and chosen is not reference and backends.checkpoint_count(call.T, x.dtype):
        checkpoints = chosen.multistep_fwd(x, state, coefficients, call.spec, call.T, True, False, False)[3]
    wants = want_state, want_coefficients
    return chosen.multistep_bwd(*upstream, x, state, coefficients, checkpoints, call.spec, call.T, *wants)


def _refuse(residual: Maybe) -> None:
    if residual is not None:
        raise RuntimeError('no backend of this version computes residual')


def _tensors(x: Tensor, *outputs: Maybe) -> tuple[Tensor, ...]:
    """An op cannot return None: what is absent travels as an empty tensor."""
    return tuple(x.new_empty(0, dtype=torch.float32) if t is None else t for t in outputs)


def _fwd(x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, *call: Any) -> tuple[Tensor, ...]:
    _refuse(residual)
    return _tensors(x, *run_fwd(x, state, coefficients, Call(*call)))


def _fwd_fake(x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, *call: Any) -> tuple[Tensor, ...]:
    wanted = Call(*call)
    x, dtype = layout.rows(x), state_dtype(x.dtype)
    states = len(Program.parse(wanted.spec).neuron.states)
    count = backends.checkpoint_count(wanted.T, x.dtype) if wanted.save else 0
    last = layout.new_like(x, states, dtype) if wanted.want_state else None
    v_seq = layout.new_like(x, wanted.T, dtype) if wanted.want_v_seq else None
    checkpoints = layout.new_like(x, count * states, dtype) if count else None
    return _tensors(x, layout.new_like(x, wanted.T), last, v_seq, checkpoints)


def _bwd(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    grad_s, grad_state, grad_v_seq, state, coefficients, residual, checkpoints, *rest = arguments
    _refuse(residual)
    spec, T, want_state, want_coefficients, backend = rest
    call = Call(spec, T, backend=backend)
    grads = grad_s, grad_state, grad_v_seq
    return _tensors(x, *run_bwd(x, grads, state, coefficients, checkpoints, call, want_state, want_coefficients))


def _bwd_fake(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    coefficients, spec, want_state, want_coefficients = (arguments[i] for i in (4, 7, 9, 10))
    x = layout.rows(x)
    dtype, states = state_dtype(x.dtype), len(Program.parse(spec).neuron.states)
    grad_state = layout.new_like(x, states, dtype) if want_state else None
    grad_coefficients = coefficients.new_empty(coefficients.shape, dtype=dtype) if want_coefficients else None
    return _tensors(x, layout.new_like(x, x.shape[0]), grad_state, grad_coefficients)


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
    'Tensor? residual, Tensor? checkpoints, str spec, SymInt T, bool want_state, bool want_coefficients, str backend) '
    '-> (Tensor grad_x, Tensor grad_state, Tensor grad_coefficients)',
    _bwd,
    _bwd_fake,
)


def _forward(x: Tensor, state: Maybe, coefficients: Maybe, call: Call) -> Results:
    if plain(x, state, coefficients):
        return run_fwd(x, state, coefficients, call)
    wants = call.want_state, call.want_v_seq, call.save and backends.checkpoint_count(call.T, x.dtype) > 0
    s, *others = _fwd_op(x, state, coefficients, None, call.spec, call.T, call.save, *wants[:2], call.backend)
    return Results(s, *(t if want else None for t, want in zip(others, wants, strict=True)))


class MultiStep(torch.autograd.Function):
    """The recurrence with gradients for x, the initial state and the coefficients."""

    @staticmethod
    def forward(x: Tensor, state: Maybe, coefficients: Maybe, call: Call) -> tuple[Tensor, Maybe, Maybe, Maybe]:
        return tuple(_forward(x, state, coefficients, call))  # type: ignore[return-value]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, state, coefficients, ctx.call = inputs
        checkpoints = output[3]
        if checkpoints is not None:
            ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state, coefficients, checkpoints)

    @staticmethod
    def backward(ctx: Any, grad_s: Maybe, grad_state: Maybe, grad_v_seq: Maybe, _: Maybe) -> tuple[Maybe, ...]:
        x, state, coefficients, checkpoints = ctx.saved_tensors
        call, grads = ctx.call, (grad_s, grad_state, grad_v_seq)
        if all(g is None for g in grads):
            return None, None, None, None
        wants = ctx.needs_input_grad[1:3]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph: replay the reference
            rest: Any = (x, state, coefficients, None, call.spec, call.T, *wants, True, ctx.needs_input_grad[0])
            return *reference.multistep_bwd(*grads, *rest), None
        if plain(x, state, coefficients, *grads):
            return *run_bwd(x, grads, state, coefficients, checkpoints, call, *wants), None
        found = _bwd_op(x, *grads, state, coefficients, None, checkpoints, call.spec, call.T, *wants, call.backend)
        return found[0], found[1] if wants[0] else None, found[2] if wants[1] else None, None


class PlainMultiStep(torch.autograd.Function):
    """MultiStep in the older form of a Function: torch.func needs `setup_context`, which costs 15 us a call.

    Only what is wanted comes out: every output, even None, costs a microsecond.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Maybe, coefficients: Maybe, call: Call) -> Any:
        s, last, v_seq, checkpoints = run_fwd(x, state, coefficients, call)
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state, coefficients, checkpoints)
        return s if last is None and v_seq is None else tuple(t for t in (s, last, v_seq) if t is not None)

    @staticmethod
    def backward(ctx: Any, grad_s: Maybe, *grads: Maybe) -> tuple[Maybe, ...]:
        rest = iter(grads)
        wanted = [next(rest) if want else None for want in (ctx.call.want_state, ctx.call.want_v_seq)]
        return MultiStep.backward(ctx, grad_s, wanted[0], wanted[1], None)


def multistep(
    x: Tensor,
    state: Maybe,
    coefficients: Maybe,
    spec: str,
    T: int,
    want_state: bool,
    want_v_seq: bool = False,
    backend: str = '',
) -> tuple[Tensor, Maybe, Maybe]:
    """Spikes [T, ...], last states [S, ...] and trace of v [T, ...], None unless wanted; checked arguments only."""
    save = wants_gradient(x, state, coefficients)
    call = Call(spec, T, save, want_state, want_v_seq, backend)
    if not save:
        return mark(_forward(x, state, coefficients, call)[:3], spec)
    if not plain(x, state, coefficients) or torch.autograd.forward_ad._current_level >= 0:
        return MultiStep.apply(x, state, coefficients, call)[:3]  # type: ignore[no-any-return]
    found = PlainMultiStep.apply(x, state, coefficients, call)
    if not (want_state or want_v_seq):
        return mark((found, None, None), spec)
    rest = iter(found[1:])
    return mark((found[0], next(rest) if want_state else None, next(rest) if want_v_seq else None), spec)
