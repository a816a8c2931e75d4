"""Derivatives: proven with the smooth spike in float64, of second order, under torch.func, after misuse."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from cases import AXES, NEURONS, pairwise
from torch.autograd import gradcheck, gradgradcheck

from snnkern import IF, LIF, ATan, Binary, Burst, Hard, Neuron, Rectangle, Sigmoid, SignedMemory, Soft, Triangle, nn
from snnkern.backends import reference
from snnkern.functional import lif, multistep
from snnkern.neurons import Program
from snnkern.spikes import bind
from snnkern.testing import assert_grads_close

LIVE = [reset for reset in AXES['reset'] if not (reset.detach or reset.detach_v)]
NEURON = Neuron(LIF(1.7, 0.1), Binary(0.8), Hard(-0.1), Sigmoid(2.0))


def smooth(x, v0, neuron, names=(), *tensors):
    """Spikes, potentials and v of every step, with the surrogate's primal as the spike; tensors: coefficients [N]."""
    rows = torch.stack(tensors).unsqueeze(1) if tensors else None
    trace = reference.run(x, v0, Program(neuron, names, 1), x.shape[0], rows, smooth_spikes=True)
    return trace.s, trace.h, trace.v


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize(
    ('charge', 'fire', 'reset', 'surrogate', 'learns'),
    pairwise(
        AXES['charge'],
        AXES['fire'],
        LIVE,
        AXES['surrogate'],
        (False, True),
        allowed=lambda row: not (row[1].extra and row[2].delayed),
    ),
)
def test_gradcheck_of_the_smooth_recurrence(charge, fire, reset, surrogate, learns):
    """Of x, the initial state and all coefficients, for every pair of parts."""
    neuron = Neuron(charge, fire, reset, surrogate)
    names = neuron.coefficients if learns else ()
    tensors = [torch.rand(3, dtype=torch.double) * 0.5 + 0.6 for _ in names]
    v0 = doubles(len(neuron.states), 3)
    if isinstance(fire, SignedMemory):  # a count, through which no gradient flows
        v0 = torch.cat([v0[:-1], torch.full((1, 3), 1.5, dtype=torch.double)]).detach().requires_grad_()
    inputs = doubles(4, 3), v0, neuron, names, *[t.requires_grad_() for t in tensors]
    assert gradcheck(smooth, inputs)


@pytest.mark.parametrize('reset', LIVE)
def test_gradgradcheck_of_the_smooth_recurrence(reset):
    neuron = Neuron(LIF(1.7), Burst(0.75, 2), reset, Sigmoid(2.0))
    assert gradgradcheck(partial(smooth, neuron=neuron), (doubles(3, 2), doubles(1, 2)))


def hand_written(x, v0, neuron, grad_s, grad_v, spikes, keep):
    """Backward as csrc/math/step.h spells it; spikes, keep: s of h, and what a hard reset leaves after s."""
    charge, fire, reset, surrogate = neuron.parts
    theta, v, rows = fire.v_threshold, v0, []
    for x_t in x:
        h = charge.charge(v, x_t)
        s = spikes(h)
        v = h * keep(s) + reset.v_reset * (1 - keep(s)) if isinstance(reset, Hard) else h - s * theta
        rows.append((h, s))
    dh_dv, dh_dx = (1.0, 1.0) if isinstance(charge, IF) else (1 - 1 / charge.tau, 1 / charge.tau)
    dh_dx = dh_dx if getattr(charge, 'decay_input', True) else 1.0
    grads, gv = [], grad_v
    for (h, s), g in zip(reversed(rows), grad_s.flip(0), strict=True):
        drop = (h - reset.v_reset if isinstance(reset, Hard) else theta) * (not reset.detach)
        kept = keep(s) if isinstance(reset, Hard) else 1.0
        slope = sum(surrogate.grad(h - k * theta) for k in range(1, fire.positive.count + 1))
        gh = (g * (theta if fire.real_units else 1.0) - gv * drop) * slope + gv * kept
        gv = gh * dh_dv
        grads.insert(0, gh * dh_dx)
    return torch.stack(grads), gv


def is_basic(neuron):
    """What the hand-written adjoint knows."""
    kinds = (IF, LIF), (Binary, Burst), (Hard, Soft)
    parts = zip(neuron.parts[:3], kinds, strict=True)
    return all(type(part) in kind for part, kind in parts) and not neuron.reset.detach_v


