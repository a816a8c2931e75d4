"""Direct coding: x is one step, expanded over time. It is read once and never copied."""

import pytest
import torch

from snnkern import IF, LIF, Neuron, Soft
from snnkern.functional import batch_norm_neuron, lif, multistep


@pytest.mark.parametrize('shape', [(3, 1), (2, 3, 4, 4)])
@pytest.mark.parametrize('T', [2, 20])
def test_expanded_input(shape, T):
    """Spikes, states and gradients of the copy that it stands for."""
    neuron, results = Neuron(IF(), reset=Soft()), []
    step, upstream = torch.rand(shape), torch.randn(T, *shape)
    for form in (lambda t: t.expand(T, *shape), lambda t: t.expand(T, *shape).clone()):
        own = step.clone().requires_grad_()
        s, v = multistep(form(own), neuron, return_state=True)
        results.append((s, v, *torch.autograd.grad((s, v), own, (upstream, upstream[0]))))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0][2], results[1][2])


@pytest.mark.parametrize('tebn', [False, True])
@pytest.mark.parametrize('training', [True, False])
def test_with_batch_norm(tebn, training):
    """One step's moments are those of all; running statistics count every step."""
    T, shape, results = 6, (4, 3, 5, 5), []
    step, upstream = torch.randn(shape), torch.randn(T, *shape)
    for form in (lambda t: t.expand(T, *shape), lambda t: t.expand(T, *shape).clone()):
        own, weight = step.clone().requires_grad_(), torch.full((3,), 1.5, requires_grad=True)
        scale = torch.linspace(0.5, 2, T).requires_grad_() if tebn else None
        mean, variance = torch.zeros(3), torch.ones(3)
        how = {'weight': weight, 'scale': scale, 'training': training}
        s = batch_norm_neuron(form(own), Neuron(LIF(2.0)), mean, variance, **how)
        wanted = [t for t in (own, weight, scale) if t is not None]
        results.append((s, mean, variance, *torch.autograd.grad(s, wanted, upstream)))
    assert torch.equal(results[0][0], results[1][0])
    for one, other in zip(*(found[1:] for found in results), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_with_a_second_input_steps_differ():
    x, r = torch.rand(5).expand(4, 5), torch.rand(4, 5)
    found = multistep(x, Neuron(), residual=r, connect='ms')
    assert torch.equal(found, multistep(x + r, Neuron()))


def test_channels_last():
    step = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    s = lif(step.expand(6, 2, 3, 4, 4))
    assert s[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(s, lif(step, T=6))


def test_bytes(gpu):
    """One step is read, T are written."""
    multistep(torch.randn(4096).expand(16, 4096), Neuron(LIF(2.0)), backend='native')
    traffic = gpu.runs[-1].traffic()
    assert (traffic.load, traffic.store) == (4 * 4096, 4 * 16 * 4096)


def test_compile():
    torch._dynamo.reset()
    neuron = Neuron()
    compiled = torch.compile(lambda t: multistep(t.expand(5, 7), neuron), backend='aot_eager', fullgraph=True)
    step = torch.rand(7) * 2
    assert torch.equal(compiled(step), multistep(step, neuron, T=5))
