"""LayerWise modules: what they compute, and that neurons really integrate over time."""

import pytest
import torch
from torch.nn import functional as F

from snnkern import nn
from snnkern.nn.difference import LocalDifference2d
from snnkern.nn.layerwise import LayerWiseConv2d, LayerWiseLinear


def frames(T=5, B=3, C=4, side=6):
    return torch.randn(T, B, C, side, side)


def test_a_convolution_its_norm_and_neurons_step_by_step():
    x = frames()
    layer = LayerWiseConv2d(4, 8, nn.BiasLIF())
    torch.nn.init.normal_(layer.layers.norm.weight)
    torch.nn.init.normal_(layer.layers.norm.bias)
    v, out = torch.zeros(3, 8, 6, 6), []
    for step in x:
        current = F.conv2d(step, layer.layers.conv.weight, padding=1)
        current = F.group_norm(current, 1, layer.layers.norm.weight, layer.layers.norm.bias)
        h = v + (current - v) / 2 + 0.1
        out.append((h > 1).float())
        v = h * (1 - out[-1])
    found = layer(x)
    assert 0.05 < found.mean() < 0.6
    assert (found == torch.stack(out)).float().mean() > 0.999  # the last bits of a convolution depend on the batch


def test_a_linear_layer_its_norm_and_neurons_step_by_step():
    x = torch.randn(5, 3, 7)
    layer = LayerWiseLinear(7, 9, None, norm='gn')
    expected = torch.stack([F.group_norm(layer.layers.fc(step), 1) for step in x])
    torch.testing.assert_close(layer(x), expected)
    assert set(LayerWiseLinear(7, 9, nn.LIF())(x).unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize('layer', [LayerWiseConv2d(4, 8, nn.LIF(v_threshold=0.9)),
                                   LayerWiseConv2d(4, 8, nn.BatchNormNeuron(8), norm='none')])  # fmt: skip
def test_neurons_integrate_over_time(layer):
    """One frame given eight times: published, the eight outputs are the same, since neurons take them for a batch."""
    x = frames(1).expand(8, -1, -1, -1, -1).clone()
    out = layer(x)
    silent = (out[0] == 0) & (out.sum(0) > 0)
    assert silent.float().mean() > 0.05, 'no neuron needs more than one step to reach its threshold'
    assert len({step.sum().item() for step in out}) > 2


def test_the_state_goes_on_from_call_to_call():
    layer, x = LayerWiseConv2d(4, 8, nn.LIF()), frames()
    out = layer(x)
    nn.reset(layer)
    assert torch.equal(torch.cat([layer(step[None]) for step in x]), out)


def test_a_batch_folded_into_time_is_not_the_same():
    """What the published network does: [T * B, ...] as one step."""
    layer, x = LayerWiseConv2d(4, 8, nn.LIF(v_threshold=0.9)), frames(1).expand(8, -1, -1, -1, -1).clone()
    out = layer(x)
    nn.reset(layer)
    folded = layer(x.flatten(0, 1)[None])[0].unflatten(0, (8, -1))
    assert all(torch.equal(step, folded[0]) for step in folded)
    assert not torch.equal(out, folded)


def test_time_comes_first():
    layer, x = LayerWiseConv2d(4, 8, nn.LIF()), frames(6, 2)
    out = layer(x)
    nn.reset(layer)
    assert torch.equal(layer(x[:, 1:]), out[:, 1:]), 'samples must not see each other'
    nn.reset(layer)
    assert torch.equal(layer(x[:3]), out[:3]), 'a step must not see later ones'


@pytest.mark.parametrize(('neuron', 'values'), [(nn.LIF(v_threshold=0.25), {0.0, 1.0}),
                                                (nn.DoubleSidePLIF(), {-1.0, 0.0, 1.0}),
                                                (nn.DoubleSidePLIF(compat='sign'), {-1.0, 1.0})])  # fmt: skip
def test_the_neuron_reaches_its_place(neuron, values):
    """Published, `node` goes into `bias`, and its arguments get lost."""
    layer = LayerWiseConv2d(4, 8, neuron)
    assert layer.neuron is neuron
    assert layer.layers.conv.bias is None
    assert set(layer(frames()).unique().tolist()) == values


def test_weights_of_their_own_for_each_step():
    x, layer = frames(), LayerWiseConv2d(4, 8, None, n_groups=5)
    for parameter in layer.layers.norm.parameters():
        torch.nn.init.normal_(parameter)
    weights, gains, shifts = (
        p.unflatten(0, (5, 8)) for p in (layer.layers.conv.weight, layer.layers.norm.weight, layer.layers.norm.bias)
    )
    expected = [F.group_norm(F.conv2d(x[t], weights[t], padding=1), 1, gains[t], shifts[t]) for t in range(5)]
    torch.testing.assert_close(layer(x), torch.stack(expected))
    linear, y = LayerWiseLinear(7, 9, None, n_groups=5), torch.randn(5, 3, 7)
    weights, biases = linear.layers.fc.weight.view(5, 9, 7), linear.layers.fc.bias.view(5, 9)
    torch.testing.assert_close(linear(y), torch.stack([F.linear(y[t], weights[t], biases[t]) for t in range(5)]))


def test_nothing_loops_over_time():
    """One convolution, one norm and one call of the neurons, whatever T is."""
    calls = []
    layer = LayerWiseConv2d(4, 8, nn.LIF())
    for module in (layer.layers.conv, layer.layers.norm, layer.neuron):
        module.register_forward_hook(lambda module, given, out: calls.append(type(module).__name__))
    layer(frames(9))
    assert calls == ['Conv2d', 'GroupNorm', 'LIF']


def test_a_constant_input_is_computed_once():
    layer, seen = LayerWiseConv2d(4, 8, nn.LIF()), []
    layer.layers.conv.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    step = frames(1, 3)
    out = layer(step.expand(6, -1, -1, -1, -1))
    nn.reset(layer)
    assert torch.equal(layer(step.expand(6, -1, -1, -1, -1)), out)
    assert seen == [3, 3]
    assert out.shape == (6, 3, 8, 6, 6)


def test_a_residual_is_added_to_the_spikes():
    x, shortcut = frames(), torch.randn(5, 3, 8, 6, 6)
    for layer in (LayerWiseConv2d(4, 8, nn.LIF()), LayerWiseConv2d(4, 8, torch.nn.ReLU())):
        out = layer(x)
        nn.reset(layer)
        torch.testing.assert_close(layer(x, shortcut), out + shortcut)


def test_gradients_reach_weights_through_time():
    layer, x = LayerWiseConv2d(4, 8, nn.LIF()), frames().requires_grad_()
    layer(x)[-1].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    assert (x.grad.flatten(1).abs().sum(1) > 0).all(), 'the last step depends on every step'


def test_bad_arguments():
    with pytest.raises(ValueError, match='norm must be one of gn, none, got'):
        LayerWiseConv2d(4, 8, None, norm='bn')
    with pytest.raises(TypeError, match=r'neuron must be a layer such as nn.LIF\(\), or None, got'):
        LayerWiseConv2d(4, 8, nn.LIF)
    with pytest.raises(ValueError, match='n_groups must be >= 1, got 0'):
        LayerWiseLinear(4, 8, None, n_groups=0)
    with pytest.raises(ValueError, match=r'x must be \[T, B, C, H, W\], got shape \(5, 3, 4\)'):
        LayerWiseConv2d(4, 8, None)(torch.zeros(5, 3, 4))
    with pytest.raises(ValueError, match='n_groups = 4 steps, got 5'):
        LayerWiseLinear(4, 8, None, n_groups=4)(torch.zeros(5, 3, 4))
    with pytest.raises(ValueError, match=r'x must be \[T, B, features\], got shape \(5, 3, 4, 6, 6\)'):
        LayerWiseLinear(4, 8, None)(frames())


def test_the_difference_from_the_mean_of_a_window():
    x, layer = frames(2, 3, 4, 6), LocalDifference2d()
    blocks = x.unflatten(-1, (3, 2)).unflatten(-3, (3, 2))
    expected = (blocks - blocks.mean((-1, -3), keepdim=True)).flatten(-4, -3).flatten(-2)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[0]), expected[0])
    x = torch.rand(1, 1, 2, 7, 5)
    means = x[..., :6, :4].unflatten(-1, (2, 2)).unflatten(-3, (3, 2)).mean((-1, -3))
    stretched = means[..., [0, 0, 0, 1, 1, 2, 2], :][..., [0, 0, 0, 1, 1]]
    torch.testing.assert_close(layer(x), x - stretched)
    assert layer(x).min() < 0 < layer(x).max()
    with pytest.raises(ValueError, match=r'x must be \[N, C, H, W\] or \[T, B, C, H, W\], got shape \(6, 6\)'):
        layer(torch.zeros(6, 6))
    with pytest.raises(ValueError, match='kernel_size must be >= 1, got 0'):
        LocalDifference2d(0)