@pytest.mark.parametrize('neuron', [n for n in NEURONS if is_basic(n)], ids=lambda n: n.spec.replace(' ', '_'))
def test_reference_is_the_adjoint(neuron):
    """The kernels' algebra is the true gradient of the smooth spike, and the reference's of the real one."""
    x, v0 = doubles(6, 50), doubles(1, 50)
    grad_s, grad_v = torch.randn_like(x), torch.randn_like(v0)
    arguments = x, v0[0], neuron, grad_s, grad_v[0]
    if not neuron.reset.detach:
        s, _, v = smooth(x, v0, neuron)
        expected = torch.autograd.grad([s, v[-1]], [x, v0], [grad_s, grad_v[0]])
        actual = hand_written(*arguments, partial(_soft, neuron=neuron), lambda s: 1 - s)
        assert_grads_close(actual[0].detach(), expected[0])
        assert_grads_close(actual[1].detach(), expected[1][0])
    s, v = multistep(x, neuron, v0=v0[0], return_state=True, backend='reference')
    expected = torch.autograd.grad([s, v], [x, v0], [grad_s, grad_v[0]])
    theta = torch.tensor(neuron.fire.v_threshold, dtype=torch.double)
    actual = hand_written(*arguments, lambda h: neuron.fire.up(h, theta), lambda s: (s == 0).double())
    assert_grads_close(actual[0].detach(), expected[0])
    assert_grads_close(actual[1].detach(), expected[1][0])


def _soft(h, neuron):
    _, fire, _, surrogate = neuron.parts
    return sum(surrogate.primal(h - k * fire.v_threshold) for k in range(1, fire.positive.count + 1))


STEEP = [replace(s, alpha=a) for s in AXES['surrogate'] if hasattr(s, 'alpha') for a in (0.5, 1.0, 7.3)]


@pytest.mark.parametrize('surrogate', [*AXES['surrogate'], *STEEP], ids=str)
def test_surrogate_is_the_derivative_of_its_primal(surrogate):
    """Everywhere but at the corners: by z, and by alpha where it is learned."""
    z = torch.linspace(-3, 5, 1201, dtype=torch.double)
    corners = [0.0, -0.5, 4.5, *[sign / getattr(surrogate, 'alpha', 1) for sign in (-1, 1)]]
    for corner in corners:
        z = z[(z - corner).abs() > 1e-3]
    z.requires_grad_()
    (expected,) = torch.autograd.grad(surrogate.primal(z).sum(), z)
    torch.testing.assert_close(surrogate.grad(z.detach()), expected, rtol=1e-12, atol=1e-12)
    if surrogate.learns_alpha:
        tensor = torch.full_like(z, surrogate.alpha).requires_grad_()
        (expected,) = torch.autograd.grad(bind(surrogate, {'alpha': tensor}).primal(z.detach()).sum(), tensor)
        torch.testing.assert_close(surrogate.grad_alpha(z.detach()), expected, rtol=1e-12, atol=1e-12)


def test_detached_reset_cuts_that_path_only():
    """The last step has no reset behind it: there the two are equal."""
    x = torch.randn(8, 200, requires_grad=True)
    grads = [torch.autograd.grad(lif(x, detach_reset=d).sum(), x)[0] for d in (False, True)]
    assert not torch.allclose(*grads)
    last = [torch.autograd.grad(lif(x, detach_reset=d)[-1].sum(), x)[0][-1] for d in (False, True)]
    assert torch.equal(*last)


def test_only_the_state_is_used():
    x, v0 = torch.randn(5, 33, requires_grad=True), torch.randn(33, requires_grad=True)
    both = []
    for backend in ('native', 'reference'):
        v = multistep(x, NEURON, v0=v0, return_state=True, backend=backend)[1]
        both.append(torch.autograd.grad(v.square().sum(), [x, v0]))
    for actual, expected in zip(*both, strict=True):
        assert_grads_close(actual, expected)
        assert expected.count_nonzero()


def test_only_v0_learns():
    x, v0 = torch.randn(20, 33), torch.randn(33, requires_grad=True)
    grads = [torch.autograd.grad(multistep(x, NEURON, v0=v0, backend=b).sum(), v0)[0] for b in ('native', 'reference')]
    assert_grads_close(*grads)


