"""A converted network is trained on: gradients as the reference has them, its teacher, its training."""

import pickle
from pathlib import Path

import pytest
import torch
from conversions import network
from converted import residual
from finetuned import SHAPE, T, answer, images, tuned
from torch import nn
from torch.nn import functional as F

import snnkern
from snnkern import encode
from snnkern.convert.recipes import RECIPES, channelwise, layerwise
from snnkern.models import WeightsError
from snnkern.models.spiking.converted import Converted, converted

PLAIN = sorted(RECIPES.keys() - {'srp', 'cos', 'spicalib', 'msat', 'qcfs'})
DATA = Path(__file__).parents[2] / 'shared' / 'data'


def gradients(net, x, backend):
    with snnkern.use_backend(backend):
        loss = F.mse_loss(answer(net, x).mean(0), net.teacher(x) * 1.1)
        return torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize('learn', [False, True])
@pytest.mark.parametrize('recipe', PLAIN)
def test_gradients_are_those_of_the_reference(recipe, learn):
    """Bursts, signed memory, pools, thresholds of a layer or a channel; every parameter gets one."""
    net, x = tuned(recipe, learn), images()
    names = dict(net.named_parameters())
    assert sum(name.endswith('of_v_threshold') for name in names) == 2 * learn
    assert len(names) == 6 + 2 * learn
    found, expected = (gradients(net, x, backend) for backend in ('native', 'reference'))
    for name, ours, theirs in zip(names, found, expected, strict=True):
        assert theirs.norm() > 0, name
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm(), name


def test_gradients_pass_sums_and_analogue_parts():
    """A skip, a neuron of a sum, and a softmax at the end."""
    net = Converted(residual(), (1, 8, 8), 'default', T)
    net.calibrate(torch.randn(64, 1, 8, 8))
    answer(net, torch.randn(16, 1, 8, 8)).mean(0)[:, 0].sum().backward()
    assert all(p.grad.norm() > 0 for p in net.parameters())


@pytest.mark.parametrize('max_spikes', [1, 15])
def test_slope_is_that_of_the_activation(max_spikes):
    """d mean output / d current of one layer between its thresholds, in real units and whatever the threshold."""
    for scale in (0.05, 1.0, 20.0):
        ann = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
        nn.init.ones_(ann[0].weight)
        net = Converted(ann, (1,), layerwise(1.0, max_spikes), T)
        net.calibrate(scale * torch.linspace(0, 1, 101).unsqueeze(1))
        x = (scale * torch.linspace(-2, 0.9, 300)).unsqueeze(1).requires_grad_()
        (slope,) = torch.autograd.grad(answer(net, x).mean(0).sum(), x)
        active = x[:, 0] > 0.1 * scale
        assert slope[active].mean().item() == pytest.approx(1, abs=0.15)
        assert slope[active].min() > 0.5
        assert not slope[x < -0.6 * scale].any()  # silent neurons, as behind a ReLU


@pytest.mark.parametrize('learn', [False, True])
@pytest.mark.parametrize('max_spikes', [1, 15])
def test_slope_is_that_of_each_channel(max_spikes, learn):
    """Small channels beside large ones: their thresholds, and surrogates as wide as those."""
    scales = torch.tensor([1.0, 0.1, 0.003, 40.0])
    ann = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU())
    ann[0].weight.data = scales[:, None].clone()
    net = Converted(ann, (1,), channelwise(1.0, max_spikes), T, learn)
    net.calibrate(torch.linspace(0, 1, 101).unsqueeze(1))
    x = torch.linspace(-2, 0.9, 300).unsqueeze(1).requires_grad_()
    for channel, scale in enumerate(scales.tolist()):
        (slope,) = torch.autograd.grad(answer(net, x).mean(0)[:, channel].sum() / scale, x)
        assert slope[x > 0.1].mean().item() == pytest.approx(1, abs=0.2)
        assert slope[x > 0.1].min() > 0.4
        assert not slope[x < -0.75].any()


@pytest.mark.parametrize('recipe', ['channelwise', 'default', 'mse', 'calibration'])
def test_units_change_no_spike(recipe):
    """With gradients, where channels run in units of their own, as without."""
    net, x = tuned(recipe, learn=True), images()
    with torch.no_grad():
        for layer in net.snn.neurons:
            theta = layer.coefficients['v_threshold']
            theta *= torch.rand_like(theta) * 4
    out = answer(net, x)
    net.snn.chunk_bytes = 1
    stepwise = answer(net, x)
    assert out.requires_grad
    with torch.no_grad():
        assert torch.equal(answer(net, x), stepwise)
        net.snn.chunk_bytes = 2**25
        assert torch.equal(answer(net, x), out)


