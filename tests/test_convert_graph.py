"""Networks as graphs: sizes, overwritten tensors, pools, several inputs and outputs, leaves."""

import pytest
import torch
from soundness import Net, called, images, kinds, sound
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert
from snnkern.convert.layers import LateralPool


def shuffle(m, x):
    """ShuffleNet's channel shuffle, with a size taken before the first neuron."""
    b, c, h, w = x.size()
    y = F.relu(m.conv(x))
    return m.conv2(y.view(b, 2, c, h, w).transpose(1, 2).contiguous().view(b, -1, h, w))


FROM_BEFORE = {
    'shape': lambda m, x: F.relu(m.conv(x)).view(x.shape[0], -1),
    'size': lambda m, x: F.relu(m.conv(x)).view(x.size(0), -1),
    'size from behind': lambda m, x: F.relu(m.conv(x)).view(x.size(-4), -1),
    'whole size': lambda m, x: F.relu(m.conv(x)[:, :2]).view(x.size()),
    'whole shape': lambda m, x: F.relu(m.conv(x)[:, :2]).reshape(x.shape),
    'part of a shape': lambda m, x: F.relu(m.conv(x)).reshape(x.shape[:1] + torch.Size([-1])),
    'product': lambda m, x: F.relu(m.conv(x)).reshape(x.shape[0] * 2, 2, 8, 8).reshape(x.shape[0], -1),
    'other sizes': lambda m, x: F.relu(m.conv(x)).view(-1, 2, x.shape[1], x.shape[2] * x.shape[3]),
    'shuffle': shuffle,
    'skip of the input': lambda m, x: m.conv2(F.relu(m.conv(x))) + m.conv(x),
    'the input, overwritten later': lambda m, x: _stem_overwritten(m, x),
    'product with a signal': lambda m, x: F.relu(m.conv(x)) * torch.sigmoid(m.conv(x)),
    'cat': lambda m, x: torch.cat([x, F.relu(m.conv(x))], 1),
    'embedding of the place': lambda m, x: F.relu(m.conv(x)) + m.place[:, :, : x.shape[2]],
    'embedding after': lambda m, x: F.relu(m.conv(x)).add(torch.arange(x.shape[3])),
    'class token': lambda m, x: torch.cat([F.relu(m.conv(x)), m.place.expand(x.shape[0], -1, -1, -1)], 1),
    'class token behind': lambda m, x: _token(m, F.relu(m.conv(x))),
    'chunks of the input': lambda m, x: torch.cat([F.relu(m.conv(x)), x.chunk(2, 1)[1]], 1),
}


def _stem_overwritten(m, x):
    y = m.conv(x)
    z = F.relu(y)
    y += 1
    y.mul_(2)
    return z + y


def _token(m, y):
    return torch.cat([y, m.place.expand(y.shape[0], -1, -1, -1)], 1)


@pytest.mark.parametrize('name', FROM_BEFORE)
def test_what_is_taken_before_the_first_neuron(name):
    net = Net(FROM_BEFORE[name])
    net.place = nn.Parameter(torch.randn(1, 4, 8, 8))
    assert kinds(sound(net, images()))[0] == 1


def test_in_place_calls_mean_what_they_mean_in_the_model():
    def later(m, x):
        y = m.conv(x)
        before = y * 2
        torch.relu_(y)
        y.mul_(0.5)
        return m.conv2(y) + before + F.relu(y)

    assert kinds(sound(Net(later), images())) == (2, 0, 0)
    x = images()
    kept = x.clone()
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1))
    snn = convert(net, x)
    assert torch.equal(x, kept)
    snn(x, 2)
    assert torch.equal(x, kept)


def test_overwriting_through_a_view_is_refused():
    def aliased(m, x):
        y = m.conv(x)
        flat = y.flatten(1)
        F.relu_(flat)
        return y + 1

    with pytest.raises(ConversionError, match=r'call relu_ .*test_convert_graph.py, line \d+ overwrites .* a view'):
        convert(Net(aliased), images())


