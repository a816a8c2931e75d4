"""All T steps of a layer of neurons as one op forward and one backward, with autograd around them.

Forward saves x alone (and the states every K steps when T > K); backward recomputes the membrane from it. The schema
is the general one: `coefficients` [P, 1|T, 1|C] (parameters that are tensors), `v_seq` (the trace of v), and `residual`
(a second input like x, added to the spikes or to x; then `sum` is what neurons see, and what is saved in place of x).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.neurons import Program
from snnkern.ops._library import define, plain, saved, wants_gradient
from snnkern.ops.saved import mark

Maybe = Tensor | None


class Call(NamedTuple):
    """Everything of a call that is no tensor. save: backward will come, keep what it needs."""

    spec: str
    T: int
    save: bool = False
    want_state: bool = False
    want_v_seq: bool = False
    want_sum: bool = False
    backend: str = ''


class Inputs(NamedTuple):
    """The tensors of a call."""

    x: Tensor
    state: Maybe = None
    coefficients: Maybe = None
    residual: Maybe = None


class Results(NamedTuple):
    """What forward gives: spikes [T, ...], last states [S, ...], trace of v [T, ...], the sum [T, ...], checkpoints;
    None: not wanted."""

    s: Tensor
    last: Maybe
    v_seq: Maybe
    sum: Maybe
    checkpoints: Maybe


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of v: float32, but float64 for float64 input."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@lru_cache(maxsize=1024)
def _op(spec: str) -> str:
    return 'multistep' if Program.parse(spec).neuron.fused else backends.CUSTOM


def _coefficients(coefficients: Tensor, x: Tensor) -> Tensor:
    return coefficients.resolve_neg().to(state_dtype(x.dtype)).contiguous()


def run_fwd(inputs: Inputs, call: Call) -> Results:
    """Forward on real tensors."""
    x, state, coefficients, residual = inputs
    x = layout.rows(x)
    state = state if state is None else layout.like(state, x, state_dtype(x.dtype))
    coefficients = coefficients if coefficients is None else _coefficients(coefficients, x)
    residual = residual if residual is None else layout.like(residual, x, x.dtype)
    spec, T, *wants, backend = call
    chosen = backends.select(_op(spec), x.device, x.dtype, backend)
    return Results(*chosen.multistep_fwd(x, state, coefficients, residual, spec, T, *wants))


def run_bwd(
    x: Tensor,
    grads: tuple[Maybe, ...],
    state: Maybe,
    coefficients: Maybe,
    checkpoints: Maybe,
    call: Call,
    wants: Sequence[bool],
    line: Maybe = None,
) -> tuple[Maybe, Maybe, Maybe]:
    """Gradients of x, of the initial state and of the coefficients, as far as wanted, on real tensors.

    grads: upstream, of spikes, last states, trace of v and sum. line: see the table in backends/__init__.py.
    """
    x, dtype = layout.rows(x), state_dtype(x.dtype)
    grad_s, *others, grad_sum = grads
    # Nothing is called for what is absent: that is most of it, most of the time.
    state, checkpoints, grad_state, grad_v_seq = (
        t if t is None else layout.like(t, x, dtype) for t in (state, checkpoints, *others)
    )
    coefficients = coefficients if coefficients is None else _coefficients(coefficients, x)
    grad_s = layout.new_like(x, call.T).zero_() if grad_s is None else layout.like(grad_s, x, x.dtype)
    grad_sum = grad_sum if grad_sum is None else layout.like(grad_sum, x, x.dtype)
    line = line if line is None else line.to(dtype).contiguous()
    upstream = grad_s, grad_state, grad_v_seq, grad_sum
    chosen = backends.select(_op(call.spec), x.device, x.dtype, call.backend)
    # Forward ran on another backend or without a graph: make what it did not store.
    if checkpoints is None and chosen is not reference and backends.checkpoint_count(call.T, x.dtype):
        alone = call.spec.partition(' +')[0]
        checkpoints = chosen.multistep_fwd(x, state, coefficients, None, alone, call.T, True, False, False, False)[4]
    return chosen.multistep_bwd(*upstream, x, state, coefficients, checkpoints, line, call.spec, call.T, *wants)


def _tensors(x: Tensor, *outputs: Maybe) -> tuple[Tensor, ...]:
    """An op cannot return None: what is absent travels as an empty tensor."""
    return tuple(x.new_empty(0, dtype=torch.float32) if t is None else t for t in outputs)


def _fwd(x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, *call: Any) -> tuple[Tensor, ...]:
    return _tensors(x, *run_fwd(Inputs(x, state, coefficients, residual), Call(*call)))


def _fwd_fake(x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, *call: Any) -> tuple[Tensor, ...]:
    wanted = Call(*call)
    x, dtype = layout.rows(x), state_dtype(x.dtype)
    states = len(Program.parse(wanted.spec).neuron.states)
    count = backends.checkpoint_count(wanted.T, x.dtype) if wanted.save else 0
    last = layout.new_like(x, states, dtype) if wanted.want_state else None
    v_seq = layout.new_like(x, wanted.T, dtype) if wanted.want_v_seq else None
    total = layout.new_like(x, wanted.T) if wanted.want_sum else None
    checkpoints = layout.new_like(x, count * states, dtype) if count else None
    return _tensors(x, layout.new_like(x, wanted.T), last, v_seq, total, checkpoints)


def _bwd(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *grads, state, coefficients, checkpoints, line, spec, T, want_x, want_state, want_coefficients, backend = arguments
    call, wants = Call(spec, T, backend=backend), (want_x, want_state, want_coefficients)
    return _tensors(x, *run_bwd(x, tuple(grads), state, coefficients, checkpoints, call, wants, line))


def _bwd_fake(x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    coefficients, spec = arguments[5], arguments[8]
    want_x, want_state, want_coefficients = arguments[10:13]
    x = layout.rows(x)
    dtype, states = state_dtype(x.dtype), len(Program.parse(spec).neuron.states)
    grad_x = layout.new_like(x, x.shape[0]) if want_x else None
    grad_state = layout.new_like(x, states, dtype) if want_state else None
    grad_coefficients = coefficients.new_empty(coefficients.shape, dtype=dtype) if want_coefficients else None
    return _tensors(x, grad_x, grad_state, grad_coefficients)


_fwd_op = define(
    'multistep_fwd',
    '(Tensor x, Tensor? state, Tensor? coefficients, Tensor? residual, str spec, SymInt T, bool save, bool want_state, '
    'bool want_v_seq, bool want_sum, str backend) '
    '-> (Tensor s, Tensor last, Tensor v_seq, Tensor sum, Tensor checkpoints)',
    _fwd,
    _fwd_fake,
)
_bwd_op = define(
    'multistep_bwd',
    '(Tensor x, Tensor? grad_s, Tensor? grad_state, Tensor? grad_v_seq, Tensor? grad_sum, Tensor? state, '
    'Tensor? coefficients, Tensor? checkpoints, Tensor? line, str spec, SymInt T, bool want_x, bool want_state, '
    'bool want_coefficients, str backend) -> (Tensor grad_x, Tensor grad_state, Tensor grad_coefficients)',
    _bwd,
    _bwd_fake,
)


def forward(inputs: Inputs, call: Call) -> Results:
    """Forward on any tensors: real ones go around the dispatcher."""
    if plain(*inputs):
        return run_fwd(inputs, call)
    kept = call.save and backends.checkpoint_count(call.T, inputs.x.dtype) > 0
    wants = call.want_state, call.want_v_seq, call.want_sum, kept
    s, *others = _fwd_op(*inputs, *call)
    return Results(s, *(t if want else None for t, want in zip(others, wants, strict=True)))


def backward(
    x: Tensor,
    grads: tuple[Maybe, ...],
    state: Maybe,
    coefficients: Maybe,
    checkpoints: Maybe,
    call: Call,
    wants: Sequence[bool],
    line: Maybe = None,
) -> tuple[Maybe, ...]:
    """`run_bwd` on any tensors: real ones go around the dispatcher."""
    if plain(x, state, coefficients, line, *grads):
        return run_bwd(x, grads, state, coefficients, checkpoints, call, wants, line)
    kept = state, coefficients, checkpoints, line
    found = _bwd_op(x, *grads, *kept, call.spec, call.T, *wants, call.backend)
    return tuple(t if want else None for t, want in zip(found, wants, strict=True))


class MultiStep(torch.autograd.Function):
    """The recurrence with gradients for x, the initial state, the coefficients and the second input."""

    @staticmethod
    def forward(
        x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, call: Call
    ) -> tuple[Tensor, Maybe, Maybe, Maybe, Maybe]:
        return tuple(forward(Inputs(x, state, coefficients, residual), call))  # type: ignore[return-value]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, state, coefficients, _, ctx.call = inputs
        total, checkpoints = output[3:]
        if checkpoints is not None:
            ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x if total is None else total, state, coefficients, checkpoints)

    @staticmethod
    def backward(
        ctx: Any, grad_s: Maybe, grad_state: Maybe, grad_v_seq: Maybe, grad_sum: Maybe, _: Maybe
    ) -> tuple[Maybe, ...]:
        x, state, coefficients, checkpoints = saved(ctx)
        call, grads = ctx.call, (grad_s, grad_state, grad_v_seq, grad_sum)
        if all(g is None for g in grads):
            return None, None, None, None, None
        want_x, want_state, want_coefficients, want_residual = ctx.needs_input_grad[:4]
        before = call.want_sum  # the second input is part of what neurons see
        wants = want_x or (before and want_residual), want_state, want_coefficients
        found: tuple[Maybe, ...]
        if not any(wants):
            found = None, None, None
        elif torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph: replay the reference
            rest: Any = (x, state, coefficients, None, None, call.spec, call.T, *wants, True)
            found = reference.multistep_bwd(*grads, *rest)
        else:
            found = backward(x, grads, state, coefficients, checkpoints, call, wants)
        grad_residual = (found[0] if before else grad_s) if want_residual else None
        return *found, grad_residual, None


class PlainMultiStep(torch.autograd.Function):
    """MultiStep in the older form of a Function: torch.func needs `setup_context`, which costs 15 us a call.

    Only what is wanted comes out: every output, even None, costs a microsecond.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Maybe, coefficients: Maybe, residual: Maybe, call: Call) -> Any:
        s, *others, checkpoints = run_fwd(Inputs(x, state, coefficients, residual), call)
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x if others[2] is None else others[2], state, coefficients, checkpoints)
        return s if others == [None] * 3 else (s, *[t for t in others if t is not None])

    @staticmethod
    def backward(ctx: Any, grad_s: Maybe, *grads: Maybe) -> tuple[Maybe, ...]:
        call = ctx.call
        wants = ctx.needs_input_grad
        # Of spikes alone, the usual case, straight to the kernels.
        if not grads and not torch.is_grad_enabled() and plain(grad_s) and grad_s is not None and any(wants[:3]):
            x, state, coefficients, checkpoints = saved(ctx)
            upstream = grad_s, None, None, None
            found = run_bwd(x, upstream, state, coefficients, checkpoints, call, wants[:3])
            return *found, grad_s if wants[3] else None, None
        rest = iter(grads)
        wanted = [next(rest) if want else None for want in (call.want_state, call.want_v_seq, call.want_sum)]
        return MultiStep.backward(ctx, grad_s, wanted[0], wanted[1], wanted[2], None)


