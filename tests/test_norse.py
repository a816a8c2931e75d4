"""Norse as oracle: its LIF, LIFBox, IAF and LSNN cells give the same spikes, potentials and gradients.

IAF and LIFBox are equal to the bit. In the others Norse computes v + k * ((v_leak - v) + i) and i - d * i, we
a * v + b * i + c and decay * i: equal up to each neuron's first flip. Its surrogate "super" is SuperSpike(1.0): alpha,
whose default is 100, is not used.
"""

import pytest
import torch
from oracles import KINDS, check, currents, fused, loop, potentials

from snnkern import IF, PLIF, Adaptive, Binary, Erf, Hard, Neuron, Sigmoid, SuperSpike, Synaptic, Triangle
from snnkern.presets import NEURONS

norse = pytest.importorskip('norse.torch', reason='Norse is not installed: no oracle')
lsnn = pytest.importorskip('norse.torch.functional.lsnn')

DT = 0.001


def stepped(cell):
    """The cell as a function of one step that keeps its state."""
    state = None

    def step(x):
        nonlocal state
        s, state = cell(x, state)
        return s, state.v

    return step


def same_neuron(p, surrogate=None):
    """Ours with the parameters of theirs: a = 1 - dt / tau_mem, b = dt / tau_mem, decay = 1 - dt / tau_syn."""
    b, d = DT * float(p.tau_mem_inv), DT * float(p.tau_syn_inv)
    charge = Synaptic(1 - b, b, b * float(p.v_leak), 1 - d)
    fire = Binary(float(p.v_th), strict=True)
    return Neuron(charge, fire, Hard(float(p.v_reset)), surrogate or SuperSpike(1.0))


def compare(p, x, surrogate=None):
    neuron, start = same_neuron(p, surrogate), float(p.v_leak)  # v starts at v_leak there
    check(fused(neuron, x, start), loop(stepped(norse.LIFCell(p)), x), potentials(neuron, x, start), float(p.v_th))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('tau_mem_inv', 'tau_syn_inv', 'v_leak', 'v_th', 'v_reset'),
    [(100.0, 200.0, 0.0, 1.0, 0.0), (230.0, 130.0, 0.13, 0.77, -0.21), (60.0, 1000.0, 0.0, 0.5, 0.1)],
)
def test_lif(kind, tau_mem_inv, tau_syn_inv, v_leak, v_th, v_reset):
    values = (tau_syn_inv, tau_mem_inv, v_leak, v_th, v_reset)
    compare(norse.LIFParameters(*map(torch.tensor, values)), currents(kind, gain=3))


@pytest.mark.parametrize(
    ('method', 'alpha', 'own'),
    [
        ('super', 7.0, SuperSpike(1.0)),
        ('triangle', 1.0, Triangle(1.0)),
        ('tanh', 2.0, Sigmoid(4.0)),
        ('heavi_erfc', 2.0, Erf(2.0)),
    ],
)
def test_surrogates(method, alpha, own):
    compare(norse.LIFParameters(method=method, alpha=torch.tensor(alpha)), currents('normal', 1000, gain=3), own)


def test_preset_and_layer():
    """The default cell wrapped in time, which is called with all steps."""
    x = currents('normal', gain=2)
    neuron = NEURONS['norse.LIF']
    assert neuron.surrogate == SuperSpike(1.0)
    assert not neuron.charge.delayed
    s, last = norse.LIF()(x)
    ours = fused(neuron, x)
    h = potentials(neuron, x)
    theirs = loop(stepped(norse.LIFCell()), x)
    assert torch.equal(s, theirs.s)
    assert torch.equal(last.v, theirs.v[-1])
    check(ours, theirs, h)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('cell', 'charge'), [(norse.IAFCell, IF()), (norse.LIFBoxCell, PLIF(DT * 100.0))], ids=['IAF', 'LIFBox']
)
def test_equal_to_the_bit(kind, cell, charge):
    x = currents(kind, gain=3)
    neuron = Neuron(charge, Binary(1.0, strict=True), Hard(), SuperSpike(1.0))
    check(fused(neuron, x), loop(stepped(cell()), x))


@pytest.mark.parametrize('beta', [0.2, 1.8])
def test_lsnn(beta):
    """Its current charges v one step late, and its threshold relaxes before it is compared: beta is decayed once."""
    p = lsnn.LSNNParameters(tau_adapt_inv=torch.tensor(50.0), beta=torch.tensor(beta))
    kept = 1 - DT * 50
    charge = Synaptic(0.9, 0.1, decay=0.8, delayed=True)
    neuron = Neuron(charge, Adaptive(1.0, beta * kept, kept), Hard(), SuperSpike(1.0))
    x = currents('normal', gain=4)
    ours, theirs = fused(neuron, x), loop(stepped(norse.LSNNCell(p)), x)
    differ = (ours.s != theirs.s).any(0)
    assert differ.float().mean() < 1e-3
    x = x.detach()[:, ~differ].clone().requires_grad_()
    check(fused(neuron, x), loop(stepped(norse.LSNNCell(p)), x), potentials(neuron, x), least=0.03)
