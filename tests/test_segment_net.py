"""The segmentation network: shapes, the faults of the published one, weights of a classifier."""

import pytest
import torch

from snnkern import encode, nn
from snnkern.models.spiking.fpn import FPNHead
from snnkern.models.spiking.segment import FIRST, SegmentNet, adapt_channels
from snnkern.models.spiking.vgg import Layers, SpikingVGG
from snnkern.nn.layerwise import LayerWiseConv2d

SIZE = (48, 64)


def segmenter(channels=6, width=4, **options):
    return SegmentNet(channels, SIZE, 11, width=width, **options)


def frames():
    return encode.saccade(torch.rand(2, 3, *SIZE))


@pytest.mark.parametrize('neuron', ['bias-lif', 'lif', 'double-side-plif', 'relu'])
@pytest.mark.parametrize('norm', ['gn-tep', 'tep', 'bn'])
def test_forward_and_backward(neuron, norm):
    net = segmenter(neuron=neuron, norm=norm, difference=neuron == 'double-side-plif')
    out = net(frames())
    assert out.shape == (8, 2, 11, 24, 32)
    out.mean(0).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(p.grad.abs().sum() > 0 for p in net.parameters()) >= 0.9 * len(list(net.parameters()))


def test_the_first_convolution_has_the_channels_of_the_frames():
    """Published: 960 for data of 6."""
    net = segmenter()
    assert net.encoder.stages[0][0].layers.conv.in_channels == frames().shape[2] == 6
    assert sum(isinstance(module, LayerWiseConv2d) for module in net.encoder.modules()) == 13


@pytest.mark.parametrize('norm', ['gn-tep', 'bn'])
def test_neurons_integrate_over_time(norm):
    """One frame given eight times: published, the eight outputs are identical."""
    net = segmenter(width=8, norm=norm)
    out = net(frames()[:1].expand(8, -1, -1, -1, -1).clone())
    assert all(not torch.equal(out[t], out[0]) for t in range(1, 8))


@pytest.mark.parametrize('norm', ['tep', 'gn-tep'])
def test_one_small_image(norm):
    """The last stage has one pixel, of one image: nothing to take a variance of."""
    net = SegmentNet(6, (32, 48), 11, width=4, norm=norm).eval()
    assert net(encode.saccade(torch.rand(1, 3, 32, 48))).isfinite().all()


def test_time_comes_first():
    """Published: the encoder expects [T, B, ...] and receives [B, T, ...]."""
    net = segmenter(norm='bn').eval()
    x = frames()
    out = net(x)
    nn.reset(net)
    torch.testing.assert_close(net(x[:, 1:]), out[:, 1:], atol=1e-3, rtol=1e-3)
    nn.reset(net)
    torch.testing.assert_close(net(x[:3]), out[:3], atol=1e-3, rtol=1e-3)


def test_state_is_carried_until_reset():
    net, x = segmenter().eval(), frames()
    first = net(x)
    assert not torch.equal(net(x), first)
    nn.reset(net)
    assert torch.equal(net(x), first)


def test_nothing_loops_over_time():
    net, calls = segmenter(), []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, given, out: calls.append(len(out)))
    net(frames())
    assert calls == [16] * (13 + 1 + 4 + 4 + 1)  # encoder, top, adapters, mixes, readout


def test_the_published_network():
    net = segmenter(compat=True, readout='spikes')
    out = net(frames())
    assert out.shape == (8, 2, 11, *SIZE)
    assert set(out.unique().tolist()) <= {0.0, 1.0}
    convolutions = [module for module in net.encoder.modules() if isinstance(module, LayerWiseConv2d)]
    assert len(convolutions) == 10
    assert sum(isinstance(module, nn.TEP) for module in net.modules()) == 10 + 5


