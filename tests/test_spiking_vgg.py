"""Spiking VGG: its shapes, its published variant, what its layers hand on."""

import pytest
import torch

from snnkern import encode, nn
from snnkern.models.spiking.vgg import CONVOLUTIONS, Layers, SpikingVGG, VGGEncoder
from snnkern.nn.difference import LocalDifference2d
from snnkern.nn.layerwise import LayerWiseConv2d, LayerWiseLinear


def vgg(depth=11, channels=3, **options):
    return SpikingVGG(channels, (32, 32), 10, depth=depth, **{'width': 4, **options})


def modules(net, kind):
    return [module for module in net.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(('depth', 'convolutions', 'linear', 'widths'), [
    (9, 7, 2, (8, 16, 32)), (11, 8, 3, (8, 16, 32, 64, 64)), (16, 13, 3, (8, 16, 32, 64, 64)),
])  # fmt: skip
def test_layers(depth, convolutions, linear, widths):
    net = vgg(depth, width=8, hidden=20)
    assert len(modules(net, LayerWiseConv2d)) == convolutions
    assert len(modules(net, LayerWiseLinear)) == linear
    assert tuple(net.encoder.channels) == widths
    assert net(torch.rand(4, 2, 3, 32, 32)).shape == (4, 2, 10)


def test_full_width_is_vgg16():
    encoder = VGGEncoder(3, Layers('lif'))
    convolutions = [module.layers.conv for module in modules(encoder, LayerWiseConv2d)]
    assert [c.out_channels for c in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert sum(c.weight.numel() for c in convolutions) == 14_710_464  # of torchvision's vgg16, without biases


def test_taps():
    encoder = VGGEncoder(6, Layers('lif'), width=4)
    shapes = [tuple(tap.shape) for tap in encoder(torch.rand(3, 2, 6, 45, 60))]
    assert shapes == [(3, 2, 4, 22, 30), (3, 2, 8, 11, 15), (3, 2, 16, 5, 7), (3, 2, 32, 2, 3), (3, 2, 32, 1, 1)]


def test_the_published_variant():
    net = SpikingVGG(2, (28, 28), 10, width=4, norm='gn-tep', neuron='bias-lif', compat=True)
    assert len(modules(net, LayerWiseConv2d)) == 10
    assert len(modules(net, nn.TEP)) == 10
    assert len(modules(net, LocalDifference2d)) == 1
    x = torch.rand(4, 2, 2, 28, 28)
    taps = net.encoder(x)
    assert [tuple(tap.shape[2:]) for tap in taps] == [(c, 28, 28) for c in (4, 8, 16, 32, 32)]
    assert taps[0].min() < 0 < taps[0].max()
    nn.reset(net)
    assert net(x).shape == (4, 2, 10)


@pytest.mark.parametrize('norm', ['bn', 'gn-tep'])
def test_outputs_differ_over_time(norm):
    """The same frame eight times: published, each step gives the same."""
    net = vgg(width=8, norm=norm)
    out = net(torch.rand(1, 2, 3, 32, 32).expand(8, -1, -1, -1, -1).clone())
    assert len({step.double().sum().item() for step in out}) > 3


@pytest.mark.parametrize(('name', 'kind'), [('if', nn.IF), ('bias-lif', nn.BiasLIF), ('plif', nn.ParametricLIF),
                                            ('double-side-plif', nn.DoubleSidePLIF)])  # fmt: skip
def test_neurons_and_their_options_reach_every_layer(name, kind):
    net = vgg(neuron=name, norm='none', neuron_options={'v_threshold': 0.3})
    neurons = modules(net, kind)
    assert len(neurons) == 10
    assert all(neuron.neuron.fire.v_threshold == 0.3 for neuron in neurons)


def test_the_published_double_sided_neuron_is_an_option():
    for options, values in (({}, {-1.0, 0.0, 1.0}), ({'compat': 'sign'}, {-1.0, 1.0})):
        net, seen = vgg(neuron='double-side-plif', norm='none', neuron_options=options), []
        net.encoder.stages[0][0].register_forward_hook(lambda module, given, out, seen=seen: seen.append(out))
        net(torch.randn(4, 2, 3, 32, 32))
        assert set(seen[0].unique().tolist()) == values


def test_direct_coding_computes_the_first_convolution_once():
    net, seen = vgg(9), []
    first = net.encoder.stages[0][0].layers.conv
    first.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    x = torch.rand(2, 3, 32, 32)
    once = net(encode.direct(x, 4))
    nn.reset(net)
    every = net(encode.direct(x, 4).clone())
    assert seen == [2, 8]
    assert (once - every).abs().max() < 0.2 * every.abs().max()


def test_the_twin_has_the_same_weights():
    spiking, twin = (vgg(neuron=name) for name in ('lif', 'relu'))
    assert sum(p.numel() for p in spiking.parameters()) == sum(p.numel() for p in twin.parameters())
    x = torch.rand(2, 3, 32, 32)
    out = twin(encode.direct(x, 4))
    assert torch.equal(out[0], out[3])


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'size: expected at least 32 pixels a side, got \(28, 28\)'):
        SpikingVGG(2, (28, 28), 10)
    with pytest.raises(ValueError, match='depth: expected one of 9, 11, 16, with compat 16, got 13'):
        vgg(13)
    with pytest.raises(ValueError, match="pool: expected one of max, avg, or none, got 'mean'"):
        vgg(pool='mean')
    with pytest.raises(ValueError, match="pool: with compat there is none, got 'avg'"):
        vgg(16, compat=True, pool='avg')
    with pytest.raises(ValueError, match='convolutions: expected numbers for 1 to 5 stages'):
        VGGEncoder(3, Layers('lif'), convolutions=(*CONVOLUTIONS[16], 3))
    with pytest.raises(ValueError, match="got 'spiky'"):
        vgg(neuron='spiky')
    with pytest.raises(ValueError, match="got 'layer'"):
        vgg(norm='layer')
    with pytest.raises(ValueError, match='width must be >= 1, got 0'):
        vgg(width=0)
