"""The lateral-inhibition pool as an op. Where a gradient is wanted, autograd of the reference computes it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern import backends
from snnkern.backends import reference
from snnkern.ops._library import define, plain

OP = 'lateral_pool2d'


def _run(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, scale: float, backend: str) -> Tensor:
    chosen = backends.select(OP, x.device, x.dtype, backend)
    return chosen.lateral_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil, scale)


def _fake(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, scale: float, backend: str) -> Tensor:
    pooled = F.max_pool2d(x.flatten(0, -4), kernel, stride, padding, dilation, ceil)
    return x.new_empty((*x.shape[:-2], *pooled.shape[-2:]))


_op = define(
    OP,
    '(Tensor x, int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode, float scale, '
    'str backend) -> Tensor',
    _run,
    _fake,
)


def lateral_pool2d(x: Tensor, *arguments: Any) -> Tensor:
    """Pooled spikes; arguments as in the op's schema, checked already."""
    if x.requires_grad and torch.is_grad_enabled():
        return reference.lateral_pool2d(x, *arguments[:-1])
    return (_run if plain(x) else _op)(x, *arguments)
