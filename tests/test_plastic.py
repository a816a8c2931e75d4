"""Plastic layers against the equations of their docstring, spelled out step by step."""

import math

import pytest
import torch

from snnkern import encode
from snnkern.models.spiking.hybrid import HybridMLP
from snnkern.nn.plastic import Overlaps, Plastic, Weights


class Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).float()

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0].abs() < 0.5)


def equations(layer, x, v_threshold=0.35):
    """s [T, B, out], u_T and H_T of the authors' equations."""
    plastic = layer.plastic.clone() if layer.mode != 'gp' else None
    u = s = 0
    spikes = []
    for t, x_t in enumerate(x):
        now = x_t * math.exp(-t / 40)
        current = layer.linear(now)
        if plastic is not None:
            current = current + layer.alpha * (now @ plastic)
        u = 0.4 * (u - v_threshold * s) + current
        s = Fire.apply(u - v_threshold)
        spikes.append(s)
        if plastic is not None:
            signal = torch.tanh(u / v_threshold - layer.eta)
            step = torch.einsum('bi,bo->io', now * layer.beta, signal) / len(x_t)
            plastic = (0.95 * plastic + step).clamp(-4, 4)
    return torch.stack(spikes), u, plastic


def layer(mode='hp', faster=20.0):
    torch.manual_seed(3)
    made = Plastic(40, 12, mode)
    if mode != 'gp':
        with torch.no_grad():
            made.alpha.fill_(0.3)
            made.beta *= faster
        made.plastic.normal_()
    return made


def inputs(constant, batch=30):
    return encode.direct(torch.rand(batch, 40), 10) if constant else torch.rand(10, batch, 40)


@pytest.mark.parametrize('mode', ['hp', 'gp'])
@pytest.mark.parametrize('constant', [True, False])
@pytest.mark.parametrize('faster', [20.0, 400.0])
def test_forward_and_backward(mode, constant, faster):
    """The fast way for a constant input, where no weight can reach its limit, and the plain one elsewhere."""
    own, x = layer(mode, faster), inputs(constant)
    s, u, plastic = equations(own, x)
    weights = torch.randn_like(s), torch.randn_like(u)
    expected = torch.autograd.grad((s * weights[0]).sum() + (u * weights[1]).sum(), list(own.parameters()))
    if mode == 'hp':
        assert own._bounded(x[0], len(x)) == (faster < 100)
        assert (plastic.abs().max() == 4) == (faster > 100)
    found, last = own(x, last=True)
    assert torch.equal(found, s)
    assert 0.05 < s.mean() < 0.95
    torch.testing.assert_close(last, u, rtol=1e-4, atol=1e-5)
    grads = torch.autograd.grad((found * weights[0]).sum() + (last * weights[1]).sum(), list(own.parameters()))
    for a, b in zip(grads, expected, strict=True):  # sums over all samples and steps, in another order
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())
    if mode == 'hp':
        torch.testing.assert_close(own.plastic, plastic, rtol=1e-4, atol=1e-5)


