"""Plans of networks of snnkern.nn layers give what the networks give."""

import pytest
import torch
from executed import executed, same, sums
from torch import nn

import snnkern
from snnkern import nn as layers
from snnkern.backends.events import Layer
from snnkern.engine.plan import Dense, PlanError
from snnkern.engine.planner import plan
from snnkern.models.spiking.registry import build
from snnkern.neurons import Neuron

T = 4
Fold = layers.SeqToANNContainer


def frames(size=16, B=3, channels=2):
    """Sparse frames of events, as counts."""
    return (torch.rand(T, B, channels, size, size) < 0.2).float() * torch.randint(1, 3, (T, B, channels, size, size))


def pictures(size=16, B=3, channels=2):
    """The same image at every step."""
    return torch.rand(1, B, channels, size, size).expand(T, -1, -1, -1, -1)


def ready(net, x):
    """Loud enough to spike, with running statistics of x, in eval mode."""
    for module in net.modules():
        if hasattr(module, 'momentum'):
            module.momentum = 1.0
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
        net(x)
    layers.reset(net)
    return net.eval()


def planned(net, x, strict=True):
    """The plan of a network, which is checked against it."""
    found = plan(ready(net, x), x, T, strict)
    with torch.no_grad():
        got, busy = executed(found, x, T=T)
        same(got, net(x).mean(0))
    assert max(busy, default=1) > 0
    layers.reset(net)
    return found


def kinds(found):
    return [found.slots[slot].kind for slot in found.inputs]


NETS = {
    'vgg9': {'name': 'vgg9', 'width': 3},
    'vgg9, averages': {'name': 'vgg9', 'width': 3, 'pool': 'avg', 'neuron': 'plif', 'x': frames},
    'vgg9, differences': {'name': 'vgg9', 'width': 3, 'difference': True, 'neuron': 'double-side-plif'},
    'vgg11': {'name': 'vgg11', 'width': 2, 'size': 32},
    'events-conv': {'name': 'events-conv', 'width': 3, 'x': frames},
    'conv': {'name': 'conv', 'width': 3, 'neuron': 'bias-lif', 'x': frames},
    'mlp': {'name': 'mlp', 'hidden': 20, 'scale': 0.5},
    'mlp, events': {'name': 'mlp', 'hidden': 20, 'neuron': 'if', 'x': frames},
}


def made(name, x=pictures, size=16, **options):
    torch.manual_seed(0)
    net = build(name, in_channels=2, size=(size, size), num_classes=4, **options)
    return net, x(size)


@pytest.mark.parametrize('name', NETS)
def test_models(name):
    net, x = made(**NETS[name])
    found = planned(net, x)
    assert not any(isinstance(step, Dense) for step in found.steps)
    assert kinds(found) == ['counts' if 'x' in NETS[name] else 'constant']


@pytest.mark.parametrize(('norm', 'word'), [('gn-tep', 'GroupNorm'), ('tebn', 'factor for each step')])
def test_norms_without_events(norm, word):
    net, x = made('vgg9', frames, width=2, norm=norm, T=T if norm == 'tebn' else None)
    with pytest.raises(PlanError, match=word):
        plan(net.eval(), x, T)
    assert any(isinstance(step, Dense) for step in planned(net, x, strict=False).steps)


def test_a_pyramid_with_bilinear_steps():
    net, x = made('segment', frames, size=32, width=2, norm='bn')
    with pytest.raises(PlanError, match=r'Upsample.*fpn\.py.*bilinear'):
        plan(net.eval(), x, T)
    found = planned(net, x, strict=False)
    assert sum(isinstance(step, Layer) and step.neuron is not None for step in found.steps) > 13