def test_channels_of_the_full_head():
    head = FPNHead([64, 128, 256, 512, 512], 21, Layers('bias-lif', 'gn-tep'))
    shapes = [tuple(p.shape) for name, p in head.named_parameters() if name.endswith('conv.weight')]
    adapters = [(256, 512, 1, 1), (256, 256, 1, 1), (128, 128, 1, 1), (128, 64, 1, 1)]
    mixes = [(256, 256, 3, 3), (128, 256, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3)]
    assert shapes == [(256, 512, 1, 1), *adapters, *mixes, (21, 128, 1, 1)]
    bound = max(p.abs().max() for p in head.mixes[0][0].layers.conv.parameters())
    assert 0.9 < bound / (6 / (9 * 512)) ** 0.5 <= 1, "Glorot's uniform distribution"


def test_a_classifier_is_the_encoder_to_start_from():
    """Trained on events of two polarities, for frames of six channels."""
    classifier, net = SpikingVGG(2, (34, 34), 10, width=4, norm='bn'), segmenter(norm='bn')
    with torch.no_grad():
        for tensor in classifier.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    adapted = net.adapt(classifier.state_dict())
    wanted = {name for name in net.state_dict() if name.startswith('encoder.')}
    assert set(adapted) == wanted
    missing, unexpected = net.load_state_dict(adapted, strict=False)
    assert not unexpected
    assert all(name.startswith('head.') for name in missing)
    on, off = torch.rand(2, 8, 2, 1, *SIZE)
    events, colours = torch.cat([off, on], 2), torch.cat([on] * 3 + [off] * 3, 2)
    first, own = (module.encoder.stages[0][0].layers for module in (classifier, net))
    torch.testing.assert_close(own(colours), first(events))
    for name in wanted - {FIRST}:
        assert torch.equal(net.state_dict()[name], classifier.state_dict()[name])


def test_weights_of_another_number_of_channels():
    weight = torch.rand(4, 2, 3, 3)
    assert torch.equal(adapt_channels(weight, 2), weight)
    odg = segmenter(2)
    classifier = SpikingVGG(2, (34, 34), 10, width=4)
    assert torch.equal(odg.adapt(classifier.state_dict())[FIRST], classifier.state_dict()[FIRST].flip(1))
    assert torch.equal(odg.adapt(odg.state_dict())[FIRST], odg.state_dict()[FIRST])
    colours = torch.rand(4, 3, 3, 3)
    assert torch.equal(adapt_channels(colours, 6), torch.cat([colours, colours], 1) / 2), 'RGB rising, RGB falling'
    assert torch.equal(adapt_channels(weight, 6), weight[:, [0, 0, 0, 1, 1, 1]] / 3)
    assert torch.equal(adapt_channels(weight[:, :1], 6), weight[:, [0] * 6] / 6)
    three = adapt_channels(weight, 3)
    torch.testing.assert_close(three.sum(1), weight.sum(1))
    assert three.shape == (4, 3, 3, 3)


def test_temporal_pooling_keeps_the_names_of_weights():
    plain, pooled, published = (segmenter(norm=norm).state_dict().keys() for norm in ('bn', 'tep', 'gn-tep'))
    assert plain < pooled
    convolutions = {name for name in plain if '.conv.' in name}
    assert len(convolutions) == 13 + 10 + 1  # with the bias of the readout
    assert convolutions < published
    assert len(pooled - plain) == 2 * (13 + 5), 'a TEP behind all but adapters and the readout'


def test_its_own_weights_pass_unchanged():
    net = segmenter()
    state = net.state_dict()
    adapted = net.adapt({**state, 'other': torch.zeros(1)})
    assert adapted.keys() == state.keys()
    assert all(torch.equal(adapted[name], state[name]) for name in state)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'size: expected at least 32 pixels a side, got \(16, 64\)'):
        SegmentNet(6, (16, 64), 11)
    with pytest.raises(ValueError, match="readout: expected one of current, spikes, got 'mean'"):
        segmenter(readout='mean')
    with pytest.raises(ValueError, match='channels: expected two taps or more and an even hidden'):
        segmenter(hidden=7)
    with pytest.raises(ValueError, match="got 'spiky'"):
        segmenter(neuron='spiky')