POOLS = {
    'module': lambda m, y: m.pool(y),
    'positional': lambda m, y: F.max_pool2d(y, 2),
    'all positional': lambda m, y: F.max_pool2d(y, 3, 2, 1),
    'by name': lambda m, y: F.max_pool2d(y, kernel_size=3, stride=1, padding=1, dilation=1),
    'ceil': lambda m, y: F.max_pool2d(y, 3, 2, ceil_mode=True),
    'torch': lambda m, y: torch.max_pool2d(y, 3, [2, 2], 1),
}


@pytest.mark.parametrize('name', POOLS)
def test_pools_of_spikes_are_lateral(name):
    snn = sound(Net(lambda m, x: m.conv2(POOLS[name](m, F.relu(m.conv(x)))), pool=nn.MaxPool2d(2)), images())
    assert kinds(snn) == (1, 1, 0)


def test_pools_in_a_row_and_pools_of_sums():
    def pools(m, x):
        y = F.max_pool2d(m.pool(F.relu(m.conv(F.max_pool2d(x, 1)))), 2)
        return F.max_pool2d(y + m.conv2(y), 2)

    snn = sound(Net(pools, pool=nn.MaxPool2d(1)), images())
    assert kinds(snn) == (1, 2, 1)
    assert snn.entries[-1].warnings
    assert not any(isinstance(m, nn.MaxPool2d) for m in called(snn) if m in list(snn.body.children()))


def test_leaky_spikes_are_pooled_with_a_warning():
    snn = sound(Net(lambda m, x: F.max_pool2d(F.leaky_relu(m.conv(x), 0.3), 2)), images())
    assert isinstance(snn.layers[1], LateralPool)
    assert snn.entries[1].warnings == ['inputs can be negative']


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, a, b, scale=2.0, mask=None):
        y = F.relu(self.a(a)) + self.b(b) * scale
        if mask is not None:
            y = y * mask
        return F.relu(y)


def test_several_inputs_and_arguments_with_a_default():
    a, b = torch.randn(70, 3), torch.randn(70, 2)
    snn = sound(TwoInputs(), a, b)
    assert kinds(snn) == (2, 0, 0)
    sketched = convert(TwoInputs(), [(a, b, 'label')] * 2)
    assert len(sketched.neurons) == 2
    with pytest.raises(ValueError, match=r'calibration must give 2 tensors a batch, got \[.Tensor.\]'):
        convert(TwoInputs(), a)
    with pytest.raises(ValueError, match='one row per input'):
        convert(TwoInputs(), [(a, b[:3])])


class Outputs(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.conv, self.form = nn.Conv2d(2, 4, 3), form

    def forward(self, x):
        y = F.relu(self.conv(x))
        return self.form(self, x, y)


@pytest.mark.parametrize(
    'form',
    [
        lambda m, x, y: (y, y.mean((2, 3)), x),
        lambda m, x, y: {'out': y, 'aux': [x + 1, y.sum(1)]},
        lambda m, x, y: y.chunk(2, 1),
        lambda m, x, y: (y, m.conv.weight),
    ],
    ids=['tuple', 'dict', 'chunks', 'parameter'],
)
def test_outputs_keep_their_form(form):
    net, x = Outputs(form), images()
    snn = sound(net, x)
    wanted, found = net(x), snn(x, 3)
    assert type(found) is type(wanted) or isinstance(wanted, list)
    assert len(found) == len(wanted)


def test_leaves_stay_whole():
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), nn.ReLU())
    snn = sound(net, images(), leaves=('2',))
    assert kinds(snn) == (2, 0, 1)
    assert snn.entries[1].why == 'kept whole as asked (leaves)'
    assert kinds(sound(net, images(), leaves=['2.1', '3'])) == (1, 0, 2)
    with pytest.raises(ConversionError, match="no module named '7'"):
        convert(net, images(), leaves=('7',))
    with pytest.raises(ConversionError, match="got the string 'conv'"):
        convert(net, images(), leaves='conv')


class Keywords(nn.Module):
    def forward(self, x, **options):
        return F.relu(x)


def test_options_of_forward_are_not_inputs():
    assert kinds(sound(Keywords(), torch.randn(8, 4))) == (1, 0, 0)
