"""The network for frames of events: shapes, options, and the published one beside snnTorch's."""

import pytest
import torch
from torch import nn

from snnkern.data.sets import samples
from snnkern.models.spiking import build
from snnkern.models.spiking.events_conv import EventsConv
from snnkern.nn import BatchNormNeuron, Leaky, reset
from snnkern.recipes.direct.config import read

SIZE = {'in_channels': 2, 'size': (34, 34), 'num_classes': 10}


def counts(T=4, B=3, side=34, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((T, B, 2, side, side), 0.3), generator=generator)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'neuron': 'lif', 'norm': 'tdbn', 'width': 6, 'dropout': 0.5},
        {'neuron': 'relu'},
        {'norm': 'tebn', 'T': 4},
        {'norm': 'none'},
        {'neuron': 'leaky', 'tau': 2.0, 'compat': True},
    ],
)
def test_trains(options):
    net = build('events-conv', **SIZE, **options)
    out = net(counts())
    assert out.shape == (4, 3, 10)
    nn.functional.cross_entropy(out.mean(0), torch.arange(3)).backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []
    reset(net)
    net.eval()
    assert net(counts(T=4, B=1)).shape == (4, 1, 10)


def test_layers():
    net = EventsConv()
    assert sum(isinstance(layer, BatchNormNeuron) for layer in net.modules()) == 2
    assert [p.shape for p in net.parameters() if p.dim() == 4] == [(12, 2, 5, 5), (32, 12, 5, 5)]
    assert next(p.shape for p in net.parameters() if p.dim() == 2) == (10, 800)
    assert EventsConv(size=(16, 20))(counts(side=20)[..., :16, :]).shape == (4, 3, 10)


def test_dropout_takes_the_same_features_in_all_steps():
    net = EventsConv(neuron='relu', norm='none', dropout=0.5)
    x = counts(T=1).expand(4, -1, -1, -1, -1)
    out = net(x)
    assert torch.equal(out[0], out[3])
    assert not torch.equal(out, net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_the_published_network_is_snntorchs():
    snntorch = pytest.importorskip('snntorch')
    torch.manual_seed(0)
    net = EventsConv(neuron='leaky', tau=2.0, compat=True)
    assert [layer.neuron.fire.v_threshold for layer in net.modules() if isinstance(layer, Leaky)] == [1.0] * 3
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.dim() > 1):
            weight.mul_(4)  # so that the last layer fires
    fires = [snntorch.Leaky(beta=0.5, spike_grad=snntorch.surrogate.atan(), init_hidden=True) for _ in range(3)]
    first, second = (nn.Conv2d(*shape, 5) for shape in ((2, 12), (12, 32)))
    linear = nn.Linear(800, 10)
    parts = [first, nn.MaxPool2d(2), fires[0], second, nn.MaxPool2d(2), fires[1], nn.Flatten(), linear, fires[2]]
    for own, theirs in zip(
        (layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)),
        (first, second, linear),
        strict=True,
    ):
        theirs.load_state_dict(own.state_dict())
    reference = nn.Sequential(*parts)
    x = counts(T=12) * 3
    expected = torch.stack([reference(step) for step in x])
    found = net(x)
    assert 0.02 < expected.mean() < 0.9
    torch.testing.assert_close(found, expected)
    expected.mean(0)[:, 0].sum().backward()
    found.mean(0)[:, 0].sum().backward()
    own = [p for p in net.parameters() if p.dim() == 4]
    for layer, p in zip((first, second), own, strict=True):
        torch.testing.assert_close(p.grad, layer.weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('name', ['nmnist-conv', 'nmnist-vgg'])
def test_recipes_fit_the_shipped_recordings(name):
    config = read(name)
    data = samples(config.data, config.T, **config.data_options)
    net = build(config.model, in_channels=2, size=data.shape[2:], num_classes=len(data.classes), **config.options)
    x, _ = data.train.batch(range(3), seed=0)
    assert net(x.transpose(0, 1)).shape == (config.T, 3, 10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'size': (15, 34)}, r'size: expected at least 16 x 16 pixels, got \(15, 34\)'),
        ({'dropout': 1.0}, 'dropout: expected a share from 0 to below 1, got 1.0'),
        ({'neuron': 'spike'}, 'neuron: expected one of'),
        ({'norm': 'ln'}, 'norm: expected one of'),
        ({'norm': 'nonsense', 'compat': True}, "norm: with compat there is none, got 'nonsense'"),
        ({'norm': 'tebn', 'T': 4, 'compat': True}, "norm: with compat there is none, got 'tebn'"),
        ({'depth': 3}, 'options of events-conv'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build('events-conv', **(SIZE | options))
