"""The specification in plain torch: what every other backend must compute, on any device and dtype.

`run` is the recurrence and the only place where it is spelled in torch. Backward is autograd of `run`. Half
precision is computed in float32 and rounded at the end; float64 stays float64 (for gradcheck).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern.backends import checkpoint_interval, layout
from snnkern.fires import Spike, divide, smooth
from snnkern.neurons import Neuron


@dataclass
class Trace:
    """What `run` computes: spikes [T, ...], the last state [1, ...], potentials h and v [T, ...]."""

    s: Tensor
    state: Tensor
    h: Tensor
    v: Tensor


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op; never."""
    return None


def notes() -> list[str]:
    """What `explain()` adds."""
    return ['lateral_pool2d: its gradient is computed by the reference on every backend']


def run(x: Tensor, state: Tensor | None, neuron: Neuron, T: int, smooth_spikes: bool = False) -> Trace:
    """T steps of charge, fire, reset; x: [T, ...] or [1, ...] (the same input at every step).

    state: [1, ...] or None (`neuron.reset.v_start`). smooth_spikes: spikes are the surrogate's primal, so
    that everything is differentiable in the ordinary sense.
    """
    charge, fire, reset, surrogate = neuron.parts
    wide = x.double() if x.dtype == torch.float64 else x.float()
    v = torch.full_like(wide[0], reset.v_start) if state is None else state[0].to(wide.dtype)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for x_t in wide.expand(T, *x.shape[1:]).unbind(0):
        h = charge.charge(v, x_t)
        if smooth_spikes:
            s = smooth(h, fire, surrogate)
            v = reset.smooth(h, s, fire.v_threshold)
        else:
            s = Spike.apply(h, fire, surrogate)
            v = reset.apply(h, s, fire.v_threshold)
        rows.append((s * fire.v_threshold if fire.real_units else s, h, v))
    s, h, v_seq = (torch.stack(column) for column in zip(*rows, strict=True))
    return Trace(s.to(x.dtype), v.unsqueeze(0), h, v_seq)


def multistep_fwd(
    x: Tensor, state: Tensor | None, spec: str, T: int, save: bool, want_state: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Spikes, last state or None, v before every K-th step or None (backward here does not need it)."""
    with torch.no_grad():
        trace = run(x, state, Neuron.parse(spec), T)
    K = checkpoint_interval(x.dtype)
    checkpoints = trace.v[K - 1 : T - 1 : K]
    kept = _laid_out(checkpoints, x) if save and len(checkpoints) else None
    return _laid_out(trace.s, x), _laid_out(trace.state, x) if want_state else None, kept


def _laid_out(t: Tensor, x: Tensor) -> Tensor:
    """t [steps, ...] in the memory layout of x, and never one of the tensors that came in."""
    return layout.new_like(x, t.shape[0], t.dtype).copy_(t)


def multistep_bwd(
    grad_s: Tensor | None,
    grad_state: Tensor | None,
    x: Tensor,
    state: Tensor | None,
    checkpoints: Tensor | None,
    spec: str,
    T: int,
    want_state: bool,
    create_graph: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and, if wanted, of the initial state; create_graph: differentiable themselves."""
    autograd = torch._C.DispatchKey.AutogradFunctionality  # absent below a dispatch mode
    with torch.enable_grad(), torch._C._SetExcludeDispatchKeyGuard(autograd, False):
        # Aliases: torch.func hands in tensors of a level that is over, which only claim to need a gradient.
        given = [t if t is None else t.view_as(t) if create_graph else t.detach() for t in (x, state)]
        sources = [t for t in (*given, grad_s, grad_state) if t is not None]
        create_graph = create_graph and any(t.requires_grad for t in sources)
        start, v0 = (t if t is None or t.requires_grad else t.detach().requires_grad_() for t in given)
        assert start is not None
        trace = run(start, v0, Neuron.parse(spec), T)
        pairs = [(trace.s, grad_s), (trace.state, grad_state)]
        outputs, grads = zip(*[(o, g) for o, g in pairs if g is not None], strict=True)
        inputs = [start, v0] if want_state and v0 is not None else [start]
        found = torch.autograd.grad(outputs, inputs, grads, create_graph=create_graph, materialize_grads=True)
    results = found if create_graph else [_laid_out(g, x) for g in found]
    return results[0], results[1] if want_state else None


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


def lateral_pool2d(
    x: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    scale: float,
) -> Tensor:
    """The change of the window maximum of the cumulative spike counts (see functional.lateral_pool2d)."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    total = Round.apply(divide(wide, scale)).cumsum(0)
    planes = total.flatten(0, -3).unsqueeze(1)  # max_pool2d accepts none of these, but not none of channels
    top = F.max_pool2d(planes, kernel_size, stride, padding, dilation, ceil_mode)
    top = top.squeeze(1).unflatten(0, total.shape[:-2])
    return (torch.diff(top, dim=0, prepend=torch.zeros_like(top[:1])) * scale).to(x.dtype)