def multistep(
    inputs: Inputs,
    spec: str,
    T: int,
    want_state: bool,
    want_v_seq: bool = False,
    want_sum: bool = False,
    backend: str = '',
) -> tuple[Tensor, Maybe, Maybe, Maybe]:
    """Spikes [T, ...], last states [S, ...], trace of v and sum [T, ...], None unless wanted, of checked arguments."""
    found = _multistep(inputs, spec, T, want_state, want_v_seq, want_sum, backend)
    mark(found[0], spec)
    return found


def _multistep(
    inputs: Inputs, spec: str, T: int, want_state: bool, want_v_seq: bool, want_sum: bool, backend: str
) -> tuple[Tensor, Maybe, Maybe, Maybe]:
    save = wants_gradient(*inputs)
    # Backward reads the sum, which is one tensor and not two.
    want_sum = want_sum or (save and spec.endswith(' +ms'))
    call = Call(spec, T, save, want_state, want_v_seq, want_sum, backend)
    if not save:
        return forward(inputs, call)[:4]
    if not plain(*inputs) or torch.autograd.forward_ad._current_level >= 0:
        return MultiStep.apply(*inputs, call)[:4]  # type: ignore[no-any-return]
    found = PlainMultiStep.apply(*inputs, call)
    if not (want_state or want_v_seq or want_sum):
        return found, None, None, None
    rest = iter(found[1:])
    return found[0], *(next(rest) if want else None for want in (want_state, want_v_seq, want_sum))  # type: ignore[return-value]
