"""The spike as autograd sees it: counts forward, a surrogate at every level of the fire backward."""

from typing import Any

import torch
from torch import Tensor

from snnkern.fires import Fire
from snnkern.surrogates import Surrogate


class Spike(torch.autograd.Function):
    """Positive and negative counts of (h, theta, m); the surrogate's derivatives backward (differentiable again)."""

    @staticmethod
    def forward(
        h: Tensor, theta: Tensor, alpha: Any, m: Tensor | None, fire: Fire, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor | None]:
        return fire.up(h, theta), fire.down(h, theta, m)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        h, theta, alpha, m, ctx.fire, ctx.surrogate = inputs
        ctx.save_for_backward(h, theta, alpha if isinstance(alpha, Tensor) else None, m)

    @staticmethod
    def backward(ctx: Any, grad_up: Tensor, grad_down: Tensor | None) -> tuple[Tensor | None, ...]:
        h, theta, alpha, m = ctx.saved_tensors
        surrogate = ctx.surrogate if alpha is None else bind(ctx.surrogate, {'alpha': alpha})
        grad_h, grad_theta = torch.zeros_like(h), torch.zeros_like(h)
        grad_alpha = None if alpha is None else torch.zeros_like(h)
        for sign, grad, at in _crossings(ctx.fire, grad_up, grad_down, m):
            for level, open_ in at:
                z = sign * h - level * theta
                through = grad if open_ is None else torch.where(open_, grad, 0)
                slope = through * surrogate.grad(z)
                grad_h, grad_theta = grad_h + sign * slope, grad_theta - level * slope
                if grad_alpha is not None:
                    grad_alpha = grad_alpha + through * surrogate.grad_alpha(z)
        reduced = None if grad_alpha is None else grad_alpha.sum_to_size(alpha.shape)
        return grad_h, grad_theta.sum_to_size(theta.shape), reduced, None, None, None


def _crossings(fire: Fire, up: Any, down: Any, m: Tensor | None) -> Any:
    """(sign of h, the side's value, its levels with the neurons where they are open) for both sides."""
    first, spacing, count = fire.positive
    yield 1, up, [(first + k * spacing, None) for k in range(count)]
    if fire.negative is not None:
        first, spacing, count = fire.negative
        yield -1, down, [(first + k * spacing, None if m is None else m > k) for k in range(count)]


def smooth(h: Tensor, theta: Tensor, m: Tensor | None, fire: Fire, surrogate: Surrogate) -> tuple[Tensor, Any]:
    """What the surrogate stands for: its primal, summed over the levels (for gradcheck), as (up, down)."""
    sides = []
    for sign, _, at in _crossings(fire, None, None, m):
        values = [surrogate.primal(sign * h - level * theta) for level, _ in at]
        gated = [v if o is None else torch.where(o, v, 0) for v, (_, o) in zip(values, at, strict=True)]
        sides.append(torch.stack(gated).sum(0))
    return sides[0], sides[1] if len(sides) > 1 else None


def bind(part: Any, values: dict[str, Tensor]) -> Any:
    """A copy of a part some of whose numbers are tensors for the length of a call; nothing is checked."""
    if not values:
        return part
    bound = object.__new__(type(part))
    bound.__dict__.update(part.__dict__, **values)
    return bound
