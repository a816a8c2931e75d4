"""The published recipes: thresholds by their definitions, convergence to the ANN, and BrainCog's Convertor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conversions import activations, network, spikes, thresholds
from torch import nn

from snnkern import Binary, Burst, Signed
from snnkern.convert import ConversionError, convert
from snnkern.convert.recipe import burst
from snnkern.convert.recipes import (
    RECIPES,
    calibration,
    channelwise,
    ijcai22,
    layerwise,
    lenet_norm,
    mse,
    plain_if,
    spiking_yolo,
)
from snnkern.convert.sketch import PER_OCTAVE, Sketch
from snnkern.data import mnist
from snnkern.recipes import digits

BIN = 2 ** (1 / PER_OCTAVE) - 1  # what a percentile may exceed the exact one by
PUBLISHED = (plain_if, layerwise, channelwise, mse, calibration, ijcai22, lenet_norm, spiking_yolo)


def errors(recipe, net, x, times):
    """The relative errors of the output after so many steps."""
    with torch.no_grad():
        expected = net(x)
        found = [convert(net, x, recipe, timesteps=T)(x, T) for T in times]
        return [((y - expected).norm() / expected.norm()).item() for y in found]


def test_all_are_known_by_name():
    assert set(PUBLISHED) <= set(RECIPES.values())
    assert all(RECIPES[recipe.__name__]().name == recipe.__name__ for recipe in PUBLISHED)


# The largest activation as theta, so that nothing is cut off. The gate of lenet_norm is no exact max-pool.
UNCUT = [
    (plain_if(1.0), 0.02),
    (layerwise(1.0), 0.02),
    (channelwise(1.0), 0.02),
    (mse(), 0.02),
    (calibration(), 0.02),
    (calibration('potential'), 0.02),
    (ijcai22(1.0), 0.02),
    (lenet_norm(1.0, act_shrink=1.0, lateral=True), 0.02),
    (lenet_norm(1.0, act_shrink=1.0), 0.15),
    (spiking_yolo(1.0), 0.02),
]


@pytest.mark.parametrize(('recipe', 'most'), UNCUT, ids=lambda value: getattr(value, 'name', ''))
def test_converges_to_the_ann(recipe, most):
    net, x = network(), torch.randn(8, 1, 14, 14)
    early, middle, late = errors(recipe, net, x, (4, 32, 256))
    assert early > middle > late
    assert late < most


@pytest.mark.parametrize('slope', [0.1, 0.3])
def test_leaky_networks_converge_by_imbalanced_thresholds(slope):
    net, x = network(lambda: nn.LeakyReLU(slope)), torch.randn(4, 1, 14, 14)
    snn = convert(net, x, 'spiking_yolo')
    assert all(n.neuron.fire == Signed.leaky(slope, n.neuron.fire.v_threshold, 1, True) for n in snn.neurons)
    early, middle, late = errors(spiking_yolo(1.0), net, x, (16, 128, 1024))
    assert early > 2 * middle > 4 * late
    assert late < 0.03


@pytest.mark.parametrize('shrink', [1.0, 2.0])
@pytest.mark.parametrize('percentile', [0.8, 0.99, 1.0])
def test_layer_thresholds_are_percentiles(percentile, shrink):
    net, x = network(), torch.randn(50, 1, 14, 14)
    found = thresholds(convert(net, x, ijcai22(percentile, act_shrink=shrink)))
    for theta, y in zip(found, activations(net, x), strict=True):
        y = np.sort(torch.where(y > 1, y / shrink, y).flatten().numpy())
        exact = y[int(np.ceil(percentile * len(y))) - 1]
        assert exact * 0.9999 <= theta <= exact * (1 + BIN if percentile < 1 else 1.0001)


@pytest.mark.parametrize('recipe', [channelwise(0.97), spiking_yolo(0.97), ijcai22(0.97, channelnorm=True)])
@pytest.mark.parametrize('activation', [nn.ReLU, lambda: nn.LeakyReLU(0.2)])
def test_channel_thresholds_are_percentiles_of_absolute_values(recipe, activation):
    net, x = network(activation), torch.randn(50, 1, 14, 14)
    for theta, y in zip(thresholds(convert(net, x, recipe)), activations(net, x), strict=True):
        rows = y.abs().transpose(0, 1).flatten(1).sort(1).values
        exact = rows[:, int(np.ceil(0.97 * rows.shape[1])) - 1]
        assert theta.shape == exact.shape
        assert ((theta >= exact * 0.9999) & (theta <= exact * (1 + BIN))).all()


def test_ijcai22_has_channel_thresholds_for_feature_maps_only():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    snn = convert(net, torch.randn(20, 1, 4, 4), ijcai22(channelnorm=True))
    assert snn.neurons[0].v_threshold.shape == (3,)
    assert isinstance(snn.neurons[1].v_threshold, float)
    assert convert(net, torch.randn(20, 1, 4, 4), channelwise()).neurons[1].v_threshold.shape == (4,)


def test_neurons_are_those_that_were_published():
    net, x = network(), torch.randn(20, 1, 14, 14)
    first = {recipe.__name__: convert(net, x, recipe.__name__).neurons[0] for recipe in PUBLISHED}
    assert {name for name, n in first.items() if isinstance(n.neuron.fire, Binary)} == {
        *('plain_if', 'layerwise', 'channelwise', 'mse', 'calibration', 'spiking_yolo')
    }
    assert {name: n.max_spikes for name, n in first.items() if isinstance(n.neuron.fire, Burst)} == {
        'ijcai22': 5,
        'lenet_norm': 2,
    }
    assert {name for name, n in first.items() if n.get_buffer('v0').any()} == {
        *('layerwise', 'channelwise', 'mse', 'calibration')
    }
    half = first['channelwise']
    assert torch.equal(half.get_buffer('v0'), half.v_threshold / 2)


def test_silent_channels_get_the_largest_threshold():
    net, x = network(), torch.randn(20, 1, 14, 14)
    with torch.no_grad():
        net[1].weight[2], net[1].bias[2] = 0, -1
    theta = convert(net, x, 'channelwise').neurons[0].v_threshold
    assert theta[2] == theta.max() > 0


@pytest.mark.parametrize('recipe', [layerwise(0.9, 7), channelwise(0.9, 7), mse(7), layerwise(0.9, 1)])
def test_relu6_saturates_at_6(recipe):
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU6())
    with torch.no_grad():
        net[0].weight[:], net[0].bias[:] = torch.tensor([0.4, 1, 3, 9]).view(4, 1, 1, 1), 0
    x = torch.linspace(-1, 4, 400).view(4, 1, 10, 10)
    snn = convert(net, x, recipe)
    theta, most = snn.neurons[0].v_threshold, snn.neurons[0].max_spikes
    assert (torch.as_tensor(theta) * most <= 6.0001).all()
    if most > 1:
        high = snn(torch.full((1, 1, 2, 2), 20.0), 8)
        assert torch.allclose(high[:, 2:], torch.tensor(6.0))
    else:
        assert theta == pytest.approx(6)  # the percentile itself, not cut to whole spikes


@pytest.mark.parametrize('channels', [False, True])
@pytest.mark.parametrize('most', [1, 3])
@pytest.mark.parametrize('steps', [2, 8])
def test_mse_thresholds_have_the_least_error(steps, most, channels):
    net, x = network(), torch.randn(40, 1, 14, 14)
    found = thresholds(convert(net, x, mse(most, channels=channels), timesteps=steps))

    def error(theta, y):
        return float(((np.floor(y * steps / theta + 0.5).clip(0, most * steps) * theta / steps - y) ** 2).mean())

    for theta, y in zip(found, activations(net, x), strict=True):
        rows = y.double().transpose(0, 1).flatten(1).numpy() if channels else y.double().reshape(1, -1).numpy()
        for own, row in zip(torch.as_tensor(theta).view(-1).tolist(), rows, strict=True):
            candidates = [row.max() * (1 - 0.01 * i) for i in range(95)]
            assert min(abs(own / c - 1) for c in candidates) < 1e-5
            assert error(own, row) <= 1.03 * min(error(c, row) for c in candidates)  # bins are 1.1 % wide


def test_calibration_takes_the_mean_error_off():
    net, x = network(), torch.randn(60, 1, 14, 14)
    targets = activations(net, x)
    T = 4

    def errors_of(recipe, dims):
        snn = convert(net, x, recipe, timesteps=T)
        outs = [s.unflatten(0, (T, -1)).mean(0) for s in spikes(snn, x, T)]
        return [(out - y).mean(dims).abs().mean().item() for out, y in zip(outs, targets, strict=True)]

    plain, light, potential = (errors_of(r, (0, 2, 3)) for r in (mse(), calibration(), calibration('potential')))
    assert light[0] < 0.7 * plain[0]
    assert light[1] < 0.7 * plain[1]
    assert potential[0] < 0.5 * plain[0]
    each = [errors_of(recipe, 0) for recipe in (mse(), calibration('potential'))]
    assert each[1][0] < 0.7 * each[0][0]


def test_calibration_adds_what_is_missing():
    """One neuron at 0.3 with theta 1: two steps from v0 = 0.5 give one spike, 0.5; then its correction is -0.2."""
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([[0.3], [1.0]])
    for mode, name, missing in (('light', 'c', -0.2), ('potential', 'v0', 0.5 - 2 * 0.2)):
        snn = convert(net, x[[0, 0]], _theta_of_one(calibration(mode)), timesteps=2)
        layer = snn.neurons[0]
        value = layer.coefficients['c'] if name == 'c' else layer.get_buffer('v0')
        assert value.tolist() == pytest.approx([missing], abs=1e-6)


def _theta_of_one(recipe):
    """The recipe with theta = 1 in place of its own."""
    return replace(recipe, choose=lambda site: burst(site, 1.0, 1, 0.5))


@pytest.mark.parametrize('channels', [False, True])
def test_sketches_rescale_merge_and_shrink(channels):
    y = torch.randn(200, 3, 7).exp()
    sketch, larger = Sketch(channels), Sketch(channels)
    sketch.add(y)
    larger.add(3.7 * y)
    sketch.rescale(3.7)
    for p in (0.3, 0.99, 1.0):
        torch.testing.assert_close(sketch.quantile(p), larger.quantile(p), rtol=BIN, atol=0)
    torch.testing.assert_close(sketch.mean, larger.mean)
    theta = torch.tensor([1.0, 5.0, 20.0])
    torch.testing.assert_close(sketch.error(theta, 4, 2), larger.error(theta, 4, 2), rtol=0.03, atol=0)
    whole = Sketch()
    whole.add(3.7 * y)
    assert torch.equal(larger.together().quantile(0.9), whole.quantile(0.9))
    assert larger.channels == channels
    assert larger.quantile(1.0, 4.0).max() == pytest.approx(larger.top / 4)
    more = Sketch()
    more.add(torch.full((10, 1000), 0.5))
    assert more.quantile(0.07, 2.0).item() == more.quantile(1.0).item() == 0.5


BAD = [
    (lambda: plain_if(99.9), r'percentile must be in \(0, 1\], got 99.9'),
    (lambda: layerwise(0), r'percentile must be in \(0, 1\], got 0'),
    (lambda: spiking_yolo(float('nan')), 'percentile must be finite'),
    (lambda: channelwise(max_spikes=0), 'max_spikes must be >= 1'),
    (lambda: layerwise(v0=float('inf')), 'v0 must be finite'),
    (lambda: mse(max_spikes=0), 'max_spikes must be >= 1'),
    (lambda: ijcai22(act_shrink=0.5), 'act_shrink must be >= 1, got 0.5'),
    (lambda: ijcai22(percentile=-1), 'percentile'),
    (lambda: lenet_norm(act_shrink=0), 'act_shrink'),
    (lambda: calibration('advanced'), "mode must be one of light, potential, got 'advanced'"),
    (lambda: calibration(max_spikes=0), 'max_spikes must be >= 1'),
]


@pytest.mark.parametrize(('make', 'words'), BAD)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize('recipe', PUBLISHED)
def test_a_silent_layer_is_named(recipe):
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    net[0].bias.data[:] = -100
    with pytest.raises(ConversionError, match=r'module 1 \(ReLU\) has no positive finite output'):
        convert(net, torch.rand(4, 1, 5, 5), recipe())


@pytest.mark.slow
def test_accuracy_of_the_ann_is_reached_with_time():
    data = mnist()
    x, y = digits.images(data.x_train[:2200]), digits.labels(data.y_train[:2200])
    net, x, y = digits.train(x[:2000], y[:2000], 1, 0), x[2000:], y[2000:]
    ann = digits.accuracy(net(x), y)
    for recipe in PUBLISHED:
        snn = convert(net, x[:100], recipe(), timesteps=64)
        assert abs(digits.accuracy(snn.predict(x, 64), y) - ann) <= 2.5, recipe.__name__
