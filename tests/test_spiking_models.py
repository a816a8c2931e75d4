"""The small spiking networks: shapes, gradients, the non-spiking twins, and snnTorch's network as oracle."""

import importlib.util

import pytest
import torch

from snnkern import encode
from snnkern.data import noise
from snnkern.data.samples import generator
from snnkern.models.spiking.conv import ConvNet
from snnkern.models.spiking.mlp import MLP
from snnkern.models.spiking.neurons import LAYERS, NORMS, neuron, norm_neuron
from snnkern.models.spiking.recurrent import RNN
from snnkern.nn import BatchNormNeuron, Neuron, reset
from snnkern.testing import assert_grads_close, assert_spikes_equal

SNNTORCH = pytest.mark.skipif(not importlib.util.find_spec('snntorch'), reason='snnTorch is not installed: no oracle')
SIZE = 8, 12


def images(batch=3, channels=2):
    return torch.rand(batch, channels, *SIZE)


@pytest.mark.parametrize('name', LAYERS)
@pytest.mark.parametrize('norm', NORMS)
def test_layers_by_name(name, norm):
    layer = norm_neuron(name, 4, norm, T=3)
    x = torch.randn(3, 2, 4, 5, 5, requires_grad=True)
    out = layer(x)
    assert out.shape == x.shape
    out.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in layer.parameters())
    if norm in ('bn', 'tdbn', 'tebn', 'none'):
        assert set(out.detach().unique().tolist()) <= {-1, 0, 1} or name == 'relu'
    if norm not in ('none', 'tep') and name != 'relu':
        assert isinstance(layer, BatchNormNeuron)
        assert layer.process_group == 'world'
        assert layer.neuron == neuron(name).neuron


def test_time_constants():
    for name, tau in (('lif', 4.0), ('bias-lif', 4.0)):
        assert neuron(name, tau).neuron.charge.tau == tau
    assert neuron('plif', 4.0).coefficients()['k'].item() == pytest.approx(0.25)
    assert neuron('leaky', 4.0).coefficients()['a'].item() == pytest.approx(0.75)
    fused = norm_neuron('leaky', 3, 'bn', tau=4.0)
    assert fused.coefficients()['a'].item() == pytest.approx(0.75)
    assert fused.a.requires_grad
    assert neuron('lif', v_threshold=0.5).neuron.fire.v_threshold == 0.5


def test_a_threshold_that_is_a_tensor_stays_behind_the_norm():
    layer = norm_neuron('leaky', 3, v_threshold=torch.tensor([0.5, 1.0, 1.5]))
    assert layer.coefficients()['v_threshold'].tolist() == [0.5, 1.0, 1.5]
    assert 'v_threshold' in dict(layer.named_buffers())


def test_learned_numbers_of_channels_stay_such_behind_the_norm():
    beta, x = torch.tensor([0.2, 0.5, 0.9]), torch.randn(4, 2, 3, 5, 5)
    layer, plain = norm_neuron('leaky', 3, beta=beta), norm_neuron('leaky', 3)
    assert layer.coefficients()['a'].tolist() == beta.tolist()
    assert layer.a.requires_grad
    assert not torch.equal(layer(x), plain(x))


def test_single_steps_stay_such_behind_the_norm():
    """In eval mode: as all steps at once."""
    single, whole = (norm_neuron('lif', 3, step_mode=mode).eval() for mode in 'sm')
    x = 2 * torch.randn(4, 2, 3, 5, 5)
    assert torch.equal(torch.stack([single(step) for step in x]), whole(x))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"neuron: expected one of if, lif, .*, got 'lfi'"):
        neuron('lfi')
    with pytest.raises(ValueError, match=r"norm: expected one of bn, .*, got 'ln'"):
        norm_neuron('lif', 3, 'ln')
    with pytest.raises(ValueError, match=r'tau: a neuron "if" has none, got 2\.0'):
        neuron('if', 2.0)
    with pytest.raises(ValueError, match=r'tau must be > 0, got 0'):
        neuron('leaky', 0.0)
    with pytest.raises(ValueError, match=r'tau must be > 0, got -2'):
        neuron('plif', -2.0)
    with pytest.raises(ValueError, match=r'tau: expected at least 1 for a neuron "leaky".*got 0\.5'):
        neuron('leaky', 0.5)
    with pytest.raises(ValueError, match=r'learned numbers must be one or one of each of 4 channels, got a \(3,\)'):
        norm_neuron('leaky', 4, beta=torch.rand(3))
    with pytest.raises(ValueError, match='connect must be "sew" here, since x is normalised first, got \'ms\''):
        norm_neuron('lif', 3, connect='ms')
    with pytest.raises(ValueError, match='T must be given with norm "tebn"'):
        norm_neuron('lif', 3, 'tebn')
    with pytest.raises(ValueError, match='size: expected at least 4 x 4 pixels, got'):
        ConvNet(1, (3, 8))
    with pytest.raises(ValueError, match='level: expected a number >= 0, got -1'):
        noise.gaussian(images(), generator(0, 0), -1)


