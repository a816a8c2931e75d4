"""BrainCog 0.2.7.19 as oracle: its nodes give the same spikes, potentials and gradients.

Equal to the bit, except for BiasPLIFNode, NoiseLIFNode and NoisePLIFNode, which add in another order. Not compared:
DoubleSidePLIFNode raises TypeError; BurstLIFNode resets by u * (1 - s), negative for s > 1; the PSU family and
AdaptiveNode are not in the released package; Izhikevich, Hodgkin-Huxley, aEIF and three-compartment nodes have
nonlinear charges.
"""

import pytest
import torch
from oracles import KINDS, check, currents, fused, loop, module, potentials
from torch.nn import functional as F

from snnkern import IF, LIF, PLIF, STE, Affine, ATan, Binary, Burst, Hard, Neuron, NoReset, Rectangle, nn
from snnkern.functional import multistep
from snnkern.presets import NEURONS
from snnkern.testing import assert_grads_close, assert_spikes_equal

node = pytest.importorskip('braincog.base.node.node', reason='BrainCog is not installed: no oracle')
convertor = pytest.importorskip('braincog.base.conversion.convertor')

ABOVE = Binary(0.5, strict=True)
GATED = Hard(detach=True)


def stepped(layer):
    """The node as a function of one step."""
    layer.n_reset()

    def step(x):
        s = layer(x)
        return s[: len(x)], layer.mem  # OnlineLIFNode appends its first spikes

    return step


PLAIN = 'IFNode', 'LIFNode', 'BiasLIFNode', 'PLIFNode', 'LIFSTDPNode', 'OnlineLIFNode'
OTHERS = [
    ('IFNode', {'threshold': 0.7}, Neuron(IF(), Binary(0.7, strict=True), GATED, ATan(2.0))),
    ('LIFNode', {'tau': 3.0, 'act_fun': 'GateGrad'}, Neuron(LIF(3.0), ABOVE, GATED, Rectangle(2.0))),
    ('LIFNode', {'mem_detach': True}, NEURONS['braincog.OnlineLIFNode']),
    ('BiasLIFNode', {'tau': 3.0}, Neuron(LIF(3.0, c=0.1), Binary(strict=True), GATED, ATan(2.0))),
    ('LIFSTDPNode', {'tau': 0.7}, Neuron(Affine(0.7), Binary(strict=True), GATED, ATan(2.0))),
    ('BackEINode', {'if_back': False, 'if_ei': False}, Neuron(Affine(0.2), ABOVE, Hard(), Rectangle(2.0))),
]
ROWS = [(name, {}, NEURONS[f'braincog.{name}']) for name in PLAIN] + OTHERS


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('name', 'arguments', 'neuron'), ROWS)
def test_equal_to_the_bit(kind, name, arguments, neuron):
    layer = getattr(node, name)(**arguments)
    if name == 'BackEINode':
        layer.n_reset = lambda: None  # its own makes the state None, which the other steps do not expect
    x = currents(kind)
    check(fused(neuron, x), loop(stepped(layer), x))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('tau', [1.5, 2.0, 3.0])
def test_plif_learns_the_same(kind, tau):
    """Gradients of w, of alpha and of the threshold, too."""
    theirs = node.PLIFNode(threshold=0.8, tau=tau, requires_thres_grad=True)
    fire = Binary(0.8, strict=True)
    learn = {'k': 'sigmoid', 'alpha': 'plain', 'v_threshold': 'plain'}
    own = nn.Neuron(Neuron(PLIF(1 / tau), fire, GATED, ATan(2.0)), learn=learn, store_v_seq=True)
    x = currents(kind)
    numbers = theirs.w, theirs.act_fun.alpha, theirs.threshold
    check(module(own, x, own.w, own.alpha, own.v_threshold), loop(stepped(theirs), x, *numbers))


@pytest.mark.parametrize('kind', KINDS)
def test_bias_plif(kind):
    """There (x - v) * k + 0.1 is added to v, here 0.1 is added last."""
    theirs = node.BiasPLIFNode(tau=2.3)
    own = nn.BiasLIF(2.3, parametric=True, learn=('alpha',), store_v_seq=True)
    assert NEURONS['braincog.BiasPLIFNode'].charge == PLIF(0.5, c=0.1)
    x = currents(kind)
    h = potentials(Neuron(PLIF(theirs.w.sigmoid().item(), c=0.1), own.neuron.fire, GATED), x)
    ours, theirs = module(own, x, own.w, own.alpha), loop(stepped(theirs), x, theirs.w, theirs.act_fun.alpha)
    check(ours, theirs, h)


def test_layer_by_layer_is_the_same_recurrence():
    """Their layout (t b) c is our [T, B, C]."""
    x = currents('grid', 40, 50, T=8).detach()
    s = node.LIFNode(layer_by_layer=True, step=8)(x.flatten(0, 1))
    assert_spikes_equal(multistep(x, NEURONS['braincog.LIFNode']), s.view_as(x))


def drawn(layer, x, steps=16):
    """The noise that a node draws from the present seed, with its gradients of mean and variance."""
    a, b = layer.log_alpha.exp(), layer.log_beta.exp()
    mean, var = a / (a + b), (a + 1) * a / ((a + b + 1) * (a + b))
    noise = torch.stack([torch.distributions.Beta(a, b).sample(x[0].shape) for _ in range(steps)])
    return noise * layer.threshold * var / var.detach() + mean - mean.detach()


