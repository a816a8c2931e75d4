"""Each call that may stand in a network: activations, what stays as it is, and what reads the mean."""

import pytest
import torch
from soundness import Net, images, kinds, sound
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert

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
    'flatten all': lambda m, y: y.flatten(),
    'interleave': lambda m, y: y.repeat_interleave(2, 0),
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
