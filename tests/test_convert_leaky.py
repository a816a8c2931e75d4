"""LeakyReLU: rates of the imbalanced threshold, pools of negative spikes, pads between, the classic loop."""

from itertools import pairwise

import pytest
import torch
from conversions import network
from soundness import Net, images, kinds, sound
from torch import nn
from torch.nn import functional as F

from snnkern import Signed
from snnkern.convert import SNN, convert
from snnkern.convert.layers import LateralPool
from snnkern.convert.recipes import default, spiking_yolo

# What a stage of Tiny-YOLO with stride 1 does, and other pads whose values are whole numbers of spikes.
PADS = {
    'replicate': nn.ReplicationPad2d((0, 1, 0, 1)),
    'reflect': nn.ReflectionPad2d(1),
    'circular': nn.CircularPad2d((1, 0, 1, 0)),
    'zero': nn.ZeroPad2d(1),
    'constant 0': nn.ConstantPad2d(1, 0.0),
}
FUNCTIONS = {
    'replicate': lambda y: F.pad(y, (0, 1, 0, 1), mode='replicate'),
    'reflect': lambda y: F.pad(y, (1, 1, 1, 1), 'reflect'),
    'zero': lambda y: F.pad(y, (1, 1)),
    'zero by name': lambda y: F.pad(y, pad=(1, 1, 0, 1), mode='constant', value=0),
}


def converges(net, x, recipe, times, rate=2.0, last=0.02):
    """The relative error falls with T, and is small in the end."""
    with torch.no_grad():
        snn, wanted = convert(net, x, recipe, timesteps=times[-1]), net(x)
        errors = [((snn(x, T) - wanted).norm() / wanted.norm()).item() for T in times]
    assert all(a > rate * b for a, b in pairwise(errors)), errors
    assert errors[-1] < last
    return snn


def test_rates_of_spiking_yolo_are_those_of_the_paper():
    """Per channel, thresholds of the largest |activation|: 1 by a row that says so."""
    net = nn.Sequential(nn.Identity(), nn.LeakyReLU(0.1))
    z = torch.tensor([-0.93, -0.5, 0.77]).view(1, 3, 1, 1)
    snn = convert(net, torch.cat([z, torch.ones_like(z)]), spiking_yolo(1.0))
    assert snn.neurons[0].v_threshold.tolist() == [1, 1, 1]
    rates = snn(z, 2000).flatten()
    torch.testing.assert_close(rates, torch.tensor([-0.093, -0.05, 0.77]), rtol=0, atol=1e-3)
    one = snn.sequence(z, 12)[:, 0, 0].flatten()
    assert set(one.tolist()) == {0.0, -1.0}  # the first after theta / 0.93 / 0.1 = 10.8 steps
    assert one.nonzero().item() == 10


@pytest.mark.parametrize('recipe', [spiking_yolo(1.0), default(0.02, correct=False)])
@pytest.mark.parametrize('low', [0.0, -2.0])
def test_pools_of_negative_spikes_converge_to_the_largest_mean(recipe, low):
    """low = -2: no window has a positive input, so the winner is the one with the fewest negative spikes."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.1), nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1), nn.Conv2d(4, 3, 1)
    )
    with torch.no_grad():
        net[0].bias[:], net[4].bias[:] = low, 0
        assert (net[:4](torch.rand(8, 2, 9, 9)) < 0).all() == (low < 0)
    snn = converges(net, torch.rand(8, 2, 9, 9), recipe, (16, 64, 512))
    assert kinds(snn) == (1, 1, 0)


@pytest.mark.parametrize('name', PADS)
def test_pads_keep_a_pool_lateral(name):
    snn = sound(
        Net(lambda m, x: m.pool(m.pad(F.leaky_relu(m.conv(x)))), pool=nn.MaxPool2d(2, 1), pad=PADS[name]), images()
    )
    assert kinds(snn) == (1, 1, 0)


@pytest.mark.parametrize('name', FUNCTIONS)
def test_functional_pads_do_too(name):
    snn = sound(Net(lambda m, x: F.max_pool2d(FUNCTIONS[name](F.relu(m.conv(x))), 2)), images())
    assert kinds(snn) == (1, 1, 0)


@pytest.mark.parametrize('pad', [lambda y: F.pad(y, (1, 1), value=0.3), lambda y: F.pad(y, (0, 0, 0, 0, 1, 1))])
def test_a_pad_of_another_value_or_of_channels_does_not(pad):
    snn = sound(Net(lambda m, x: F.max_pool2d(pad(F.relu(m.conv(x))), 2)), images())
    assert kinds(snn) == (1, 0, 1)


@pytest.mark.parametrize('recipe', ['spiking_yolo', 'default', 'layerwise'])
def test_the_simulator_knows_leaky_neurons(recipe):
    net, x = network(lambda: nn.LeakyReLU(0.1)), torch.randn(8, 1, 14, 14)
    snn = convert(net, x, recipe, timesteps=16)
    assert all(isinstance(n.neuron.fire, Signed) for n in snn.neurons)
    with torch.no_grad():
        torch.testing.assert_close(snn.simulator()(x, 32), snn(x, 32), rtol=1e-4, atol=1e-4)
    snn.neurons[0].neuron = snn.neurons[0].neuron.__class__(
        snn.neurons[0].neuron.charge, Signed(1.0, negative_threshold=-2.0), snn.neurons[0].neuron.reset
    )
    with pytest.raises(ValueError, match='the simulator has no loop for'):
        snn.simulator()


def test_files_keep_pools_behind_pads(tmp_path):
    def net():
        conv = nn.Conv2d(2, 4, 3)
        return nn.Sequential(conv, nn.LeakyReLU(0.1), nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))

    x = torch.rand(8, 2, 9, 9)
    snn = convert(net(), x, 'spiking_yolo')
    snn.save(tmp_path / 'a.safetensors')
    loaded = SNN.load(tmp_path / 'a.safetensors', net())
    assert isinstance(loaded.layers[1], LateralPool)
    assert torch.equal(loaded(x, 20), snn(x, 20))
