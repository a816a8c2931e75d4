"""Spikes, SynOps and energy are those that one counts by hand; multiply-accumulates are those of torch's counter."""

import pytest
import torch
from converted import CHANNELS, Ahead, fixed, residual
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from snnkern.convert import convert
from snnkern.convert.energy import PJ_PER_AC, PJ_PER_MAC, operations
from snnkern.convert.recipes import RECIPES


def counted(net, x, T=4, recipe=None):
    """Evaluation and weight layers of a small network with known neurons."""
    snn = convert(net, x, recipe or fixed())
    found = snn.evaluate((x, torch.zeros(len(x), dtype=torch.long)), [1, T], metric=lambda out, y: 0.0)
    return found, {work.name: work for work in operations(snn, x[:1]).layers}


def macs(net, x):
    """What the library counts for the original network."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x[:1])
    return counter.get_total_flops() / 2


def test_a_burst_of_two_counts_two():
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 5)).eval()
    found, layers = counted(net, torch.tensor([[2.0, -1.0, 3.0]]))
    assert found.rates == {'neuron_0': 5 / 3}
    assert layers['1'].fan_out == 5
    assert found.synops == {1: 5 * 5, 4: 4 * 5 * 5}
    energy = found.energy[4]
    assert (energy.ann_macs, energy.macs) == (15, 0)
    assert energy.ann == pytest.approx(15 * PJ_PER_MAC)
    assert energy.snn == pytest.approx(100 * PJ_PER_AC)
    assert energy.ratio == pytest.approx(69 / 90)


def test_the_first_layer_multiplies_once():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, 2, groups=1), nn.ReLU()).eval()
    x = torch.rand(2, 1, 7, 7)
    found, layers = counted(net, x)
    assert found.energy[4].macs == found.energy[1].macs == 7 * 7 * 2 * 9
    assert layers['2'].macs == 3 * 3 * 3 * 2 * 9
    assert layers['2'].fan_out == pytest.approx(3 * 3 * 3 * 2 * 9 / (2 * 7 * 7))
    assert found.synops[4] == pytest.approx(layers['2'].fan_out * found.spikes[4]['neuron_0'])
    assert found.energy[4].ann_macs == macs(net, x)


class Joined(nn.Module):
    """Two neuron layers whose spikes meet on the way to a convolution."""

    def __init__(self, join):
        super().__init__()
        self.join = join
        self.conv = nn.LazyConv2d(3, 1)

    def forward(self, x):
        return self.conv(self.join(F.relu(x), F.relu(x - 1)))


@pytest.mark.parametrize(
    ('join', 'first', 'second', 'size'),
    [
        (lambda a, b: a + b, 1, 1, 32),
        (lambda a, b: torch.cat([a, b], 1), 1, 1, 64),
        (lambda a, b: 2 * a - b, 1, 1, 32),
        (lambda a, b: F.interpolate(a, scale_factor=2) + F.pad(b, (2, 2, 2, 2)), 4, 1, 128),
        (lambda a, b: F.interpolate(a, scale_factor=2, mode='bilinear') + F.pad(b, (2, 2, 2, 2)), 16, 1, 128),
        (lambda a, b: F.avg_pool2d(a, 2), 1, 0, 8),
        (lambda a, b: (a + b).chunk(2, 1)[0] + b[:, :1], 0.5, 1, 16),
        (lambda a, b: a + a, 1, 0, 32),  # spikes that are worth twice as much
    ],
    ids=['add', 'cat', 'scale', 'nearest', 'bilinear', 'average', 'split', 'twice'],
)
def test_spikes_reach_weights_through_the_graph(join, first, second, size):
    x = torch.randint(0, 4, (2, 2, 4, 4)).float()
    net = Joined(join)
    net(x)
    found, layers = counted(net.eval(), x)
    assert layers['conv'].size == size
    a, b = (found.spikes[4].get(name, 0) for name in ('neuron_0', 'neuron_1'))
    assert a > b or not second
    assert found.synops[4] == pytest.approx(layers['conv'].macs / size * (first * a + second * b))
    assert found.energy[4].macs == 0
    assert found.energy[4].ann_macs == macs(net, x)


class Mixed(nn.Module):
    """A skip from the input, two layers in a row without a neuron, a weight as a function, a product."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6, bias=False), nn.Linear(6, 5)
        self.weight = nn.Parameter(torch.rand(3, 4))

    def forward(self, x):
        y = F.relu(x)
        return self.two(self.one(y + x)), F.linear(y, self.weight)


def test_what_is_no_spikes_is_multiplied():
    net, x = Mixed().eval(), torch.tensor([[1.0, 2.0, 0.0, 1.0]])
    snn = convert(net, x, fixed())
    energy = operations(snn, x).energy(4, {'neuron_0': 16.0})
    assert energy.synops == 16 * 6 + 16 * 3
    assert energy.macs == 4 * 6 + 4 * 6 * 5  # the input once, the second layer at every step
    assert energy.ann_macs == macs(net, x) == 24 + 30 + 12


def test_pools_are_counted_by_what_they_emit():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3)).eval()
    found, _ = counted(net, torch.full((1, 1, 4, 4), 2.0))
    assert found.spikes[4] == {'neuron_0': 4 * 16 * 2, 'pool_0': 4 * 4 * 2}
    assert found.synops[4] == 3 * 4 * 4 * 2
    assert found.neurons == {'neuron_0': 16}


def test_thresholds_per_channel_count_right():
    net, x = residual(softmax=False), torch.randn(12, 1, 8, 8)
    snn = convert(net, x, CHANNELS)
    layer = snn.neurons[1]
    expected = []

    def keep(_, args, out):
        counts = out / layer.v_threshold.view(-1, 1, 1)
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
        expected.append(counts.abs().sum().item())

    hook = layer.register_forward_hook(keep)
    found = snn.evaluate((x, torch.zeros(12, dtype=torch.long)), [3])
    hook.remove()
    assert found.spikes[3]['neuron_1'] * 12 == pytest.approx(sum(expected[1:]))  # the first call measures
    assert snn.neurons[1].neuron.fire.negative is not None


@pytest.mark.skipif('srp' not in RECIPES, reason='no recipe has trial steps')
def test_trial_steps_take_energy_and_are_no_rate():
    net, x = residual(softmax=False), torch.randn(12, 1, 8, 8)
    snn = convert(net, x, 'srp', timesteps=4)
    found = snn.evaluate((x, torch.zeros(12, dtype=torch.long)), [2, 4])
    seen = operations(snn, x[:1])
    trial = {T: found.synops[T] - seen.energy(T, found.spikes[T]).synops for T in (2, 4)}
    assert trial[2] == pytest.approx(trial[4])
    assert trial[4] > 0


class Real(Ahead):
    """Outputs that are no multiples of theta."""

    causal = True
    integral = False

    def forward(self, x):
        return super().forward(x) * 0.3


def test_outputs_without_a_threshold_count_where_they_are_not_zero():
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 2)).eval()
    found, _ = counted(net, torch.tensor([[2.0, 0.0, 3.0]]), recipe=fixed(layer=Real))
    assert found.spikes == {1: {'neuron_0': 2}, 4: {'neuron_0': 8}}
