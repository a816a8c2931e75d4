"""A network of another library before and after `accelerate`: the same outputs, gradients and states."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkern import adapters
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


def check_copies(small: Callable[[], nn.Module], run: Callable[[nn.Module, Tensor], Any], x: Tensor) -> None:
    """Checkpoints load both ways; copies and pickles compute the same and keep the norm at 1 fused."""
    net = small()
    ours = adapters.accelerate(net)
    assert adapters.accelerate(ours, inplace=True) is ours
    assert ours.state_dict().keys() == net.state_dict().keys()
    ours.load_state_dict(small().state_dict())
    net.load_state_dict(ours.state_dict())
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    twins = copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), torch.load(file, weights_only=False)
    expected = run(ours, x)
    for twin in twins:
        assert twin[1].refusal() is None
        assert_spikes_equal(run(twin.train(), x), expected)
