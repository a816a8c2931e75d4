"""The layers that normalise: statistics, single steps, errors, and temporal enhanced pooling."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import snnkern
from snnkern import LIF, Neuron, Synaptic
from snnkern.functional import batch_norm_neuron, multistep
from snnkern.nn import TEP, BatchNormNeuron


@pytest.mark.parametrize('momentum', [0.1, 0.5, None])
def test_running_statistics(momentum):
    """As BatchNorm2d keeps them; evaluated, they are part of the charge; its state_dict loads."""
    layer, norm = BatchNormNeuron(3, Neuron(LIF(2.0)), momentum=momentum), nn.BatchNorm2d(3, momentum=momentum)
    for _ in range(3):
        x = torch.randn(4, 2, 3, 5, 5) * 2 + 1
        layer(x)
        snnkern.nn.reset(layer)
        norm(x.flatten(0, 1))
    for name, kept in norm.named_buffers():
        torch.testing.assert_close(getattr(layer, name), kept)
    again = BatchNormNeuron(3, Neuron(LIF(2.0)))
    again.load_state_dict(norm.state_dict())
    before = copy.deepcopy(again.state_dict())
    again.eval(), norm.eval()
    x = torch.randn(4, 2, 3, 5, 5)
    assert torch.equal(again(x), multistep(norm(x.flatten(0, 1)).unflatten(0, (4, 2)), Neuron(LIF(2.0))))
    assert all(torch.equal(a, before[name]) for name, a in again.state_dict().items())
    without = BatchNormNeuron(3, track_running_stats=False).eval()
    assert without.running_mean is None
    assert torch.equal(
        without(x), multistep(F.batch_norm(x.flatten(0, 1), None, None, training=True).unflatten(0, (4, 2)), Neuron())
    )


def test_single_steps_carry_their_state():
    """In eval mode, where a step needs no others: as all at once."""
    layer = BatchNormNeuron(3, Neuron(LIF(2.0))).eval()
    layer.running_mean.fill_(0.2)
    x = torch.randn(5, 2, 3, 4, 4) * 2
    expected = layer(x)
    layer.reset()
    layer.step_mode = 's'
    assert torch.equal(torch.stack([layer(step) for step in x]), expected)


X = torch.zeros(3, 2, 4, 5, 5)
WRONG = [
    (
        {'weight': torch.ones(3)},
        ValueError,
        r'weight must be a floating-point tensor \[C\] with C = 4, got \(3,\) of torch.float32',
    ),
    ({'bias': 1.0}, ValueError, r'bias must be a floating-point tensor \[C\] with C = 4, got float'),
    ({'scale': torch.ones(2)}, ValueError, r'scale must be a floating-point tensor \[T\] with T = 3, got \(2,\)'),
    ({'eps': 0.0}, ValueError, r'eps must be > 0, got 0\.0'),
    ({'momentum': float('nan')}, ValueError, 'momentum must be finite, got nan'),
    ({'running_mean': torch.zeros(4)}, ValueError, 'running_mean and running_var must come together'),
    ({'channel_dim': 5}, ValueError, r'channel_dim must be a dimension of x behind T, got 5 for shape \(3, 2, 4'),
    ({'channel_dim': 0}, ValueError, 'channel_dim must be a dimension of x behind T, got 0'),
    ({'channel_dim': 'c'}, TypeError, "channel_dim must be an integer, got 'c'"),
    ({'coefficients': ['k']}, TypeError, 'coefficients must be a mapping from name to tensor, got list'),
    ({'weight': torch.ones(4, dtype=torch.int)}, ValueError, r'weight must be a floating-point tensor .* torch.int32'),
    ({'neuron': Neuron(Synaptic())}, TypeError, 'charge must be IF, LIF, PLIF or Affine to be written as'),
    ({'neuron': LIF()}, TypeError, 'neuron must be a Neuron, got LIF'),
    ({'coefficients': {'k': torch.ones(())}}, ValueError, "coefficients must be among c, .* got 'k'"),
    ({'x': X[:1, :1, :, :1, :1]}, ValueError, 'x must hold more than one number per channel in training, got shape'),
    ({'residual': X[:2]}, ValueError, 'residual must have shape, dtype and device of x, .* got'),
    ({'x': X[:0]}, ValueError, r'x must be \[T, \.\.\.\] with T >= 1, got shape'),
]


@pytest.mark.parametrize(('changed', 'error', 'text'), WRONG)
def test_errors(changed, error, text):
    with pytest.raises(error, match=f'^{text}'):
        batch_norm_neuron(**({'x': X, 'neuron': Neuron()} | changed))


WRONG_LAYERS = [
    ((4, Neuron(), 'batch'), {}, ValueError, "norm must be one of bn, tdbn, tebn, got 'batch'"),
    ((4, Neuron(), 'tebn'), {}, ValueError, 'T must be given with norm "tebn" and only there, got T=None'),
    ((4, Neuron(), 'bn'), {'T': 3}, ValueError, 'T must be given with norm "tebn" and only there, got T=3'),
    ((4,), {'momentum': 'x'}, TypeError, "momentum must be a number, got 'x'"),
    ((4, Neuron(), 'tebn'), {'T': 3, 'step_mode': 's'}, ValueError, 'step_mode must be "m" with norm "tebn"'),
    ((0,), {}, ValueError, 'num_features must be >= 1, got 0'),
    ((4, Neuron(Synaptic())), {}, TypeError, 'charge must be IF, LIF, PLIF or Affine'),
    ((4,), {'connect': 'ms'}, ValueError, 'connect must be "sew" here'),
]


@pytest.mark.parametrize(('arguments', 'named', 'error', 'text'), WRONG_LAYERS)
def test_wrong_layers(arguments, named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        BatchNormNeuron(*arguments, **named)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_an_empty_batch_changes_nothing(dtype):
    layer = BatchNormNeuron(4).to(dtype)
    layer.running_mean.fill_(5)
    before = copy.deepcopy(layer.state_dict())
    assert layer(torch.zeros(2, 0, 4, 3, 3, dtype=dtype)).shape == (2, 0, 4, 3, 3)
    assert all(torch.equal(a, before[name]) for name, a in layer.state_dict().items())


@pytest.mark.parametrize('mode', ['m', 's'])
def test_another_number_of_channels(mode):
    x = torch.zeros(5, 2, 3, 4) if mode == 's' else torch.zeros(6, 5, 2, 3, 4)
    with pytest.raises(ValueError, match=r'^x must have num_features = 3 channels, got 2 of \((6, )?5, 2, 3, 4\)$'):
        BatchNormNeuron(3, step_mode=mode)(x)


def test_what_is_refused_is_not_counted():
    layer = BatchNormNeuron(4)
    with pytest.raises(ValueError, match='more than one number'):
        layer(torch.zeros(1, 1, 4, 1, 1))
    assert layer.num_batches_tracked == 0


def test_half_parameters_are_widened_first():
    """Statistics far from 0, evaluated with parameters in half precision: as with the same numbers in float32."""
    x = (torch.randn(4, 3, 4, 5, 5) / 16 + 20).half()
    layer = BatchNormNeuron(4)
    layer.running_mean.fill_(20)
    layer.running_var.fill_(1 / 256)
    expected = layer.eval()(x)
    layer.reset()
    assert torch.equal(layer.half()(x), expected)


def test_tep():
    """Against the definition, image by image and channel by channel, in float64; and its gradient."""
    x = torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)
    layer = TEP(4).double()
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5), layer.bias.uniform_(-1, 1)
    expected = torch.empty_like(x)
    for b in range(2):
        for c in range(4):
            r = x[:, b, c].mean(0)
            g = (r - r.mean()) / (r.var(correction=0) + layer.eps).sqrt() * layer.weight[c] + layer.bias[c] + 1
            expected[:, b, c] = x[:, b, c] * g
    torch.testing.assert_close(layer(x), expected)
    assert torch.autograd.gradcheck(layer, x[:, :1, :, :2, :2].clone().requires_grad_())
    with pytest.raises(ValueError, match=r'^x must be \[T, B, C, H, W\] with C = 4, got \(3, 2, 5, 5, 6\)'):
        layer(torch.zeros(3, 2, 5, 5, 6))


def test_tep_of_one_pixel():
    """Its mean over space is itself: the norm is 0, whatever the weight."""
    x, layer = torch.randn(3, 2, 4, 1, 1, requires_grad=True), TEP(4)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5), layer.bias.uniform_(-1, 1)
    torch.testing.assert_close(layer(x), x * (1 + layer.bias.view(-1, 1, 1)))
    torch.testing.assert_close(layer(x[:, :1]), layer(x)[:, :1])
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
