"""Weight normalisation: the same spikes as thresholds in the ANN's units, and chains only."""

import copy

import pytest
import torch
from conversions import network, spikes, thresholds
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert
from snnkern.convert.recipes import lenet_norm

CHAINS = [
    (lambda: network(), (1, 14, 14)),
    (lambda: network()[:8], (1, 14, 14)),  # ends in spikes, which must come back in the ANN's units
    (lambda: network(nn.ReLU6), (1, 14, 14)),
    (lambda: network(lambda: nn.LeakyReLU(0.2)), (1, 14, 14)),
    (lambda: nn.Sequential(network(), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.Softmax(1)), (1, 14, 14)),
    (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2)), (1, 8, 8)),
]


@pytest.mark.parametrize(('make', 'shape'), CHAINS)
@pytest.mark.parametrize('lateral', [False, True])
def test_normalised_weights_give_the_spikes_of_thresholds(make, shape, lateral):
    net, x = make().eval(), torch.randn(24, *shape)
    arguments = {'percentile': 0.99, 'max_spikes': 3, 'act_shrink': 1.5, 'lateral': lateral}
    before = copy.deepcopy(net.state_dict())
    normalised, plain = (convert(net, x, lenet_norm(data_norm=form, **arguments)) for form in (True, False))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    if not any(isinstance(m, nn.ReLU6) for m in net.modules()):
        assert thresholds(normalised) == [1.0] * len(plain.neurons)
    for ours, theirs, a, b in zip(
        spikes(normalised, x, 12), spikes(plain, x, 12), thresholds(normalised), thresholds(plain), strict=True
    ):
        assert ((ours / a).round() != (theirs / b).round()).float().mean() < 1e-3
    with torch.no_grad():
        off = (normalised(x, 12) - plain(x, 12)).abs()
        assert off.median() < 1e-5
        assert off.mean() < 1e-2 * plain(x, 12).abs().mean()


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        y = F.relu(self.conv(x))
        return self.conv(y) + y


class Joined(nn.Module):
    def forward(self, x, y):
        return F.relu(x) + y


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (Skip, r'call relu \(node relu\) is read by 2 calls: weight normalisation takes chains'),
        (Joined, 'is a second input'),
        (
            lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1)),
            r'module 0 \(ReLU\) has no layer with weights before it',
        ),
        (lambda: nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.ReLU()), r'module 2 \(ReLU\) has no layer'),
        (lambda: nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Softmax(1)), r'module 2 \(Softmax\) does not scale'),
        (lambda: nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Sigmoid()), 'module 3'),
    ],
)
def test_only_chains_are_normalised(make, words):
    net, x = make(), torch.rand(4, 1, 6, 6)
    data = [(x, x)] if isinstance(net, Joined) else x
    with pytest.raises(ConversionError, match=words):
        convert(net, data, 'lenet_norm')


def test_a_chain_may_use_a_layer_twice_and_the_batch_size():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.head = nn.Linear(2 * 9, 3)

        def forward(self, x):
            y = F.max_pool2d(F.relu(self.conv(F.relu(self.conv(x)))), 2)
            return self.head(y.view(y.size(0), -1))

    net, x = Twice().eval(), torch.randn(4, 2, 6, 6)
    snn = convert(net, x, lenet_norm(1.0, act_shrink=1.0, lateral=True, v0=0.5))
    with torch.no_grad():
        torch.testing.assert_close(snn(x, 200), net(x), rtol=0, atol=0.03)
