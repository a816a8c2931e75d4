"""Packed saved tensors beside what else changes autograd: double backward, checkpoints, threads, torch.compile."""

import threading

import pytest
import torch
from test_saved import Net, gradients, images, same
from torch.utils.checkpoint import checkpoint

from snnkern import compress_saved_spikes
from snnkern.ops import saved as ops_saved


def test_double_backward():
    net, x, found = Net(), images().requires_grad_(), []
    for packed in (False, True):
        with compress_saved_spikes() if packed else torch.enable_grad():
            loss = net(x).square().mean()
            (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), list(net.parameters())))
    assert same(found[1], found[0])
    assert any(g.abs().max() > 0 for g in found[0])


@pytest.mark.parametrize('reentrant', [False, True])
def test_checkpoint(reentrant):
    net, x = Net(), images().requires_grad_()
    expected = gradients(net, net(x).square().mean())
    with compress_saved_spikes():
        loss = checkpoint(net, x, use_reentrant=reentrant).square().mean()
    loss.backward()
    assert same([p.grad for p in net.parameters()], expected)


def test_nested_decorated_failed_and_in_threads():
    net, x = Net(), images()
    expected = gradients(net, net(x).square().mean())
    outer = compress_saved_spikes()

    @outer
    def loss():
        with compress_saved_spikes():
            with pytest.raises(ZeroDivisionError), compress_saved_spikes():
                raise ZeroDivisionError
            return net(x).square().mean()

    assert same(gradients(net, loss()), expected)
    assert ops_saved._tags.depth == 0
    found = []

    def work():
        with compress_saved_spikes() as saved:
            own = net(x).square().mean()
        found.append((own, saved.report().compressed))

    with compress_saved_spikes() as here:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert here.report().tensors == 0, 'hooks belong to a thread'
    assert found[0][1] >= 2
    assert same(gradients(net, found[0][0]), expected)


def test_compiled():
    """Hooks see what a compiled function saves; a context within one is handled. Gradients stay right either way."""
    net, x = Net(), images()
    expected = gradients(net, net(x).square().mean())
    torch.compiler.reset()
    compiled = torch.compile(net, backend='aot_eager')
    for _ in range(2):
        with compress_saved_spikes() as saved:
            loss = compiled(x).square().mean()
        assert same(gradients(net, loss), expected)
    assert saved.report().compressed >= 2

    @torch.compile(backend='aot_eager')
    def inside(x):
        with compress_saved_spikes():
            return net(x).square().mean()

    assert same(gradients(net, inside(x)), expected)
