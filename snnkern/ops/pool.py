"""The lateral-inhibition pool as an op. Where a gradient is wanted, autograd of the reference computes it."""

from typing import Any

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout, reference
from snnkern.ops._library import define, plain

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


def lateral_pool2d(x: Tensor, *arguments: Any) -> Tensor:
    """Pooled spikes; arguments as in the op's schema. Raises ValueError if the window does not fit."""
    layout.pooled_size(x, *arguments[:5])
    if x.requires_grad and torch.is_grad_enabled():
        return reference.lateral_pool2d(x, *arguments[:-1])
    return (_run if plain(x) else _op)(x, *arguments)
