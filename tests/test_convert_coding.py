"""Poisson-coded input of a converted network: what is drawn, what cuts of the work must not change, and counts."""

import pytest
import torch
from conversions import network
from converted import fixed
from torch import nn

from snnkern import encode
from snnkern.convert import SNN, convert
from snnkern.convert.check import deviation
from snnkern.convert.coding import PoissonInput
from snnkern.convert.recipes import default, layerwise


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def emitted(snn, x, T):
    """What the coded inputs emit, [T, B, ...] each."""
    found = []
    coded = [layer for layer in snn.layers if isinstance(layer, PoissonInput)]
    hooks = [layer.register_forward_hook(lambda m, _, out: found.append(m.unfold(out))) for layer in coded]
    snn(x, T)
    for hook in hooks:
        hook.remove()
    return found


class Two(nn.Module):
    """Two inputs, of which the second passes a pool before anything has weights."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3)
        self.pool, self.relu, self.head = nn.MaxPool2d(2), nn.ReLU(), nn.Linear(3 * 36, 4)

    def forward(self, x, y):
        return self.head(self.relu(self.a((x - 0.5) / 0.25) + self.b(self.pool(y))).flatten(1))


def test_spikes_come_with_the_probability_of_the_input():
    net, x = network(), torch.rand(2, 1, 14, 14)
    x[0, 0, :2], x[1, 0, :2] = 0, 1
    (s,) = emitted(convert(net, x, layerwise(), coding='poisson'), x, 1000)
    assert set(s.unique().tolist()) == {0.0, 1.0}
    assert (s.mean(0) - x).abs().max() < 5 * 0.5 / 1000**0.5
    assert not s[:, 0, 0, :2].any()
    assert s[:, 1, 0, :2].all()
    assert torch.equal(s[:4], encode.poisson(x, 4))


@pytest.mark.parametrize('modules', [None, 'auto'])
def test_outputs_converge_to_the_network_and_nothing_runs_once(modules):
    net, x = network(), torch.rand(16, 1, 14, 14)
    snn = convert(net, x, default(0.03, correct=False), timesteps=256, coding='poisson', modules=modules)
    with torch.no_grad():
        errors = [relative(snn(x, T), net(x)) for T in (16, 1024)]
        assert errors[0] > 3 * errors[1]
        assert errors[1] < 0.03
        assert deviation(snn, net, (x[:3],)) < 1e-4
        assert snn.stem(x)[0] is x


@pytest.mark.parametrize('modules', [None, 'auto'])
def test_how_the_work_is_cut_does_not_matter(modules):
    net, x, T = network(), torch.rand(7, 1, 14, 14), 11
    snn = convert(net, x, timesteps=4, coding='poisson', modules=modules)
    with torch.no_grad():
        whole = snn(x, T)
        assert torch.equal(snn(x, T), whole)
        for chunk in (1, 3, 5):
            *_, (_, last) = snn.steps(x, T, chunk)
            torch.testing.assert_close(last, whole)
        snn.chunk_bytes = 2 * 4 * snn.largest * 7
        torch.testing.assert_close(snn(x, T), whole)
        torch.testing.assert_close(snn.sequence(x, T).mean(0), whole)
        parts = [snn(x[at : at + 3], T, offset=at) for at in (0, 3, 6)]
        torch.testing.assert_close(torch.cat(parts), whole)
        torch.testing.assert_close(snn.predict(x, T, megabytes=8e-6 * snn.largest * T), whole)
        assert not torch.allclose(snn(x[3:], T), whole[3:])
        snn.seed = 1
        assert not torch.allclose(snn(x, T), whole)


def test_the_simulator_draws_the_same_spikes():
    net, x = network(), torch.rand(5, 1, 14, 14)
    snn = convert(net, x, timesteps=4, coding='poisson')
    snn.seed = 2**32 - 1
    with torch.no_grad():
        whole = snn(x, 9)
        torch.testing.assert_close(snn.simulator()(x, 9), whole)
        torch.testing.assert_close(snn.simulator().predict(x, 9, megabytes=8e-6 * snn.largest), whole)


def test_evaluation_counts_its_spikes_and_no_multiplication_of_the_first_layer():
    net, x = network(), torch.rand(300, 1, 14, 14)
    labels = net(x).argmax(1)
    snn = convert(net, x, timesteps=4, coding='poisson')
    found = snn.evaluate((x, labels), (3, 6))
    plain = convert(net, x, timesteps=4).evaluate((x, labels), (3, 6))
    assert set(found.neurons) == set(plain.neurons)
    with torch.no_grad():
        (drawn,) = emitted(snn, x, 6)
        assert found.accuracy[6] == pytest.approx(100 * (snn(x, 6).argmax(1) == labels).float().mean().item())
    assert found.spikes[6]['coded_0'] == pytest.approx(drawn.sum().item() / 300)
    assert found.spikes[3]['coded_0'] == pytest.approx(drawn[:3].sum().item() / 300)
    energy, before = found.energy[6], plain.energy[6]
    assert energy.ann_macs == before.ann_macs
    first = 6 * 9 * 144  # multiplications of a convolution 1 -> 6 that gives 12 x 12
    assert (energy.macs, before.macs) == (0, first)
    others = sum(found.spikes[6][name] * fan for name, fan in (('pool_0', 8 * 9 * 16 / 36), ('pool_1', 5)))
    assert energy.synops == pytest.approx(others + found.spikes[6]['coded_0'] * first / 196)


def test_report_and_explanation_say_so():
    snn = convert(network(), torch.rand(20, 1, 14, 14), coding='poisson')
    part = snn.report().parts[0]
    assert (part.kind, part.name, part.layer, part.theta) == ('input', 'coded_0', 'PoissonInput', (1.0, 1.0))
    assert 'probability x' in str(snn.report())
    assert 'Poisson-coded spikes of seed 0' in snn.explain()
    assert not any(p.constant_input for p in snn.report().parts)
    assert 'Poisson' not in convert(network(), torch.rand(20, 1, 14, 14)).explain()


@pytest.mark.parametrize('modules', [None, 'auto'])
def test_files_keep_it(modules, tmp_path):
    net, x = network(), torch.rand(20, 1, 14, 14)
    snn = convert(net, x, coding='poisson', modules=modules)
    snn.seed = 5
    snn.save(tmp_path / 'a.safetensors')
    loaded = SNN.load(tmp_path / 'a.safetensors', network())
    assert loaded.seed == 5
    assert torch.equal(loaded(x, 6), snn(x, 6))
    assert str(loaded.report()) == str(snn.report())


@pytest.mark.parametrize('modules', [None, 'auto'])
def test_each_input_draws_for_itself(modules):
    net, x = Two(), torch.rand(6, 1, 8, 8)
    y = nn.functional.interpolate(x, scale_factor=2)
    snn = convert(net, (x, y), timesteps=64, coding='poisson', modules=modules)
    first, second = emitted(snn, (x, y), 8)
    assert not torch.equal(first[..., :2, :2], second[..., :2, :2])
    with torch.no_grad():
        assert relative(snn((x, y), 2048), net(x, y)) < 0.05


@pytest.mark.parametrize('recipe', ['cos', 'srp', 'spicalib', 'msat', 'lenet_norm'])
def test_recipes_of_all_kinds_take_it(recipe):
    net, x = network(), torch.rand(30, 1, 14, 14)
    with torch.no_grad():
        found = convert(net, x, recipe, timesteps=64, coding='poisson').predict(x, 64)
        assert relative(found, net(x)) < 0.5


def test_thresholds_are_tuned_on_coded_input():
    """Three steps of a constant image look different from each other."""
    seen = []
    recipe = fixed(tune=lambda layer, x, target, site: seen.append(x))
    x = torch.full((50, 1, 4, 4), 0.25)
    convert(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), x, recipe, timesteps=3, coding='poisson')
    assert seen[0].shape == (150, 1, 4, 4)
    assert len(seen[0].unique()) == 2


def test_gradients_reach_the_weights():
    net, x = network(), torch.rand(4, 1, 14, 14, requires_grad=True)
    snn = convert(net, x.detach(), coding='poisson').requires_grad_(True)
    snn(x, 4).square().sum().backward()
    assert x.grad is None
    assert next(p for p in snn.parameters() if p.dim() == 4).grad.abs().sum() > 0


def test_bad_input_and_arguments():
    net, x = network(), torch.rand(8, 1, 14, 14)
    for coding in ('rate', ''):
        with pytest.raises(ValueError, match=f"coding must be one of direct, poisson or None, got '{coding}'"):
            convert(net, x, coding=coding)
    for modules in (None, 'auto'):
        with pytest.raises(ValueError, match=r'calibration must lie in \[0, 1\], got values from'):
            convert(net, 2 * x, coding='poisson', modules=modules)
        with pytest.raises(TypeError, match=r'calibration must be float32.*got torch.uint8: divide by 255'):
            convert(net, (255 * x).byte(), coding='poisson', modules=modules)
    snn = convert(net, x, coding='poisson')
    with pytest.raises(ValueError, match=r'x must lie in \[0, 1\], got values from'):
        snn(x - 0.5)
    with pytest.raises(ValueError, match=r'x must lie in \[0, 1\], got NaN'):
        snn(x * float('nan'))
    with pytest.raises(ValueError, match='offset must be >= 0'):
        snn(x, 4, offset=-1)
    with pytest.raises(ValueError, match='seed must be'):
        snn.seed = 2**32
