"""The report names every replacement, what stayed analogue and what may go wrong."""

import json

import pytest
import torch
from converted import CHANNELS, Ahead, fixed, residual
from torch import nn

import snnkern
from snnkern.convert import convert


@pytest.fixture(scope='module')
def x():
    return torch.randn(16, 1, 8, 8)


def test_every_replacement_is_there(x):
    snn = convert(residual(), x, timesteps=4)
    report = snn.report()
    assert (report.recipe, report.timesteps) == ('default', 4)
    assert [part.kind for part in report.parts] == ['neuron', 'neuron', 'pool', 'analogue']
    assert report.parts[0].was == report.parts[1].was == 'module relu (ReLU)'
    first, second, pool, softmax = report.parts
    assert first.theta == (snn.neurons[0].v_threshold,) * 2
    assert first.channels == 0
    assert second.max_spikes == snn.neurons[1].max_spikes
    assert second.neuron == snn.neurons[1].neuron.spec
    assert [part.constant_input for part in (first, second)] == [True, False]
    assert pool.theta == second.theta
    assert 'mean over time' in softmax.why
    assert report.folded == ('folded_conv',)
    assert report.unfolded == report.loops == report.ahead == ()


def test_thresholds_per_channel_are_a_range(x):
    snn = convert(residual(), x, CHANNELS)
    part = snn.report().parts[0]
    theta = snn.neurons[0].v_threshold
    assert part.theta == (theta.min().item(), theta.max().item())
    assert part.channels == 4
    assert f'{part.theta[0]:.4g} to {part.theta[1]:.4g}' in str(snn.report())


def test_warnings_have_their_place():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1), nn.MaxPool2d(2)).eval()
    net[0].weight.data.fill_(1.0)
    net[0].bias.data.copy_(torch.tensor([0.0, -100.0]))
    net[2].bias.data.fill_(-9.0)
    report = convert(net, torch.rand(4, 1, 4, 4), 'default').report()
    assert [warning.split(' (')[0] for warning in report.warnings] == ['module 1', 'module 3']
    assert '1 of 2 channels were silent' in report.warnings[0]
    assert 'negative' in report.warnings[1]
    assert '1 of 2 channels were silent' in str(report)


def test_report_is_json(x):
    report = convert(residual(), x).report()
    again = json.loads(report.to_json())
    assert again == json.loads(json.dumps(report.as_dict()))
    assert [part['name'] for part in again['parts']] == [part.name for part in report.parts]
    for part in report.parts:
        assert part.name in str(report)


def test_loops_and_looks_ahead_are_told(x):
    net = residual(softmax=False)
    plain, slow = convert(net, x), convert(net, x, fixed(layer=Ahead))
    assert slow.report().loops == slow.report().ahead == ('neuron_0', 'neuron_1')
    assert 'Python loops over T: none' in plain.explain()
    assert 'none, so steps can be streamed' in plain.explain()
    assert 'Python loops over T: neuron_0, neuron_1' in slow.explain()
    assert 'need all T at once: neuron_0, neuron_1' in slow.explain()
    assert 'Python loops over T: neuron_0' in str(slow.report())


def test_explain_names_the_backend(x):
    snn = convert(residual(), x)
    assert '2 neuron layers and 1 spiking pools on cpu, float32' in snn.explain()
    assert 'analogue: analogue_softmax' in snn.explain()
    with snnkern.use_backend('reference'):
        assert '2 run all steps of a call in one multistep kernel, backend reference' in snn.explain()
    assert 'bfloat16' in snn.bfloat16().explain()
