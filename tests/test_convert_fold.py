"""BatchNorm disappears into its neighbours, whatever they are, and stays where it cannot."""

import warnings

import pytest
import torch
from soundness import called, kinds, sound, trained
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnkern.convert import ConversionError, convert


def net_of(*layers):
    return nn.Sequential(*layers)


def norms(snn):
    """How many BatchNorms still run."""
    return sum(isinstance(module, _BatchNorm) for module in called(snn))


FOLDED = {
    'conv': (net_of(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), (2, 6, 6)),
    'no bias': (net_of(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 6)),
    'no line': (net_of(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), nn.ReLU()), (2, 6, 6)),
    'groups and dilation': (
        net_of(nn.Conv2d(4, 6, 3, 2, 2, dilation=2, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
        (4, 8, 8),
    ),
    'depthwise': (net_of(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 2, 1)), (4, 6, 6)),
    'reflecting': (net_of(nn.Conv2d(2, 3, 3, 1, 1, padding_mode='reflect'), nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 6)),
    'one dimension': (net_of(nn.Conv1d(2, 4, 3, groups=2), nn.BatchNorm1d(4), nn.ReLU()), (2, 9)),
    'three dimensions': (net_of(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ReLU()), (2, 5, 5, 5)),
    'linear': (net_of(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2), nn.BatchNorm1d(2)), (6,)),
    'transposed': (net_of(nn.ReLU(), nn.ConvTranspose2d(2, 4, 2, 2), nn.BatchNorm2d(4), nn.ReLU()), (2, 4, 4)),
    'transposed with groups': (
        net_of(nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        (4, 5, 5),
    ),
    'transposed, one dimension': (net_of(nn.ConvTranspose1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU()), (2, 7)),
    'before conv': (net_of(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2), nn.ReLU()), (4, 6, 6)),
    'before conv, no bias': (net_of(nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, bias=False)), (2, 6, 6)),
    'before linear': (net_of(nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 3), nn.ReLU()), (6,)),
    'two in a row': (net_of(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 6)),
    'through dropout': (
        net_of(nn.Conv2d(2, 3, 3), nn.Dropout(), nn.Identity(), nn.BatchNorm2d(3), nn.ReLU()),
        (2, 6, 6),
    ),
    'synchronised': (net_of(nn.Conv2d(2, 3, 3), nn.SyncBatchNorm(3), nn.ReLU()), (2, 6, 6)),
}
KEPT = {
    'linear over rows': (net_of(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Flatten(), nn.Linear(25, 2)), (5, 6)),
    'before padding': (net_of(nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1)), (2, 6, 6)),
    'before same': (net_of(nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding='same')), (2, 6, 6)),
    'alone': (net_of(nn.ReLU(), nn.BatchNorm2d(2), nn.ReLU()), (2, 6, 6)),
    'before transposed': (net_of(nn.ReLU(), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 3, 2)), (2, 6, 6)),
}


def random(net, shape):
    x = torch.randn(16, *shape)
    if any(isinstance(m, nn.SyncBatchNorm) for m in net.modules()):
        return net.eval(), x  # it trains on GPUs only
    return trained(net, x), x


@pytest.mark.parametrize('name', FOLDED)
def test_folded(name):
    net, x = random(*FOLDED[name])
    assert norms(sound(net, x)) == 0


@pytest.mark.parametrize('name', KEPT)
def test_kept(name):
    net, x = random(*KEPT[name])
    assert norms(sound(net, x)) == 1


class Readers(nn.Module):
    """A convolution and a BatchNorm that two calls read, and one convolution with two BatchNorms."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv2 = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm, self.norm2, self.norm3 = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        y = self.norm(self.conv(x))
        y = y + torch.relu(y)
        z = self.conv2(y)
        return torch.relu(self.norm2(z)) + self.norm3(z) + self.conv2(y)


def test_readers_see_what_they_saw():
    net, x = random(Readers(), (2, 5, 5))
    assert norms(sound(net, x)) == 2


class Reused(nn.Module):
    """One convolution and one BatchNorm, called twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return self.relu(self.norm(self.conv(x))) + self.conv(x)


def test_reused_modules_are_folded_per_call():
    net, x = random(Reused(), (2, 5, 5))
    snn = sound(net, x)
    assert norms(snn) == 0
    assert kinds(snn) == (2, 0, 0)


class Own(nn.BatchNorm2d):
    """A class of the user's own is traced into."""


@pytest.mark.parametrize('shape', [(2, 5, 5)])
def test_functional_batch_norm_stays(shape):
    net, x = random(net_of(nn.ReLU(), Own(2), nn.ReLU()), shape)
    assert kinds(sound(net, x)) == (2, 0, 0)


def test_without_running_statistics():
    for norm in (nn.BatchNorm2d(2, track_running_stats=False), Own(2, track_running_stats=False)):
        with pytest.raises(ConversionError, match='no running statistics'):
            convert(net_of(nn.ReLU(), norm), torch.rand(4, 2, 3, 3))


def test_parametrised_weights_are_plain_ones():
    conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3))
    net, x = random(net_of(conv, nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 6))
    assert norms(sound(net, x)) == 0
    assert torch.nn.utils.parametrize.is_parametrized(net[0])


def test_weights_that_a_hook_makes_are_not_folded():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        conv = torch.nn.utils.weight_norm(nn.Conv2d(2, 3, 3))
    net, x = random(net_of(conv, nn.BatchNorm2d(3), nn.ReLU()), (2, 6, 6))
    assert norms(sound(net, x)) == 1
