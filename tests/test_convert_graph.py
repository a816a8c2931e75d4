"""Which networks torch.fx's graph lets through, that they mean the same afterwards, and what is refused by name."""

import pytest
import torch
from soundness import called, kinds, sound
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert
from snnkern.convert.layers import LateralPool


class Net(nn.Module):
    """A convolution, what a test does with its output, and what its output needs."""

    def __init__(self, function, **modules):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def images(n=6, size=8):
    return torch.randn(n, 2, size, size)


ACTIVATIONS = {
    'module': lambda m, x: m.act(m.conv(x)),
    'functional': lambda m, x: F.relu(m.conv(x)),
    'in place': lambda m, x: F.relu(m.conv(x), inplace=True),
    'torch': lambda m, x: torch.relu(m.conv(x)),
    'torch in place': lambda m, x: torch.relu_(m.conv(x)),
    'method': lambda m, x: m.conv(x).relu(),
    'method in place': lambda m, x: m.conv(x).relu_(),
    'relu6': lambda m, x: F.relu6(5 * m.conv(x)),
    'relu6 in place': lambda m, x: F.relu6(5 * m.conv(x), inplace=True),
    'leaky': lambda m, x: F.leaky_relu(m.conv(x), 0.2),
    'leaky in place': lambda m, x: F.leaky_relu_(m.conv(x), 0.2),
    'leaky by name': lambda m, x: F.leaky_relu(m.conv(x), negative_slope=0.3, inplace=True),
    'clamp': lambda m, x: m.conv(x).clamp(0, 1),
    'clamp by name': lambda m, x: torch.clamp(m.conv(x), min=0, max=0.5),
    'clamp by one bound': lambda m, x: m.conv(x).clamp(min=0),
    'clamp_min': lambda m, x: m.conv(x).clamp_min(0),
    'clamp_min in place': lambda m, x: m.conv(x).clamp_min_(0),
    'hardtanh': lambda m, x: F.hardtanh(m.conv(x), 0, 1),
    'hardtanh in place': lambda m, x: F.hardtanh_(m.conv(x), min_val=0.0, max_val=1.0),
    'input by name': lambda m, x: torch.relu(input=m.conv(x)),
}


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_activations(name):
    net = Net(lambda m, x: m.conv2(ACTIVATIONS[name](m, x)), act=nn.ReLU(inplace=True))
    assert kinds(sound(net, images())) == (1, 0, 0)


@pytest.mark.parametrize(
    'module',
    [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Hardtanh(0, 1), nn.PReLU(), nn.RReLU(), nn.Threshold(0, 0)],
    ids=lambda m: type(m).__name__,
)
def test_activation_modules(module):
    assert kinds(sound(Net(lambda m, x: m.conv2(m.act(m.conv(x))), act=module), images())) == (1, 0, 0)


ANALOGUE = {
    'softmax': lambda m, y: y.softmax(1),
    'sigmoid gate': lambda m, y: y * torch.sigmoid(m.conv2(y).mean((2, 3), keepdim=True)),
    'gelu': lambda m, y: F.gelu(m.conv2(y)),
    'hardtanh': lambda m, y: F.hardtanh(y),
    'clamp': lambda m, y: m.conv2(y).clamp(-0.1, 0.1),
    'clamp_max': lambda m, y: y.clamp_max(0.1),
    'norm': lambda m, y: F.layer_norm(y, y.shape[1:]),
    'group norm': lambda m, y: F.group_norm(y, 2),
    'normalize': lambda m, y: F.normalize(y),
    'square': lambda m, y: y * y,
    'product of two': lambda m, y: y * m.conv2(y),
    'quotient': lambda m, y: 1 / (y + 1),
    'floor': lambda m, y: torch.div(y, 0.01, rounding_mode='floor'),
    'attention': lambda m, y: F.scaled_dot_product_attention(y, y, m.conv2(y)),
    'max': lambda m, y: y.max(1)[0],
    'max by name': lambda m, y: y.max(dim=1).values,
    'amax': lambda m, y: y.amax(dim=(2, 3)),
    'maximum': lambda m, y: torch.maximum(y, m.conv2(y)),
    'adaptive max': lambda m, y: F.adaptive_max_pool2d(y, 2),
    'max_pool1d': lambda m, y: F.max_pool1d(y.flatten(2), 2),
    'hardswish in place': lambda m, y: F.hardswish(m.conv2(y), inplace=True) + y,
    'sigmoid in place': lambda m, y: m.conv2(y).sigmoid_() + y,
    'einsum of two': lambda m, y: torch.einsum('bchw,bcij->bhi', y, m.conv2(y)),
}


