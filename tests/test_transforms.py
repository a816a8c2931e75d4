"""What others do to tensors around a neuron: forward-mode derivatives, batched gradients, hooks, fakes, views."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from snnkern import functional
from snnkern.functional import lateral_pool2d, lif
from snnkern.testing import assert_grads_close, assert_spikes_equal


def pool(x):
    return lateral_pool2d(x, 2)


@pytest.mark.filterwarnings('ignore:`torch.jit.script` is deprecated')  # torch's own, inside jvp
@pytest.mark.parametrize(('f', 'shape'), [(lif, (3, 8)), (pool, (3, 1, 1, 4, 4))], ids=['lif', 'pool'])
def test_forward_mode_is_refused_not_zero(f, shape):
    """A derivative that nobody computes must not come back as 0."""
    x = torch.rand(shape).round()
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.func.jvp(f, (x,), (torch.ones_like(x),))
    with torch.autograd.forward_ad.dual_level(), pytest.raises((RuntimeError, NotImplementedError)):
        f(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))


def test_batched_gradients():
    x = torch.randn(4, 6, requires_grad=True)
    grads = torch.randn(3, 4, 6)
    (batched,) = torch.autograd.grad(lif(x), x, grads, is_grads_batched=True)
    single = [torch.autograd.grad(lif(x), x, g)[0] for g in grads]
    assert_grads_close(batched, torch.stack(single))


def test_hook_that_changes_the_layout_of_what_is_saved():
    """Checkpoints (T > 16) follow the layout that x comes back with."""
    x = (2 * torch.randn(40, 2, 4, 4, 3)).permute(0, 1, 4, 2, 3).requires_grad_()
    upstream = torch.randn(x.shape)
    (expected,) = torch.autograd.grad(lif(x), x, upstream)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.contiguous() if t.shape[0] == 40 else t, lambda t: t):
        s = lif(x)
    (actual,) = torch.autograd.grad(s, x, upstream)
    assert_grads_close(actual.contiguous(), expected.contiguous())


def test_fake_potential_with_real_input_is_not_ignored():
    with FakeTensorMode():
        v0 = torch.full((4,), 0.9)
    assert type(v0) is not torch.Tensor
    with pytest.raises(Exception, match=r'[Ff]ake'):
        functional.lif(torch.full((1, 4), 0.3), v0=v0)


def test_negated_views():
    x = torch.rand(4, 10) * 3
    assert_spikes_equal(lif(torch._neg_view(-x)), lif(x))


@pytest.mark.parametrize('backend', ['gpu', 'triton'])
def test_pool_backend_is_checked_with_gradients_too(backend):
    x = torch.ones(2, 1, 1, 4, 4, requires_grad=True)
    with pytest.raises((ValueError, RuntimeError), match='backend'):
        lateral_pool2d(x, 2, backend=backend)


def test_pool_gradients_are_those_of_the_reference():
    x = torch.randint(0, 3, (5, 2, 3, 6, 6)).float().requires_grad_()
    upstream = torch.randn(5, 2, 3, 3, 3)
    grads = [torch.autograd.grad(lateral_pool2d(x, 2, backend=b), x, upstream)[0] for b in ('native', 'reference')]
    assert grads[0].abs().sum() > 0
    assert_grads_close(*grads)