class Blocks(nn.Module):
    """Residual blocks: spikes are added to spikes (sew), or currents to currents (ms)."""

    def __init__(self, connect, norm=True):
        super().__init__()
        neuron = Neuron(snnkern.LIF(2.0), snnkern.Binary(0.5))
        more = {'connect': connect}
        fused = norm and connect == 'sew'
        self.stem = Fold(nn.Conv2d(2, 4, 3, padding=1))
        self.first = layers.Neuron(neuron)
        self.convs = nn.ModuleList(Fold(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)) for _ in range(3))
        self.neurons = nn.ModuleList(
            layers.BatchNormNeuron(4, neuron) if fused else layers.Neuron(neuron, **more) for _ in range(3)
        )
        self.head = Fold(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        self.connect = connect

    def forward(self, x):
        currents = self.stem(x)
        x = self.first(currents)
        for conv, neuron in zip(self.convs, self.neurons, strict=True):
            if self.connect == 'sew':
                x = neuron(conv(x), x)
            else:
                x, currents = neuron(conv(x), currents)
        return self.head(x)


@pytest.mark.parametrize('x', [frames, pictures])
@pytest.mark.parametrize('connect', ['sew', 'ms'])
def test_shortcuts(connect, x):
    torch.manual_seed(0)
    found = planned(Blocks(connect), x(8))
    steps = [step for step in found.steps if isinstance(step, Layer)]
    if connect == 'sew':  # a convolution of a sum of trains reads each of them
        assert [len(step.synapses) for step in steps] == [int(x is frames), 1, 2, 3, 4]
    else:  # sums that go on are computed once
        assert max(len(step.synapses) for step in steps) == 1
        assert sum(step.neuron is None for step in steps) == 3 + int(x is frames)


def small(*modules, channels=4):
    torch.manual_seed(0)
    first = Fold(nn.Conv2d(2, channels, 3, padding=1)), layers.LIF()
    return nn.Sequential(*first, *modules, Fold(nn.Flatten(), nn.Linear(channels * 16, 3)))


@pytest.mark.parametrize(
    ('pool', 'mode'),
    [
        (layers.LateralPool2d(2), 'lateral'),
        (layers.SpikeMaxPool2d(2), 'gated'),
        (layers.MaxPool2d(3, 2, 1), 'max'),
        (Fold(nn.MaxPool2d(2)), 'max'),
    ],
)
def test_pools(pool, mode):
    assert sums(planned(small(pool), frames(8))) == {mode: 1}


def test_numbers_of_channels():
    tensors = {'v_threshold': torch.tensor([0.3, 0.5, 0.7, 0.2]), 'a': torch.rand(4)}
    neuron = Neuron(snnkern.Affine(), snnkern.Burst(0.5, 3, real_units=True), snnkern.Soft())
    net = small(layers.Neuron(neuron, tensors=tensors), layers.AvgPool2d(2))
    found = planned(net, frames(8))
    layer = next(step for step in found.steps if isinstance(step, Layer) and 'a' in step.coefficients)
    assert torch.equal(found.slots[layer.target].worth, tensors['v_threshold'])
    assert found.slots[layer.target].bound == 3
    assert layer.neuron.fire.real_units is False


@pytest.mark.parametrize('layer', [layers.Synaptic(), layers.AdaptiveLIF(), layers.IntegerLIF(), layers.Burst()])
def test_neurons(layer):
    planned(small(layer, layers.AvgPool2d(2)), frames(8))


def test_inputs_that_are_no_events():
    found = planned(small(layers.AvgPool2d(2)), torch.rand(T, 3, 2, 8, 8))
    assert kinds(found) == ['currents']


def test_steps_must_stay_equal():
    found = planned(small(layers.AvgPool2d(2)), pictures(8))
    assert [len(x) for x in found.stem(torch.ones(T, 5, 2, 8, 8))] == [5]
    with pytest.raises(ValueError, match='the same at every step'):
        found.stem(torch.rand(T, 5, 2, 8, 8))


@pytest.mark.parametrize(
    ('layer', 'word'),
    [
        (layers.Neuron(Neuron(snnkern.IF(), snnkern.MultiSpike(), snnkern.Soft())), '1048576 spikes'),
        (layers.LIF(step_mode='s'), 'single steps'),
        (layers.LateralPool2d(2, scale=0.5), 'not what a spike is worth'),
        (Fold(nn.Sigmoid()), 'Sigmoid'),
    ],
)
def test_refused(layer, word):
    with pytest.raises(PlanError, match=word):
        plan(small(layer).eval(), frames(8 if isinstance(layer, layers.LateralPool2d) else 4), T)


def test_recurrent_networks_are_refused():
    with pytest.raises(PlanError, match=r'cannot trace|recurrent'):
        plan(build('rnn', in_channels=2, size=(8, 8), num_classes=3).eval(), frames(8), T, strict=False)


@pytest.mark.parametrize('example', [torch.rand(T + 1, 2, 2, 4, 4), torch.rand(T, 2), [torch.rand(T, 2, 2, 4, 4)]])
def test_bad_examples(example):
    with pytest.raises(ValueError, match=f'T = {T}'):
        plan(small().eval(), example, T)