@pytest.mark.parametrize('name', ANALOGUE)
def test_what_cannot_spike_reads_the_mean(name):
    snn = sound(Net(lambda m, x: ANALOGUE[name](m, F.relu(m.conv(x)))), images())
    neurons, pools, analogue = kinds(snn)
    assert (neurons, pools) == (1, 0)
    assert analogue >= 1
    assert all(entry.why for entry in snn.entries if entry.kind == 'analogue')


def heads(m, y):
    """Multi-head attention, written out."""
    b, c, h, w = y.shape
    q, k, v = m.qkv(y).reshape(b, 3, 2, 4, h * w).unbind(1)
    a = (q.transpose(-2, -1) @ k * (c**-0.5)).softmax(-1)
    return (v @ a.transpose(-2, -1)).reshape(b, 8, h, w)


def test_attention_written_out():
    net = Net(lambda m, x: heads(m, F.relu(m.conv(x))), qkv=nn.Conv2d(4, 24, 1))
    assert kinds(sound(net, images(size=4)))[0] == 1


def test_attention_module():
    def attend(m, x):
        y = F.relu(m.conv(x)).flatten(2).transpose(1, 2)
        return m.attention(y, y, y, need_weights=False)[0]

    net = Net(attend, attention=nn.MultiheadAttention(4, 2, batch_first=True))
    assert kinds(sound(net, images(size=4))) == (1, 0, 1)
    net = Net(attend, attention=nn.MultiheadAttention(4, 2))
    with pytest.raises(ConversionError, match=r'attention \(MultiheadAttention\).*dimension 0'):
        convert(net, images(size=4))


def shuffle(m, x):
    """ShuffleNet's channel shuffle, with a size taken before the first neuron."""
    b, c, h, w = x.size()
    y = F.relu(m.conv(x))
    return m.conv2(y.view(b, 2, c, h, w).transpose(1, 2).contiguous().view(b, -1, h, w))


