"""BatchNorm and the neuron behind it as one op: the neuron normalises x where it reads it, and only x is saved.

The weights, like the coefficients of an `Affine` charge, have rows b and c first. With mean m and
r = 1 / sqrt(variance + eps) of x by channel, the neuron runs with b * r and c - b * m * r. Forward reads x twice
(moments, neuron) and writes spikes; backward reads x and dL/ds twice, first for the sums by channel, from which dL/dm
and dL/dvariance follow, then for dL/dx, to which those add a line in x: 32 bytes an element-step in float32.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.neurons import Program
from snnkern.ops._library import define, plain, saved, wants_gradient
from snnkern.ops.multistep import Call, Inputs, backward, forward, state_dtype
from snnkern.ops.saved import mark

Maybe = Tensor | None
OP = 'moments'


class Norm(NamedTuple):
    """How to normalise. eps: added to the variance; channel_dim: of x; group: processes that share their batches."""

    eps: float
    channel_dim: int
    group: Any = None


def _run(x: Tensor, channel_dim: int, backend: str) -> Tensor:
    if not x.numel():
        return _fake(x, channel_dim, backend).zero_()  # not NaN, which other processes would get
    x = layout.rows(x)
    return backends.select(OP, x.device, x.dtype, backend).moments(x, channel_dim)


def _fake(x: Tensor, channel_dim: int, backend: str) -> Tensor:
    return x.new_empty((2, x.shape[channel_dim]), dtype=torch.float64)


_op = define(OP, '(Tensor x, int channel_dim, str backend) -> Tensor', _run, _fake)


def moments(x: Tensor, channel_dim: int, backend: str, group: Any = None) -> tuple[Tensor, Maybe]:
    """Mean and biased variance [2, C] of x [T, ...] by channel over all processes, float64; and of how many numbers, if
    there are several processes."""
    found = (_run if plain(x) else _op)(x, channel_dim, backend)
    if group is None:
        return found, None
    mean, variance = found
    count = found.new_full((), x.numel() // max(1, x.shape[channel_dim]))
    sums = torch.cat([count.reshape(1), count * mean, count * (variance + mean * mean)])
    distributed.all_reduce(sums, group=group)
    count = sums[0]
    mean, square = (sums[1:] / count).chunk(2)
    return torch.stack([mean, (square - mean * mean).clamp(min=0)]), count


def normalised(weights: Tensor, found: Tensor, eps: float) -> Tensor:
    """The coefficients [P, 1|T, C] that normalise, differentiable. found: mean and variance [2, C], in float64."""
    mean, variance = found
    b = weights[0] * (variance + eps).rsqrt()
    own = torch.stack([b, weights[1] - b * mean]).to(weights.dtype)
    return own if len(weights) == 2 else torch.cat([own, weights[2:]])


def _backward_of_statistics(
    sums: Tensor, weights: Tensor, found: Tensor, count: Any, norm: Norm
) -> tuple[Tensor, Tensor]:
    """dL/dweights [P, 1|T, C] from those of the coefficients, and the line [2, C] that the statistics add to dL/dx."""
    mean, variance = found
    inverse = (variance + norm.eps).rsqrt()
    by_b, by_c = sums[:2].double()
    by_weight = (by_b - by_c * mean) * inverse
    # 2 dL/dvariance and dL/dmean
    both = torch.stack([(weights[0] * by_weight).sum(0) * inverse, (weights[0] * by_c).sum(0)]) * -inverse
    if norm.group is not None:
        distributed.all_reduce(both, group=norm.group)
    both /= count
    both[1] -= both[0] * mean
    return torch.cat([by_weight.to(sums.dtype).unsqueeze(0), sums[1:]]), both


def _forward(
    x: Tensor, state: Maybe, weights: Tensor, residual: Maybe, call: Call, norm: Norm
) -> tuple[tuple[Maybe, ...], tuple[Maybe, ...]]:
    """What comes out, and what backward keeps besides x and state."""
    found, count = moments(x, norm.channel_dim, call.backend, norm.group)
    rows = normalised(weights, found, norm.eps)
    s, last, v_seq, _, checkpoints = forward(Inputs(x, state, rows, residual), call)
    return (s, last, v_seq, found, count), (weights, rows, checkpoints)


class NormalisedMultiStep(torch.autograd.Function):
    """As MultiStep, of x normalised by its own moments; gradients for x, the initial state, weights and residual."""

    @staticmethod
    def forward(x: Tensor, state: Maybe, weights: Tensor, residual: Maybe, call: Call, norm: Norm) -> tuple[Maybe, ...]:
        outputs, (_, rows, checkpoints) = _forward(x, state, weights, residual, call, norm)
        return *outputs, rows, checkpoints

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, state, weights, _, ctx.call, ctx.norm = inputs
        found, count, rows, checkpoints = output[3:]
        ctx.mark_non_differentiable(*(t for t in output[3:] if t is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state, weights, rows, checkpoints, found, count)

    @staticmethod
    def backward(ctx: Any, grad_s: Maybe, grad_state: Maybe, grad_v_seq: Maybe, *_: Maybe) -> tuple[Maybe, ...]:
        x, state, weights, rows, checkpoints, found, count = saved(ctx)
        call, norm, grads = ctx.call, ctx.norm, (grad_s, grad_state, grad_v_seq, None)
        if all(g is None for g in grads):
            return (None,) * 6
        want_x, want_state, want_weights, want_residual = ctx.needs_input_grad[:4]
        grad_residual = grad_s if want_residual else None
        if not (want_x or want_state or want_weights):
            return None, None, None, grad_residual, None, None
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            wants = want_x, want_state, want_weights
            return *_replay(x, state, weights, grads[:3], call, norm, wants), grad_residual, None, None
        adder = _line_adder(x, call) if want_x and plain(x, state, rows, *grads) else None
        at_once, tensors = adder is not None, (state, rows, checkpoints, call)
        sums = backward(x, grads, *tensors, (at_once, want_state and (at_once or not want_x), True))
        count = x.numel() / x.shape[norm.channel_dim] if count is None else count
        grad_weights, line = _backward_of_statistics(sums[2], weights, found, count, norm)  # type: ignore[arg-type]
        applied = sums
        if adder is not None:
            adder.add_line(sums[0], layout.rows(x), line.float(), norm.channel_dim)  # type: ignore[arg-type]
        elif want_x:
            applied = backward(x, grads, *tensors, (True, want_state, False), line)
        return applied[0], applied[1], grad_weights if want_weights else None, grad_residual, None, None


class PlainNormalised(torch.autograd.Function):
    """NormalisedMultiStep in the older form of a Function, which costs less a call (see `PlainMultiStep`)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, state: Maybe, weights: Tensor, residual: Maybe, call: Call, norm: Norm
    ) -> tuple[Maybe, ...]:
        outputs, kept = _forward(x, state, weights, residual, call, norm)
        ctx.call, ctx.norm = call, norm
        ctx.mark_non_differentiable(*(t for t in outputs[3:] if t is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state, *kept, *outputs[3:])
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        return NormalisedMultiStep.backward(ctx, *grads)


def _line_adder(x: Tensor, call: Call) -> Any:
    """The backend, if it makes dL/dx in the first pass and adds the line to it, or None: it makes two passes."""
    chosen = backends.select('multistep', x.device, x.dtype, call.backend)
    return chosen if hasattr(chosen, 'add_line') and chosen.adds_lines(x) else None


def _replay(
    x: Tensor,
    state: Maybe,
    weights: Tensor,
    grads: tuple[Maybe, ...],
    call: Call,
    norm: Norm,
    wants: tuple[bool, ...],
) -> tuple[Maybe, ...]:
    """The gradients by the reference, differentiable once more."""
    if norm.group is not None:
        raise RuntimeError('there is no second derivative of a BatchNorm over several processes')
    with torch.enable_grad():
        given = [t if t is None else t.view_as(t) for t in (x, state, weights)]
        inputs = [t for t, want in zip(given, wants, strict=True) if want and t is not None]
        found = reference.moments(given[0], norm.channel_dim)  # type: ignore[arg-type]
        rows = normalised(given[2], found, norm.eps)  # type: ignore[arg-type]
        trace = reference.run(given[0], given[1], Program.parse(call.spec), call.T, rows)  # type: ignore[arg-type]
        pairs = [(o, g) for o, g in zip((trace.s, trace.state, trace.v), grads, strict=True) if g is not None]
        outputs, upstream = zip(*pairs, strict=True)
        results = iter(torch.autograd.grad(outputs, inputs, upstream, create_graph=True, materialize_grads=True))
    return tuple(next(results) if want and t is not None else None for t, want in zip(given, wants, strict=True))


class Normalised(NamedTuple):
    """Spikes [T, ...], last states [S, ...], trace of v [T, ...] (None unless wanted), moments [2, C], count."""

    s: Tensor
    last: Maybe
    v_seq: Maybe
    moments: Tensor
    size: Maybe


def normalised_multistep(
    inputs: Inputs, spec: str, T: int, wants: tuple[bool, bool, bool, str], norm: Norm
) -> Normalised:
    """The op; `inputs.coefficients`: weights [P, 1|T, C] with rows b and c; wants: last states, trace, sum, backend."""
    x, state, weights, residual = inputs
    assert weights is not None
    if norm.group is None and x.numel() == x.shape[norm.channel_dim]:
        raise ValueError(f'x must hold more than one number per channel in training, got shape {tuple(x.shape)}')
    call = Call(spec, T, wants_gradient(*inputs), *wants)
    eager = plain(*inputs) and torch.autograd.forward_ad._current_level < 0
    run = PlainNormalised if eager else NormalisedMultiStep
    found = run.apply(x, state, weights.to(state_dtype(x.dtype)), residual, call, norm)
    mark(found[0], spec)
    return Normalised(*found[:5])  # type: ignore[misc]