@pytest.mark.parametrize(
    'make', [MLP, ConvNet, RNN, lambda *a: MLP(*a, neuron='relu'), lambda *a: ConvNet(*a, neuron='relu')]
)
@pytest.mark.parametrize('coding', [encode.direct, encode.poisson])
def test_networks(make, coding):
    net = make(2, SIZE, 5)
    out = net(coding(images(), 6))
    assert out.shape == (6, 3, 5)
    out.sum(0).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    reset(net)
    assert all(m.state is None for m in net.modules() if isinstance(m, Neuron))


@pytest.mark.parametrize('make', [MLP, ConvNet])
def test_a_constant_input_is_the_same_as_copies_of_it(make):
    torch.manual_seed(1)
    net = make(2, SIZE, 5)
    x = encode.direct(images(), 5)
    found = net(x)
    reset(net)
    torch.testing.assert_close(found, net(x.contiguous()), rtol=1e-4, atol=1e-5)


@SNNTORCH
@pytest.mark.parametrize('coding', [encode.direct, encode.poisson])
def test_the_network_of_snntorch(coding):
    """One forward and backward with the same weights: equal spikes, close gradients."""
    import snntorch as snn
    from snntorch import surrogate

    torch.manual_seed(2)
    net = MLP(1, SIZE, 10, hidden=50)
    with torch.no_grad():
        net.linear1[1].weight *= 3
        net.linear2[0].weight *= 3
    sharp = surrogate.fast_sigmoid(slope=25)
    first = snn.Leaky(net.neurons1.a.detach().clone(), spike_grad=sharp, learn_beta=True)
    second = snn.Leaky(net.neurons2.a.detach().clone(), spike_grad=sharp, learn_beta=True)
    x, weight = coding(images(channels=1), 10), torch.randn(10, 3, 10)
    found = net(x)
    v1, v2, spikes = first.init_leaky(), second.init_leaky(), []
    # One product for all steps, as here: another grouping of its sums could flip a spike at its threshold.
    currents = net.linear1(x)
    for current in currents:
        s1, v1 = first(current, v1)
        spikes.append(s1)
    hidden, out = torch.stack(spikes), []
    for current in net.linear2(hidden):
        s2, v2 = second(current, v2)
        out.append(s2)
    expected = torch.stack(out)
    assert 0.05 < expected.mean() < 0.95
    assert_spikes_equal(found, expected)
    shared = [net.linear1[1].weight, net.linear1[1].bias, net.linear2[0].weight, net.linear2[0].bias]
    theirs = torch.autograd.grad((expected * weight).sum(), [*shared, first.beta, second.beta])
    ours = torch.autograd.grad((found * weight).sum(), [*shared, net.neurons1.a, net.neurons2.a])
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().sum() > 0
        assert_grads_close(a, b)


def test_noise_is_of_its_level_and_of_its_sample():
    x = torch.full((1, 1, 64, 64), 0.5)
    found = noise.gaussian(x, generator(0, 5), 1)
    assert found.std().item() == pytest.approx(0.1, rel=0.05)
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(found, noise.gaussian(x, generator(0, 5), 1))
    assert not torch.equal(found, noise.gaussian(x, generator(0, 6), 1))
    assert torch.equal(x, noise.gaussian(x, generator(0, 5), 0))
    strong = noise.gaussian(x, generator(0, 5), 100)
    assert strong.min() == 0
    assert strong.max() == 1