AFFINE = {
    'add': lambda m, y: y + m.conv2(y),
    'add in place': lambda m, y: m.conv2(y).add_(y),
    'iadd': lambda m, y: _iadd(m.conv2(y), y),
    'subtract': lambda m, y: 1 - torch.sub(y, m.conv2(y), alpha=2),
    'cat': lambda m, y: torch.cat([y, m.conv2(y)], 1),
    'cat from behind': lambda m, y: torch.cat((y, m.conv2(y)), dim=-3),
    'stack': lambda m, y: torch.stack([y, m.conv2(y)], 1).flatten(1, 2),
    'times a parameter': lambda m, y: m.scale * y,
    'times a number': lambda m, y: y.mul(0.5) / 3,
    'divided by a parameter': lambda m, y: y / m.scale,
    'pad': lambda m, y: F.pad(y, (1, 2, 0, 1)),
    'pad with a value': lambda m, y: F.pad(y, (1, 1), value=2.0),
    'reflect': lambda m, y: F.pad(y, (1, 1, 1, 1), mode='reflect'),
    'nearest': lambda m, y: F.interpolate(y, scale_factor=2),
    'bilinear': lambda m, y: F.interpolate(y, size=(5, 5), mode='bilinear', align_corners=False),
    'to the size of another': lambda m, y: F.interpolate(F.avg_pool2d(y, 2), y.shape[-2:]) + y,
    'flatten': lambda m, y: y.flatten(1),
    'flatten by name': lambda m, y: torch.flatten(y, start_dim=1),
    'mean': lambda m, y: y.mean([2, 3]),
    'mean by axis': lambda m, y: y.mean(axis=(2, 3)),
    'global pool': lambda m, y: F.adaptive_avg_pool2d(y, 1).squeeze(-1).squeeze(-1),
    'average pool': lambda m, y: F.avg_pool2d(y, 3, 2, 1),
    'permute': lambda m, y: y.permute(0, 2, 3, 1),
    'transpose': lambda m, y: y.transpose(1, -1),
    'reshape': lambda m, y: y.reshape(y.shape[0], 2, -1),
    'view': lambda m, y: y.view(y.size(0), -1),
    'view without a size': lambda m, y: y.view(-1, 4 * 64),
    'rows and back': lambda m, y: y.reshape(-1, 64).reshape(-1, 4, 8, 8) + y,
    'chunk': lambda m, y: torch.cat(y.chunk(2, 1)[::-1], 1),
    'split': lambda m, y: y.split(1, dim=1)[2] + y.split([1, 3], 1)[0],
    'unbind': lambda m, y: y.unbind(1)[0],
    'slices': lambda m, y: y[:, ::2, 1:, None] + y[..., :1, 0:7, None, :],
    'narrow': lambda m, y: y.narrow(1, 1, 2) + y.select(1, 0).unsqueeze(1),
    'pixel shuffle': lambda m, y: F.pixel_shuffle(y, 2),
    'channel shuffle': lambda m, y: F.channel_shuffle(y, 2),
    'expand': lambda m, y: y.mean(1, keepdim=True).expand(-1, 4, -1, -1) + y,
    'repeat': lambda m, y: y.repeat(1, 2, 1, 1),
    'roll': lambda m, y: torch.roll(y, (1, 2), (2, 3)).flip(3),
    'unfold': lambda m, y: F.unfold(y, 3),
    'matmul': lambda m, y: torch.eye(8).to(y.dtype) @ y,
    'einsum': lambda m, y: torch.einsum('bchw,co->bohw', y, m.scale.flatten(1).expand(4, 4)),
    'linear': lambda m, y: F.linear(y, m.scale.flatten().expand(3, 4).repeat(1, 2)),
    'conv': lambda m, y: F.conv2d(y, m.conv2.weight, groups=2, padding=1),
    'transposed': lambda m, y: F.conv_transpose2d(y, m.conv2.weight, stride=2),
    'dropout': lambda m, y: F.dropout(y, 0.5, m.training),
    'zeros': lambda m, y: torch.cat([y, torch.zeros_like(y)], 1),
    'new zeros': lambda m, y: torch.cat([y, y.new_zeros(y.shape[0], 1, 8, 8)], 1),
    'sum of a list': lambda m, y: sum([y, m.conv2(y), y]),
    'einops-like': lambda m, y: y.unflatten(1, (2, 2)).movedim(1, -1).swapaxes(1, 2).flatten(1),
}


def _iadd(a, b):
    a += b
    return a


@pytest.mark.parametrize('name', AFFINE)
def test_affine_calls_stay(name):
    net = Net(lambda m, x: AFFINE[name](m, F.relu(m.conv(x))))
    assert kinds(sound(net, images())) == (1, 0, 0)


FROM_BEFORE = {
    'shape': lambda m, x: F.relu(m.conv(x)).view(x.shape[0], -1),
    'size': lambda m, x: F.relu(m.conv(x)).view(x.size(0), -1),
    'size from behind': lambda m, x: F.relu(m.conv(x)).view(x.size(-4), -1),
    'whole size': lambda m, x: F.relu(m.conv(x)[:, :2]).view(x.size()),
    'whole shape': lambda m, x: F.relu(m.conv(x)[:, :2]).reshape(x.shape),
    'part of a shape': lambda m, x: F.relu(m.conv(x)).reshape(x.shape[:1] + (-1,)),  # noqa: RUF005
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
