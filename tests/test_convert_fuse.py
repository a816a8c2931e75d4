"""Sums and biases in front of neurons: the neurons and the layers before them compute them, with the same spikes."""

import pytest
import torch
from soundness import Net, called, sound
from torch import nn
from torch.nn import functional as F

from snnkern.convert import convert
from snnkern.convert.layers import Spiking
from snnkern.convert.recipes import calibration, layerwise


class Block(nn.Module):
    """A residual block: the sum is read by the neuron alone."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(i, 4, 3, padding=1, bias=False) for i in (2, 4, 4))

    def forward(self, x):
        x = F.relu(self.one(x))
        return F.relu(self.three(F.relu(self.two(x))) + x)


def fused(snn):
    """How many neurons read two parts of a sum."""
    return sum(len(n.args) == 2 for n in snn.body.graph.nodes if n.op == 'call_module' and 'neuron' in n.target)


def test_a_sum_is_the_neurons_and_spikes_stay_the_same(monkeypatch):
    net, x = Block(), torch.randn(8, 2, 6, 6)
    snn = convert(net, x, 'layerwise', timesteps=5)
    assert fused(snn) == 1
    monkeypatch.setattr('snnkern.convert.replace.fuse_sums', lambda net: None)
    apart = convert(net, x, 'layerwise', timesteps=5)
    assert fused(apart) == 0
    for (t, a), (_, b) in zip(snn.steps(x, 5), apart.steps(x, 5), strict=True):
        assert torch.equal(a, b), t


def test_a_sum_that_others_read_stays():
    net = Net(lambda m, x: (lambda y: F.relu(y) + y)(m.conv(x) + m.conv2(F.relu(m.conv(x)))))
    assert fused(sound(net, torch.randn(8, 2, 8, 8))) == 0


@pytest.mark.parametrize('shape', [(1, 4, 8, 8), (4, 1, 1), (1, 4, 1, 1)])
def test_a_constant_without_a_batch_is_added(shape):
    net = Net(lambda m, x: F.relu(m.conv2(F.relu(m.conv(x))) + m.learned))
    net.learned = nn.Parameter(torch.randn(shape))
    snn = sound(net, torch.randn(8, 2, 8, 8))
    x = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(snn(x, 400), net(x), rtol=0, atol=0.05)


def test_parts_that_differ_are_added_first():
    layer = convert(Block(), torch.randn(8, 2, 6, 6), layerwise()).neurons[-1]
    layer.clock.steps = 3
    x, one, half = torch.randn(6, 4, 5, 5), torch.randn(6, 4, 1, 1), torch.randn(6, 4, 5, 5).half()
    for more in (one, half):
        layer.reset()
        both = layer(x, more)
        layer.reset()
        assert torch.equal(both, layer(x + more))


def test_biases_of_neurons_go_into_layers_of_their_own():
    net, x = Block(), torch.randn(16, 2, 6, 6)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    snn = convert(net, x, calibration(), timesteps=2)
    assert all(type(layer) is Spiking and layer.names == () for layer in snn.neurons)
    assert any(m.bias.abs().max() > 0 for m in called(snn) if isinstance(m, nn.Conv2d))
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_a_layer_that_runs_twice_has_two_biases():
    net = Net(lambda m, x: F.relu(m.conv2(F.relu(m.conv2(F.relu(m.conv(x)))))))
    snn = convert(net, torch.randn(32, 2, 8, 8), calibration(), timesteps=2)
    first, second = (m for m in called(snn) if isinstance(m, nn.Conv2d) and m.in_channels == 4)
    assert first.weight is second.weight
    assert not torch.equal(first.bias, second.bias)
