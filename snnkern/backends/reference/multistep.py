"""The specification in plain torch: what every other backend must compute, on any device and dtype.

`run` is the recurrence and the only place where it is spelled in torch. Backward is autograd of `run`. Half
precision is computed in float32 and rounded at the end; float64 stays float64 (for gradcheck).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnkern.backends import checkpoint_interval, layout
from snnkern.neurons import SLOTS, Program
from snnkern.spikes import Spike, bind, smooth

Maybe = Tensor | None


@dataclass
class Trace:
    """What `run` computes: spikes [T, ...], the last state [S, ...], potentials h and v and all states [T, ...].

    x: what neurons saw, x + residual where they are connected so.
    """

    x: Tensor
    s: Tensor
    state: Tensor
    h: Tensor
    v: Tensor
    states: list[Tensor]


def bound(program: Program, coefficients: Maybe, x: Tensor, T: int) -> Iterator[tuple[Any, Any, Tensor, Any]]:
    """Charge, surrogate, theta and alpha of each step: numbers, or rows of the coefficients in the shape of a step."""
    neuron = program.neuron
    theta = torch.full((), neuron.fire.v_threshold, dtype=x.dtype, device=x.device)
    if coefficients is None:
        yield from [(neuron.charge, neuron.surrogate, theta, None)] * T
        return
    each = coefficients.shape[2] != 1
    shape = (-1, *[1] * (x.dim() - 1 - program.channel_dim)) if each else ()
    for step in coefficients.to(x.dtype).expand(-1, T, -1).unbind(1):
        values = {name: row.reshape(shape) for name, row in zip(program.names, step, strict=True)}
        charge = bind(neuron.charge, {n: v for n, v in values.items() if SLOTS[n] < SLOTS['v_threshold']})
        alpha = values.get('alpha')
        surrogate = neuron.surrogate if alpha is None else bind(neuron.surrogate, {'alpha': alpha})
        yield charge, surrogate, values.get('v_threshold', theta), alpha


def run(
    x: Tensor,
    state: Maybe,
    program: Program,
    T: int,
    coefficients: Maybe = None,
    smooth_spikes: bool = False,
    residual: Maybe = None,
) -> Trace:
    """T steps of charge, fire, reset; x: [T, ...] or [1, ...] (the same input at every step).

    state: [S, ...] or None (`neuron.reset.v_start`, others 0). coefficients: [P, 1|T, 1|C] or None.
    smooth_spikes: spikes are the surrogate's primal, so that everything is differentiable in the ordinary sense.
    residual: [T, ...] or None.
    """
    if residual is not None and program.connect == 'ms':
        x = x + residual
    _, fire, reset, _ = program.neuron.parts
    wide = _wide(x)
    names = program.neuron.states
    starts = [torch.full_like(wide[0], reset.v_start if name == 'v' else 0.0) for name in names]
    now = dict(zip(names, starts if state is None else state.to(wide.dtype).unbind(0), strict=True))
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    steps = wide.expand(T, *x.shape[1:]).unbind(0)
    for x_t, (charge, surrogate, theta, alpha) in zip(steps, bound(program, coefficients, wide, T), strict=True):
        v, m = now['v'].detach() if reset.detach_v else now['v'], now.get('m')

        def spikes(h: Tensor, bar: Tensor, gate: Maybe, surrogate: Any = surrogate, alpha: Any = alpha) -> Any:
            if smooth_spikes:
                return smooth(h, bar, gate, fire, surrogate)
            return Spike.apply(h, bar, alpha, gate, fire, surrogate)

        back = theta * fire.negative.spacing if fire.negative else theta
        if charge.extra:
            x_t, now['i'] = charge.current(now['i'], x_t)
        h = charge.charge(v, x_t)
        if reset.delayed:
            h = reset.apply(h, *spikes(v, theta, None), theta, back)
        up, down = spikes(h, fire.bar(theta, m), m if fire.negative else None)
        s = up if down is None else up - down
        now['v'] = h if reset.delayed else (reset.smooth if smooth_spikes else reset.apply)(h, up, down, theta, back)
        if m is not None:
            now['m'] = fire.remember(m, s)
        rows.append((s * theta if fire.real_units else s, h, torch.stack([now[name] for name in names])))
    s, h, states = zip(*rows, strict=True)
    v_seq, emitted = torch.stack([step[0] for step in states]), torch.stack(s)
    if residual is not None and program.connect == 'sew':
        emitted = emitted + residual
    return Trace(x, emitted.to(x.dtype), states[-1], torch.stack(h), v_seq, list(states))


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def multistep_fwd(
    x: Tensor,
    state: Maybe,
    coefficients: Maybe,
    residual: Maybe,
    spec: str,
    T: int,
    save: bool,
    want_state: bool,
    want_v_seq: bool,
    want_sum: bool,
) -> tuple[Tensor, Maybe, Maybe, Maybe, Maybe]:
    """Spikes, last state, trace of v, the sum, states before every K-th step (backward here needs none), or None."""
    with torch.no_grad():
        trace = run(x, state, Program.parse(spec), T, coefficients, residual=residual)
    K = checkpoint_interval(x.dtype)
    kept = trace.states[K - 1 : T - 1 : K] if save else []
    wanted = (
        trace.state if want_state else None,
        trace.v if want_v_seq else None,
        trace.x if want_sum else None,
        torch.cat(kept) if kept else None,
    )
    return _laid_out(trace.s, x), *(None if t is None else _laid_out(t, x) for t in wanted)  # type: ignore[return-value]


def _laid_out(t: Tensor, x: Tensor) -> Tensor:
    """t [steps, ...] in the memory layout of x, and never one of the tensors that came in."""
    return layout.new_like(x, t.shape[0], t.dtype).copy_(t)


def multistep_bwd(
    grad_s: Maybe,
    grad_state: Maybe,
    grad_v_seq: Maybe,
    grad_sum: Maybe,
    x: Tensor,
    state: Maybe,
    coefficients: Maybe,
    checkpoints: Maybe,
    line: Maybe,
    spec: str,
    T: int,
    want_x: bool,
    want_state: bool,
    want_coefficients: bool,
    create_graph: bool = False,
) -> tuple[Maybe, Maybe, Maybe]:
    """Gradients of x, the initial state and the coefficients, as far as wanted; create_graph: differentiable."""
    autograd = torch._C.DispatchKey.AutogradFunctionality  # absent below a dispatch mode
    with torch.enable_grad(), torch._C._SetExcludeDispatchKeyGuard(autograd, False):
        # Aliases: torch.func hands in tensors of a level that is over, which only claim to need a gradient.
        # Half precision is rounded once, when everything is added up.
        tensors = (x if create_graph else _wide(x), state, coefficients)
        given = [t if t is None else t.view_as(t) if create_graph else t.detach() for t in tensors]
        sources = [t for t in (*given, grad_s, grad_state, grad_v_seq, grad_sum) if t is not None]
        create_graph = create_graph and any(t.requires_grad for t in sources)
        wanted = (want_x, want_state, want_coefficients)
        # only what is wanted: torch.func forbids `requires_grad_` on what it hands in
        given = [
            t if t is None or t.requires_grad or not want else t.detach().requires_grad_()
            for t, want in zip(given, wanted, strict=True)
        ]
        assert given[0] is not None
        program = Program.parse(spec)
        trace = run(given[0], given[1], program, T, given[2])
        pairs = [(trace.s, grad_s), (trace.state, grad_state), (trace.v, grad_v_seq), (trace.x, grad_sum)]
        pairs = [(o, g if g is None else g.to(o.dtype)) for o, g in pairs]
        # a late current or a detached potential may not depend on anything
        used = [(o, g) for o, g in pairs if g is not None and o.requires_grad]
        inputs = [t for t, want in zip(given, wanted, strict=True) if want and t is not None]
        outputs, grads = zip(*(used or [(inputs[0], torch.zeros_like(inputs[0]))]), strict=True)
        found = iter(torch.autograd.grad(outputs, inputs, grads, create_graph=create_graph, materialize_grads=True))
    results = [next(found) if want and t is not None else None for t, want in zip(given, wanted, strict=True)]
    if create_graph:
        return tuple(results)  # type: ignore[return-value]
    if line is not None and results[0] is not None:
        slope, start = (row.reshape(-1, *[1] * (x.dim() - 1 - program.channel_dim)) for row in line)
        results[0] = results[0] + slope * x + start
    laid = [g if g is None else _laid_out(g.to(d), x) for g, d in zip(results, (x.dtype, _wide(x).dtype), strict=False)]
    return *laid, results[2]  # type: ignore[return-value]