def second(x, v0, neuron, backend):
    """Gradients of a function of gradients."""
    s, v = multistep(x, neuron, v0=v0, return_state=True, backend=backend)
    first = torch.autograd.grad(s.sum() + v.square().sum(), [x, v0], create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), [x, v0])


@pytest.mark.parametrize('neuron', [NEURON, Neuron(IF(), Burst(0.75, 2), Soft(), ATan())])
def test_double_backward_is_that_of_the_reference(neuron):
    x, v0 = torch.randn(5, 33, requires_grad=True), torch.randn(33, requires_grad=True)
    trace = reference.run(x, v0.unsqueeze(0), Program(neuron), 5)
    first = torch.autograd.grad(trace.s.sum() + trace.state.square().sum(), [x, v0], create_graph=True)
    expected = torch.autograd.grad(sum(g.square().sum() for g in first), [x, v0])
    for backend in ('native', 'reference'):
        for a, b in zip(second(x, v0, neuron, backend), expected, strict=True):
            assert_grads_close(a, b)


def test_double_backward_through_a_gradient_that_needs_no_grad():
    """What `once_differentiable` drops silently: the dependence of the first gradient on x."""
    x = torch.randn(5, 33, requires_grad=True)
    s = multistep(x, NEURON)
    (first,) = torch.autograd.grad(s, x, torch.ones_like(s), create_graph=True)
    assert first.requires_grad
    (found,) = torch.autograd.grad(first.square().sum(), x)
    assert found.count_nonzero()


def test_second_derivative_of_the_smooth_neuron_by_differences():
    x = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    trace = smooth(x, None, NEURON)[0].sum()
    (g,) = torch.autograd.grad(trace, x, create_graph=True)
    (row,) = torch.autograd.grad(g[0, 0], x)
    e = torch.zeros_like(x)
    e[0, 0] = 1e-6
    up, down = (torch.autograd.grad(smooth(x + d, None, NEURON)[0].sum(), x)[0] for d in (e, -e))
    torch.testing.assert_close((up - down) / 2e-6, row, rtol=1e-5, atol=1e-8)


def test_torch_func():
    x = torch.randn(5, 33, requires_grad=True)
    (expected,) = torch.autograd.grad(lif(x).square().sum(), x)
    found = torch.func.grad(lambda x: lif(x).square().sum())(x.detach())
    assert_grads_close(found, expected)
    _, pull = torch.func.vjp(lif, x.detach())
    (found,) = pull(2 * lif(x.detach()))
    assert_grads_close(found, expected)
    assert not found.requires_grad


def test_torch_func_for_parameters():
    """The usual use: a model called with a dictionary of its parameters."""
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), nn.LIF(), torch.nn.Linear(8, 1))
    x = torch.randn(5, 3, 8)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    nn.reset(net)
    expected = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    nn.reset(net)
    found = torch.func.grad(lambda p: torch.func.functional_call(net, p, x).sum())(parameters)
    nn.reset(net)
    for a, b in zip(found.values(), expected, strict=True):
        assert_grads_close(a, b)


def test_torch_func_of_second_order():
    x = torch.randn(4, 6)
    first = torch.func.grad(lambda x: multistep(x, NEURON).sum())
    found = torch.func.grad(lambda x: first(x).square().sum())(x)
    y = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(multistep(y, NEURON).sum(), y, create_graph=True)
    assert_grads_close(found, torch.autograd.grad(g.square().sum(), y)[0])
    assert found.count_nonzero()


@pytest.mark.parametrize('backend', ['native', 'reference'])
def test_in_place_change_of_x_is_seen(backend):
    x = torch.randn(5, 33, requires_grad=True)
    current = x * 1
    s = lif(current, backend=backend)
    current.add_(1)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        s.sum().backward()


def test_backward_twice():
    x = torch.randn(5, 33, requires_grad=True)
    s = lif(x)
    s.sum().backward(retain_graph=True)
    first = x.grad.clone()
    s.sum().backward()
    assert torch.equal(x.grad, 2 * first)
    with pytest.raises(RuntimeError, match='second time'):
        s.sum().backward()


@pytest.mark.parametrize('surrogate', [Triangle(), Rectangle()])
def test_far_from_the_threshold_nothing_learns(surrogate):
    x = torch.full((4, 33), -50.0, requires_grad=True)
    lif(x, surrogate=surrogate).sum().backward()
    assert not x.grad.any()
