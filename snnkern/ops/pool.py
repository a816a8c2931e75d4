"""The lateral-inhibition pool as an op. Its gradient is that of the reference, on every backend."""

from typing import Any

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.ops._library import define, plain, wants_gradient

OP = 'lateral_pool2d'


def _run(x: Tensor, *arguments: Any) -> Tensor:
    *window, ceil_mode, scale, backend = arguments
    chosen = backends.select(OP, x.device, x.dtype, backend)
    return chosen.lateral_pool2d(x, *map(tuple, window), ceil_mode, scale)


def _fake(x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty((*x.shape[:-2], *layout.pooled_size(x, *arguments[:5])))


_op = define(
    OP,
    '(Tensor x, int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode, float scale, '
    'str backend) -> Tensor',
    _run,
    _fake,
)


class LateralPool(torch.autograd.Function):
    """Forward on the chosen backend, backward by autograd of the reference."""

    @staticmethod
    def forward(x: Tensor, *arguments: Any) -> Tensor:
        return _run(x, *arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.arguments = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        again = torch.is_grad_enabled()  # create_graph
        with torch.enable_grad():
            source = x if again else x.detach().requires_grad_()
            out = reference.lateral_pool2d(source, *ctx.arguments[:-1])
            (grad_x,) = torch.autograd.grad(out, source, grad, create_graph=again)
        return grad_x, *[None] * len(ctx.arguments)


def lateral_pool2d(x: Tensor, *arguments: Any) -> Tensor:
    """Pooled spikes; arguments as in the op's schema. Raises ValueError if the window does not fit."""
    layout.pooled_size(x, *arguments[:5])
    if not wants_gradient(x):
        return (_run if plain(x) else _op)(x, *arguments)
    if plain(x):
        return LateralPool.apply(x, *arguments)
    if not torch.compiler.is_compiling():
        backends.select(OP, x.device, x.dtype, arguments[-1])  # a backend that cannot is an error here, too
    return reference.lateral_pool2d(x, *arguments[:-1])