@pytest.mark.parametrize('parametric', [False, True])
def test_noise_is_an_input(parametric):
    """x + tau * noise, or x + noise / k: spikes, and gradients of the two numbers of the distribution."""
    given = {'threshold': 1.0, 'log_alpha': torch.tensor(0.7), 'log_beta': torch.tensor(1.8)}
    layer = (node.NoisePLIFNode if parametric else node.NoiseLIFNode)(**given)
    neuron = Neuron(PLIF(0.5) if parametric else LIF(2.0), Binary(strict=True), GATED, Rectangle(2.0))
    x = currents('normal')
    torch.manual_seed(7)
    theirs = loop(stepped(layer), x, layer.log_alpha, layer.log_beta)
    torch.manual_seed(7)
    noisy = x + 2.0 * drawn(layer, x)
    ours = fused(neuron, noisy)
    ours.inputs = x, layer.log_alpha, layer.log_beta
    check(ours, theirs, potentials(neuron, noisy))


def charged(x, v):
    """h of a LIF with tau = 2 from the potentials after every step, all steps at once."""
    before = torch.cat([torch.zeros_like(v[:1]), v[:-1]])
    return before + (x - before) / 2.0


def test_analogue_outputs_come_from_the_trace():
    """LIAFNode emits SELU(h - 0.5), DGLIFNode h where it fires: functions of x and v_seq."""
    x = currents('normal')
    liaf = Neuron(LIF(2.0), ABOVE, Hard(), Rectangle(2.0))
    _, v = multistep(x, liaf, return_v_seq=True)
    _compare_analogue(F.selu(charged(x, v) - 0.5), loop(stepped(node.LIAFNode()), x), x)
    rectified = F.relu(x)
    s, v = multistep(rectified, Neuron(LIF(2.0), Binary(0.5), GATED), return_v_seq=True)
    h = charged(rectified, v)
    dglif = node.DGLIFNode()
    assert dglif.v_reset == 2.0  # tau, in the place of v_reset: every n_reset would start it at 2
    dglif.v_reset = 0.0
    _compare_analogue(torch.where(s > 0, h, 0), loop(stepped(dglif), x), x)


def _compare_analogue(ours, theirs, x):
    assert_grads_close(ours, theirs.s)
    upstream = torch.randn_like(ours)
    actual, expected = (torch.autograd.grad(out, x, upstream, retain_graph=True)[0] for out in (ours, theirs.s))
    assert_grads_close(actual, expected)


@pytest.mark.parametrize('gamma', [1, 5])
@pytest.mark.parametrize('kind', KINDS)
def test_snode(kind, gamma):
    """The neuron of conversion; without soft_mode it never resets there (a reset that is named, but not called)."""
    x = currents(kind, gain=3).detach()
    soft, never = convertor.SNode(soft_mode=True, gamma=gamma), convertor.SNode(gamma=gamma)
    s = torch.stack([soft(step) for step in x])
    assert s.max() == gamma
    own = nn.Burst(1.0, gamma, store_v_seq=True)
    assert_spikes_equal(own(x), s)
    assert_spikes_equal(own.v, soft.mem)
    assert NEURONS['braincog.SNode'].fire == Burst(1.0, 5)
    unreset = multistep(x, Neuron(IF(), Burst(1.0, gamma), NoReset()))
    assert_spikes_equal(unreset, torch.stack([never(step) for step in x]))


def test_burst_lif_goes_negative():
    """The fault for which it has no counterpart: u * (1 - s) < 0 after two spikes, which it emits as 3."""
    layer = node.BurstLIFNode()
    layer.n_reset()
    s = layer(torch.tensor([4.0]))
    assert s == 3.0
    assert layer.mem < 0
    x = currents('grid', gain=0.4)  # at most one spike in a step: an ordinary neuron
    theirs = loop(stepped(node.BurstLIFNode()), x)
    assert theirs.s.max() == 1
    assert_spikes_equal(multistep(x, Neuron(LIF(2.0), ABOVE, GATED, STE())), theirs.s.round())


def test_double_side_plif_cannot_run_there():
    with pytest.raises(TypeError, match="'method' and 'Tensor'"):
        node.DoubleSidePLIFNode()(torch.ones(3))


def test_double_side_plif_repaired():
    """Its formula with the call that is missing: by symmetric thresholds, or by sign(h - v_threshold) as it is."""

    class Repaired(node.DoubleSidePLIFNode):
        def calc_spike(self):
            theta = self.get_thres()
            below = -self.mem - theta if self.symmetric else theta - self.mem
            self.spike = self.act_fun(self.mem - theta) - self.act_fun(below)
            self.mem = self.mem * (1.0 - self.spike.detach().abs())

    for symmetric, name in ((True, 'braincog.DoubleSidePLIFNode'), (False, 'braincog.DoubleSidePLIFNode(sign)')):
        layer = Repaired()
        layer.symmetric = symmetric
        x = currents('normal')
        check(fused(NEURONS[name], x), loop(stepped(layer), x))
