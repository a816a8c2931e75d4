"""A network of another library before and after `accelerate`: the same outputs, gradients and states."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.testing import assert_grads_close, assert_spikes_equal


def flat(output: Any) -> list[Tensor]:
    """The tensors of nested tuples and lists, in order."""
    if isinstance(output, Tensor):
        return [output]
    return [t for part in output or () for t in flat(part)] if isinstance(output, (tuple, list)) else []


def train(net: nn.Module, run: Callable[[nn.Module, Tensor], Any], x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs, and gradients of the input and of all parameters for fixed upstream gradients."""
    x = x.detach().clone().requires_grad_()
    net.zero_grad()
    outputs = flat(run(net, x))
    generator = torch.Generator().manual_seed(1)
    terms = [(y * torch.randn(y.shape, generator=generator)).sum() for y in outputs if y.requires_grad]
    sum(terms).backward()
    grads = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return [y.detach() for y in outputs], {'x': x.grad, **grads}


def check(
    before: nn.Module, after: nn.Module, run: Callable[[nn.Module, Tensor], Any], x: Tensor, dtype: Any = 'sums'
) -> list[Tensor]:
    """Outputs equal to the bit, gradients within the tolerance of `dtype`; returns the outputs."""
    (expected, wanted), (actual, got) = train(before, run, x), train(after, run, x)
    assert len(expected) == len(actual)
    for a, e in zip(actual, expected, strict=True):
        assert_spikes_equal(a, e)
    assert wanted.keys() == got.keys()
    for name, grad in wanted.items():
        try:
            assert_grads_close(got[name], grad, dtype)
        except AssertionError as error:
            raise AssertionError(f'gradient of {name}: {error}') from error
    return expected