@pytest.mark.parametrize('learn', [False, True])
def test_training_comes_closer_to_the_teacher(learn):
    net, x = tuned(layerwise(0.99), learn), images(64)
    start = net.state_dict()
    start = {name: t.clone() for name, t in start.items()}
    optimizer = torch.optim.AdamW(net.parameter_groups(1e-3), weight_decay=0.01)
    target, losses = net.teacher(x), []
    for _ in range(40):
        loss = F.mse_loss(answer(net, x).mean(0), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.after_step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    moved = {name for name, t in net.state_dict().items() if not torch.equal(t, start[name])}
    assert moved == {n for n, _ in net.named_parameters(remove_duplicate=False)}
    assert any(name.endswith('.scale') for name in moved) == learn  # pools follow their neurons


def test_teacher_is_frozen_and_no_part_of_the_network():
    ann, x = network(), images()
    net = Converted(ann, SHAPE).train()
    assert torch.equal(net.teacher(x), ann(x))
    assert not net.teacher.training
    assert not any(p.requires_grad for p in net.teacher.parameters())
    assert not any('teacher' in name for name in [*net.state_dict(), *dict(net.named_modules())])
    assert all(p.requires_grad for p in net.parameters())
    assert next(net.double().teacher.parameters()).dtype == torch.float64
    assert all(p.requires_grad for p in ann.parameters())


def test_steps_and_forms_of_time():
    net, x = tuned(), images(3)
    out = answer(net, x, 7)
    assert out.shape == (7, 3, 5)
    assert torch.allclose(out.mean(0), net.snn(x, 7))
    assert torch.equal(net(encode.direct(x, 7).contiguous()), out)
    net.snn.chunk_bytes = 1  # steps one by one, with their graph
    assert torch.allclose(answer(net, x, 7), out, atol=1e-5)
    with pytest.raises(ValueError, match='x must be the same in every step'):
        net(torch.rand(4, 3, *SHAPE))
    with pytest.raises(ValueError, match='x must be numbers, got NaN'):
        net(torch.full((4, 3, *SHAPE), torch.nan))
    for shape in ((4, *SHAPE), (0, 3, *SHAPE)):
        with pytest.raises(ValueError, match=r'x must be \[T, B, ...\] with 5 dimensions and T >= 1, got \('):
            net(torch.rand(shape))


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_it_has_the_dtype_of_its_network(dtype):
    net, x = Converted(network().to(dtype), SHAPE, 'layerwise', T), images().to(dtype)
    net.calibrate(images(64).to(dtype))
    out = answer(net, x, 16).mean(0)
    assert out.dtype == dtype
    assert F.cosine_similarity(out.flatten().float(), net.teacher(x).flatten().float(), 0) > 0.8


def test_thresholds_stay_positive_and_learn_slowly():
    net = tuned(channelwise(0.99), learn=True)
    weights, thresholds = net.parameter_groups(1e-2)
    assert (weights['lr'], thresholds['lr'], thresholds['weight_decay']) == (1e-2, 1e-3, 0)
    assert sum(len(group['params']) for group in (weights, thresholds)) == len(list(net.parameters()))
    with torch.no_grad():
        calibrated = [p.clone() for p in thresholds['params']]
        for p in thresholds['params']:
            p[1:] = -1
    net.after_step()
    for p, theta in zip(thresholds['params'], calibrated, strict=True):
        assert (p[0] == theta[0]).all()
        torch.testing.assert_close(p[1:], 1e-3 * theta[1:]), 'of each channel by itself'
    net.load_state_dict(net.state_dict())
    net.after_step()
    assert (thresholds['params'][0][1:] > 0.9e-3 * calibrated[0][1:]).all()
    assert len(tuned().parameter_groups(1e-2)) == 1


@pytest.mark.parametrize('recipe', ['srp', 'cos', 'spicalib', 'msat'])
def test_layers_without_gradient_are_refused(recipe):
    with pytest.raises(ValueError, match=f'recipe must have plain neurons.*got {recipe} with'):
        Converted(network(), SHAPE, recipe)


def test_factory(tmp_path):
    net = converted(3, (32, 32), 7, network='resnet20', width=4, recipe='layerwise', recipe_options={'percentile': 0.9})
    assert answer(net, torch.rand(2, 3, 32, 32), 2).shape == (2, 2, 7)
    assert net.snn.recipe == 'layerwise'
    assert torch.equal(answer(pickle.loads(pickle.dumps(net)), x := torch.rand(2, 3, 32, 32)), answer(net, x))
    weights = tmp_path / 'ann.pt'
    torch.save(net.teacher.state_dict(), weights)
    again = converted(3, (32, 32), 7, network='resnet20', width=4, weights=weights)
    assert torch.equal(again.teacher.linear.weight, net.teacher.linear.weight)
    with pytest.raises(WeightsError, match='weights are for 7 classes'):
        converted(3, (32, 32), 10, network='resnet20', width=4, weights=weights)
    with pytest.raises(ValueError, match="got 'best'"):
        converted(3, (32, 32), 10, recipe='best')
