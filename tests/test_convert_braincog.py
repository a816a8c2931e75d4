"""BrainCog 0.2.7.19's Convertor as oracle of the recipe ijcai22."""

import copy
from dataclasses import replace

import pytest
import torch
from conversions import network, spikes
from torch import nn

from snnkern.convert import convert
from snnkern.convert.recipe import burst
from snnkern.convert.recipes import ijcai22

NEAR = 0.06  # a bin of our percentiles, and one activation of 640 more or less


@pytest.fixture
def convertor():
    """BrainCog's Convertor on a copy of a network, with one batch of calibration."""
    module = pytest.importorskip('braincog.base.conversion.convertor', reason='BrainCog is not installed: no oracle')

    def convert_theirs(net, x, percentile, max_spikes, channelnorm, lateral):
        arguments = {'p': percentile, 'gamma': max_spikes, 'channelnorm': channelnorm, 'lipool': lateral}
        with torch.no_grad():
            return module.Convertor([(x, None)], device='cpu', **arguments)(copy.deepcopy(net))

    return convert_theirs


def small_activations(net, x):
    """The network with activations below 1, under BrainCog's clamp at gamma."""
    for index in (1, 5):
        top = net[: index + 1](x).max().item() * 1.1
        with torch.no_grad():
            net[index].weight /= top
            net[index].bias /= top
    return net


@pytest.mark.parametrize('lateral', [True, False])
@pytest.mark.parametrize('channelnorm', [False, True])
@pytest.mark.parametrize(('percentile', 'max_spikes'), [(0.99, 5), (1.0, 1), (0.9, 2)])
def test_braincog_gives_the_same_spikes_at_every_step(convertor, percentile, max_spikes, channelnorm, lateral):
    """Its gate loses digits (x + 1000 * sum), so some of its maxima are others."""
    x = torch.randn(40, 1, 14, 14)
    net = small_activations(network(), x)
    theirs = convertor(net, x, percentile, max_spikes, channelnorm, lateral)
    ours = convert(net, x, ijcai22(percentile, max_spikes, channelnorm, lateral))
    scales = [theirs[2][3].scale, theirs[6][3].scale]
    for neuron, scale in zip(ours.neurons, scales, strict=True):
        theta, live = torch.as_tensor(neuron.v_threshold), scale > 1e-9
        torch.testing.assert_close(theta[live], scale[live], rtol=1e-6 if percentile == 1 else NEAR, atol=1e-6)
    recipe = replace(ijcai22(max_spikes=max_spikes, lateral=lateral), choose=_given(iter(scales), max_spikes))
    ours = convert(net, x, recipe)
    T, emitted = 12, [[], []]
    for i in (2, 6):
        theirs[i].register_forward_hook(lambda module, inputs, out, at=i // 4: emitted[at].append(out))
    with torch.no_grad():
        theirs.reset()
        outputs = torch.stack([theirs(x) for _ in range(T)])
        for layer, own, other in zip(ours.neurons, spikes(ours, x, T), emitted, strict=True):
            theta = layer.v_threshold if isinstance(layer.v_threshold, float) else layer.v_threshold.view(-1, 1, 1)
            differing = ((own / theta).round() != (torch.cat(other) / theta).round()).float().mean()
            assert differing <= (0 if lateral else 2e-4)
        for t, mean in ours.steps(x, T):
            torch.testing.assert_close(mean, outputs[:t].mean(0), rtol=1e-4, atol=1e-4 if lateral else 0.02)


def _given(thetas, max_spikes):
    return lambda site: burst(site, next(thetas), max_spikes, 0.0)


def test_analogue_parts_run_at_every_step_as_in_the_original(convertor):
    x = torch.randn(20, 1, 14, 14)
    net = nn.Sequential(*small_activations(network(), x), nn.Sigmoid())
    theirs, ours = convertor(net, x, 1.0, 5, False, True), convert(net, x, ijcai22(1.0))
    with torch.no_grad():
        theirs.reset()
        outputs = torch.stack([theirs(x) for _ in range(8)])
        torch.testing.assert_close(ours(x, 8), outputs.mean(0), rtol=1e-4, atol=1e-4)