def test_both_ways_are_one():
    """What answers through the overlaps of samples is what the weights themselves answer."""
    own, x = layer(), torch.rand(30, 40)
    ways = Overlaps(own, x), Weights(own, x)
    for t in range(5):
        signal = torch.randn(30, 12) / (t + 1)
        for way in ways:
            way.learn(x, signal)
        torch.testing.assert_close(ways[0].answer(x), ways[1].answer(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ways[0].weights(), ways[1].weights(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('training', [True, False])
def test_gradients_of_the_input_are_the_same_on_both_ways(training):
    """A constant input that has a graph, through the overlaps; the same one copied, step by step."""
    own, image = layer().train(training), torch.rand(30, 40, requires_grad=True)
    start, upstream, grads = own.plastic.clone(), torch.randn(10, 30, 12), []
    for copied in (False, True):
        own.plastic.copy_(start)
        x = encode.direct(image * 1.0, 10)
        assert own._bounded(x[0], len(x))
        grads += torch.autograd.grad((own(x.contiguous() if copied else x) * upstream).sum(), image)
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-3 * grads[1].abs().max().item())
    assert grads[0].abs().sum() > 0


@pytest.mark.parametrize('constant', [True, False])
def test_a_batch_that_is_not_finite_leaves_no_trace(constant):
    own, x = layer(), inputs(constant)
    before = own.plastic.clone()
    bad = x.clone()
    bad[:, 3, 5] = torch.nan
    own(bad[:1].expand_as(x) if constant else bad)
    assert torch.equal(own.plastic, before)
    own(x)
    assert own.plastic.isfinite().all()
    assert not torch.equal(own.plastic, before)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('constant', [True, False])
def test_low_precision(constant, dtype):
    own, x = layer(), inputs(constant)
    expected = own(x).mean().item()
    low = layer().to(dtype)
    s = low(encode.direct(x[0].to(dtype), 10) if constant else x.to(dtype))
    assert s.dtype == dtype
    assert s.float().mean().item() == pytest.approx(expected, abs=0.02)
    s.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in low.parameters())
    torch.testing.assert_close(low.plastic.float(), own.plastic, rtol=0.1, atol=0.1)


def test_weights_are_carried_in_training_only():
    own, x = layer(), inputs(True)
    own(x)
    first = own.plastic.clone()
    own(x)
    assert not torch.equal(own.plastic, first)
    assert not own.plastic.requires_grad
    kept = own.plastic.clone()
    own.eval()
    own.adapt = True
    found = own(x)
    assert torch.equal(own.plastic, kept)
    other = Plastic(40, 12, adapt=True)
    other.load_state_dict(own.state_dict())
    assert torch.equal(other.eval()(x), found)


def test_evaluated_an_answer_depends_on_its_sample_only():
    """Unless adapt says otherwise."""
    own, x = layer().eval(), inputs(True)
    found = own(x, last=True)[1]
    for part in (slice(0, 1), slice(3, 10)):
        torch.testing.assert_close(own(x[:, part], last=True)[1], found[part], rtol=1e-4, atol=1e-5)
    own.adapt = True
    assert (own(x, last=True)[1] - found).abs().max() > 0.01


def test_the_local_layer_learns_without_gradients():
    own, x = layer('lp'), inputs(True)
    before = own.plastic.clone()
    expected = equations(own, x)
    found = own(x)
    assert not found.requires_grad
    assert torch.equal(found, expected[0])
    torch.testing.assert_close(own.plastic, expected[2], rtol=1e-4, atol=1e-5)
    assert not torch.equal(own.plastic, before)
    assert not any(p.requires_grad for p in own.parameters())


@pytest.mark.parametrize('mode', ['lp', 'gp', 'hp'])
def test_network(mode):
    net = HybridMLP(2, (4, 6), 5, hidden=20, mode=mode)
    x = encode.direct(torch.rand(3, 2, 4, 6), 10)
    out = net(x)
    assert out.shape == (1, 3, 5)
    assert out.max() <= 1.1
    out.square().sum().backward()
    groups = net.parameter_groups(1e-3)
    assert [group['lr'] for group in groups] == ([1e-3] if mode == 'gp' else [1e-3, 5e-4])
    learned = [p for group in groups for p in group['params']]
    assert len(learned) == {'lp': 2 + 3, 'gp': 4, 'hp': 4 + 6}[mode]
    assert all(p.grad is not None for p in learned)
    assert ('plastic1.plastic' in net.state_dict()) == (mode != 'gp')


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="mode must be one of lp, gp, hp, got 'both'"):
        Plastic(4, 3, 'both')
    with pytest.raises(ValueError, match='decay must be >= 0 and < 1, got 1'):
        Plastic(4, 3, decay=1.0)
    with pytest.raises(ValueError, match=r'x must be \[T, B, 4\], got shape \(2, 4\)'):
        Plastic(4, 3)(torch.rand(2, 4))
