"""Losses over time: their definitions step by step, the libraries they come from, and what does not fit."""

import math

import pytest
import torch
from torch.nn import functional as F

from snnkern import losses, nn
from snnkern.nn import Rates


def outputs(T=5, B=6, K=4, seed=0, spikes=False):
    g = torch.Generator().manual_seed(seed)
    out = torch.rand(T, B, K, generator=g, dtype=torch.float64)
    out = (out > 0.5).double() if spikes else 4 * out - 2
    return out.requires_grad_(), torch.randint(K, (B,), generator=g)


def test_cross_entropy_is_of_the_mean():
    out, y = outputs()
    assert torch.equal(losses.cross_entropy(out, y), F.cross_entropy(out.float().mean(0), y))
    smooth = losses.cross_entropy(out, y, label_smoothing=0.1)
    assert torch.equal(smooth, F.cross_entropy(out.float().mean(0), y, label_smoothing=0.1))


@pytest.mark.parametrize('lamb', [0.0, 0.05, 1.0])
def test_tet_step_by_step(lamb):
    """The published definition: the loss of each step, and its distance from `means`."""
    out, y = outputs()
    out = out.detach().float()
    each = sum(F.cross_entropy(step, y) for step in out) / len(out)
    wanted = (1 - lamb) * each + lamb * (out - 0.7).square().mean()
    assert losses.tet(out, y, lamb, means=0.7).item() == pytest.approx(float(wanted), rel=1e-6)


def test_tet_sees_steps_that_the_mean_hides():
    """Two steps of opposite answers: their mean is undecided, each of them is wrong or right."""
    y = torch.tensor([0])
    out = torch.tensor([[[5.0, -5.0]], [[-5.0, 5.0]]])
    assert losses.cross_entropy(out, y).item() == pytest.approx(math.log(2))
    assert losses.tet(out, y, lamb=0).item() > 4


@pytest.mark.parametrize('T', [2, 7, 100])
def test_count_is_snntorchs(T):
    functional = pytest.importorskip('snntorch.functional')
    out, y = outputs(T=T, spikes=True)
    wanted = functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)(out.float(), y)
    assert losses.count_mse(out, y).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_one_hot():
    out, y = outputs()
    wanted = (out.mean(0) - torch.eye(4, dtype=torch.float64)[y]).square().mean()
    assert losses.one_hot_mse(out, y).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_masks_are_labels_too():
    out, y = torch.rand(3, 2, 4, 5, 6), torch.randint(4, (2, 5, 6))
    assert losses.cross_entropy(out, y).item() == pytest.approx(F.cross_entropy(out.mean(0), y).item())
    y[0] = 9
    ignoring = losses.cross_entropy(out, y, ignore_index=9)
    assert ignoring.item() == pytest.approx(F.cross_entropy(out.mean(0)[1:], y[1:]).item())


def test_dice_of_right_and_wrong_masks():
    y = torch.randint(3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = 50 * F.one_hot(y, 3).movedim(-1, 1).float()
    assert losses.dice(right, y).item() == pytest.approx(0, abs=1e-6)
    assert losses.dice(right.roll(1, 1), y).item() > 0.95
    y[:, 4:] = 255
    assert losses.dice(right, y, ignore_index=255).item() == pytest.approx(0, abs=1e-6)


def test_dice_by_hand():
    """One pixel of each of two classes, p = 0.5 everywhere: (2 * 0.5 + 1) / (1 + 1 + 1) for both."""
    logits, y = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    assert losses.dice(logits, y).item() == pytest.approx(1 - 2 / 3)


def test_gradients():
    y = torch.tensor([0, 2, 1])
    out = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    for loss in (losses.cross_entropy, losses.tet, losses.count_mse, losses.one_hot_mse):
        (grad,) = torch.autograd.grad(loss(out, y), out)
        assert grad.abs().sum() > 0, loss.__name__


def test_rates_of_layers():
    """Each layer's share of spikes, with a gradient that lowers it."""
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), nn.LIF(), torch.nn.Linear(16, 4), nn.DoubleSidePLIF())
    x = 5 * torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(0))
    with Rates(net) as seen:
        out = net(x)
    assert len(seen.rates) == 2
    assert seen.rates[1].item() == pytest.approx(out.abs().mean().item())
    losses.rate_penalty(seen.rates, 0.0).backward()
    assert net[0].weight.grad.abs().sum() > 0
    nn.reset(net)
    net(x)
    assert len(seen.rates) == 2, 'only calls within the block count'


@pytest.mark.parametrize('connect', ['sew', 'ms'])
@pytest.mark.parametrize('named', [True, False])
def test_a_residual_is_no_spike(connect, named):
    """Added to the spikes (SEW), it is not counted; added to the current, it changes the spikes."""
    layer, x, residual = nn.IF(connect=connect), torch.rand(6, 5, 8), torch.full((6, 5, 8), 3.0)
    with Rates(layer) as seen:
        layer(x, residual=residual) if named else layer(x, residual)
    plain = nn.IF()(x if connect == 'sew' else x + residual)
    assert seen.rates[0].item() == pytest.approx(plain.mean().item())


def test_rate_penalty_is_of_both_sides():
    low, high = torch.tensor(0.1), torch.tensor(0.5)
    assert losses.rate_penalty([low, high], 0.3).item() == pytest.approx(0.04)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda out, y: losses.cross_entropy(out[0], y), r'out must be \[T, B, K, ...\] with T >= 1, got \(6, 4\)'),
        (lambda out, y: losses.cross_entropy(out[:0], y), 'T >= 1'),
        (lambda out, y: losses.tet(out, y[:3]), r'y must hold labels \(6,\).*got \(3,\)'),
        (lambda out, y: losses.tet(out, y, lamb=2), r'lamb must be in \[0, 1\], got 2'),
        (lambda out, y: losses.count_mse(out, y.float()), 'y must hold labels'),
        (lambda out, y: losses.count_mse(out, y, 1.5), 'correct_rate must be'),
        (lambda out, y: losses.count_mse(out[:1], y), 'for the counts of class and others to differ, got T = 1'),
        (lambda out, y: losses.dice(out[0], y[:2]), 'y must hold labels'),
        (lambda out, y: losses.rate_penalty([]), 'rates must hold'),
        (lambda out, y: losses.rate_penalty([out.mean()], -1), 'target must be >= 0, got -1'),
    ],
)
def test_what_does_not_fit(call, message):
    out, y = outputs()
    with pytest.raises(ValueError, match=message):
        call(out, y)
