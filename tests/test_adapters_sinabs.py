"""sinabs' layers and networks before and after `accelerate`: equal to the bit, gradients within tolerance."""

import copy
import io
import re

import pytest
import torch
from accelerated import check
from torch import nn

import snnkern.adapters as adapters
from snnkern.testing import assert_spikes_equal

sinabs = pytest.importorskip('sinabs', reason='sinabs is not installed')
layers = pytest.importorskip('sinabs.layers')
activation = pytest.importorskip('sinabs.activation')

TAUS = torch.linspace(2.0, 20.0, 60).view(5, 4, 3)
LAYERS = {
    'IAF': lambda: layers.IAF(),
    'IAF, bounded': lambda: layers.IAF(0.7, min_v_mem=-0.4),
    'IAF, at most 2': lambda: layers.IAF(spike_fn=activation.MaxSpike(2), record_states=True),
    'IAF, one spike': lambda: layers.IAF(1.3, activation.SingleSpike, activation.MembraneSubtract(1.3)),
    'IAF, current': lambda: layers.IAF(tau_syn=3.0, min_v_mem=-1.0, record_states=True),
    'LIF': lambda: layers.LIF(8.0, record_states=True),
    'LIF, undecayed input': lambda: layers.LIF(8.0, norm_input=False, min_v_mem=0.1),
    'LIF, trained alpha': lambda: layers.LIF(torch.tensor([8.0]), train_alphas=True, norm_input=False),
    'LIF, current': lambda: layers.LIF(8.0, 3.0, norm_input=False, record_states=True),
    'LIF, current, trained alphas': lambda: layers.LIF(8.0, 3.0, train_alphas=True, norm_input=False),
    'LIF, to 0': lambda: layers.LIF(8.0, reset_fn=activation.MembraneReset(), norm_input=False),
    'LIF, tau each': lambda: layers.LIF(TAUS, norm_input=False, record_states=True),
    'LIF, tau of channels': lambda: layers.LIF(TAUS[:, :1, :1], TAUS[:, :1, :1].flip(0), norm_input=False),
    'LIF, exponential': lambda: layers.LIF(
        8.0, surrogate_grad_fn=activation.SingleExponential(0.3, 0.7), norm_input=False
    ),
    'LIF, Gaussian': lambda: layers.LIF(8.0, surrogate_grad_fn=activation.Gaussian(sigma=0.4), norm_input=False),
    'LIF, Heaviside': lambda: layers.LIF(8.0, surrogate_grad_fn=activation.Heaviside(0.5), norm_input=False),
    'LIF, no spikes': lambda: layers.LIF(8.0, spike_fn=None),
    'ExpLeak': lambda: layers.ExpLeak(8.0, record_states=True),
    'ExpLeak, trained alpha': lambda: layers.ExpLeak(8.0, train_alphas=True, norm_input=True),
}
SQUEEZED = {
    'IAF': lambda: layers.IAFSqueeze(batch_size=3, min_v_mem=-1.0, record_states=True),
    'LIF': lambda: layers.LIFSqueeze(num_timesteps=7, tau_mem=8.0, norm_input=False),
    'ExpLeak': lambda: layers.ExpLeakSqueeze(batch_size=3, tau_mem=8.0),
}


def currents(*shape, gain=1.5):
    return torch.randn(*(shape or (3, 7, 5, 4, 3))) * gain + 0.4


def calls(layer, x):
    """Two calls, of which the second goes on with the state, and everything that a layer remembers."""
    layer.reset_states()
    first, rate = layer(x), layer.firing_rate
    second = layer(x.flip(0))
    states = [state for state in (layer.v_mem, layer.i_syn) if state is not None]
    return first, second, rate, layer.firing_rate, states, list(layer.recordings.values())


@pytest.mark.parametrize('name', LAYERS)
def test_layers(name):
    theirs = LAYERS[name]()
    ours = adapters.accelerate(theirs)
    assert ours.refusal() is None
    outputs = check(theirs, ours, calls, currents(gain=8.0 if theirs.norm_input else 1.5))
    assert 0.05 < outputs[0].abs().mean() < 3
    assert ours.recordings.keys() == theirs.recordings.keys()


@pytest.mark.parametrize('name', SQUEEZED)
def test_squeezed_layers(name):
    theirs = SQUEEZED[name]()
    check(theirs, adapters.accelerate(theirs), calls, currents(21, 5, 4, 3))


@pytest.mark.parametrize('name', ['IAF, bounded', 'LIF', 'LIF, current', 'LIF, tau each', 'ExpLeak'])
def test_without_gradients(name):
    """Numbers are read then, not handed over as tensors."""
    theirs, x = LAYERS[name](), currents()
    ours = adapters.accelerate(theirs)
    with torch.no_grad():
        expected, actual = calls(theirs, x), calls(ours, x)
    assert_spikes_equal(actual[0], expected[0])
    assert_spikes_equal(actual[1], expected[1])
    assert actual[0].is_contiguous()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_answered_as_by_sinabs(dtype):
    theirs = layers.LIF(8.0, norm_input=False)
    ours, x = adapters.accelerate(theirs), currents().to(dtype)
    expected, actual = theirs(x), ours(x)
    assert actual.dtype == expected.dtype
    assert_spikes_equal(actual, expected)
    assert ours.v_mem.dtype == theirs.v_mem.dtype


@pytest.mark.parametrize('sizes', [(3, 5), (5, 2), (3, 3)])
def test_another_batch_size_draws_the_same_states(sizes):
    theirs = layers.LIF(8.0, 3.0, norm_input=False)
    ours, found = adapters.accelerate(theirs), []
    batches = [currents(size, 7, 20) for size in sizes]
    for layer in (theirs, ours):
        torch.manual_seed(3)
        found.append([layer(x) for x in batches])
    for expected, actual in zip(*found, strict=True):
        assert_spikes_equal(actual, expected)
    assert_spikes_equal(ours(currents(2, 7, 30, gain=0.0)), theirs(currents(2, 7, 30, gain=0.0)))


def test_states_are_sinabs_own():
    """Buffers, which its functions detach and clear in place; randomised ones, too."""
    ours = adapters.accelerate(layers.IAF(min_v_mem=-1.0))
    x = currents().requires_grad_()
    ours(x)
    assert ours.v_mem.requires_grad
    ours.zero_grad()
    assert not ours.v_mem.requires_grad
    ours(x)
    sinabs.reset_states(nn.Sequential(ours))
    assert ours.v_mem.eq(0).all()
    assert not ours.v_mem.requires_grad
    ours.reset_states(randomize=True, value_ranges={'v_mem': (-0.5, 0.5)})
    theirs = adapters.undo(ours)
    assert type(theirs) is layers.IAF
    assert_spikes_equal(theirs.v_mem, ours.v_mem)
    assert_spikes_equal(ours(x), theirs(x))


@pytest.mark.parametrize('name', ['IAF, bounded', 'LIF, current', 'LIF, current, trained alphas', 'ExpLeak'])
def test_copies_and_files(name):
    theirs, x = LAYERS[name](), currents()
    ours = adapters.accelerate(theirs)
    with torch.no_grad():
        ours(x)
        theirs(x)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert str(ours) == str(theirs)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for other in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert type(other) is type(ours)
        assert isinstance(other, type(theirs))
        assert_spikes_equal(other.v_mem, ours.v_mem)
    other = copy.deepcopy(theirs)
    other.load_state_dict(ours.state_dict())
    assert_spikes_equal(other(x), ours(x))


def test_copies_keep_what_sinabs_forgets():
    theirs = layers.LIF(8.0).eval()
    theirs.tau_mem.requires_grad_(False)
    theirs.register_forward_hook(lambda module, args, output: output + 1)
    for layer in (adapters.accelerate(theirs), adapters.undo(adapters.accelerate(theirs))):
        assert not layer.training
        assert not layer.tau_mem.requires_grad
        assert layer(currents()).min() == 1


def test_numbers_that_change_between_calls():
    """In any of the ways that sinabs' users change them."""
    theirs = layers.LIF(8.0, min_v_mem=-1.0, norm_input=False).requires_grad_(False)
    ours, x = adapters.accelerate(theirs), currents()
    for layer in (theirs, ours):
        layer(x)
        layer.spike_threshold.data = torch.tensor(0.6)
        layer.min_v_mem.data.fill_(-0.3)
        layer.tau_mem.data *= 0.5
    assert_spikes_equal(ours(x), theirs(x))
    for layer in (theirs, ours):
        layer.spike_fn, layer.reset_fn = activation.SingleSpike, activation.MembraneSubtract(0.25)
    assert (
        ours.refusal() == 'reset_fn=MembraneSubtract(subtract_value=0.25) with spike_threshold=0.6, min_v_mem=-0.3'
        ' has no kernel'
    )
    assert_spikes_equal(ours(x), theirs(x))


LEFT = {
    "surrogate_grad_fn=PeriodicExponential": lambda: layers.IAF(surrogate_grad_fn=activation.PeriodicExponential()),
    'surrogate_grad_fn=MultiGaussian': lambda: layers.IAF(surrogate_grad_fn=activation.MultiGaussian()),
    'surrogate_grad_fn=Gaussian': lambda: layers.IAF(surrogate_grad_fn=activation.Gaussian(mu=0.1)),
    'surrogate_grad_fn=Heaviside': lambda: layers.IAF(0.7, surrogate_grad_fn=activation.Heaviside()),
    'surrogate_grad_fn=SingleExp': lambda: layers.IAF(surrogate_grad_fn=activation.SingleExponential(-1.0)),
    'spike_fn=MaxSpike': lambda: layers.IAF(spike_fn=activation.MaxSpike(0)),
    'spike_fn=MultiSpike with spike_threshold=-1': lambda: layers.IAF(-1.0),
    'spike_fn=Own': lambda: layers.IAF(spike_fn=Own),
    'reset_fn=MembraneSubtract': lambda: layers.IAF(reset_fn=activation.MembraneSubtract(0.5)),
    r'reset_fn=MembraneReset\(reset_value=0.1': lambda: layers.IAF(reset_fn=activation.MembraneReset(0.1)),
    'reset_fn=MembraneReset.*min_v_mem=-1 ': lambda: layers.IAF(reset_fn=activation.MembraneReset(), min_v_mem=-1.0),
    'min_v_mem of a layer that does not spike': lambda: layers.ExpLeak(8.0, min_v_mem=-1.0),
    'spike_threshold must be one number without a gradient, is a tensor': lambda: layers.IAF(torch.ones(5, 4, 3)),
    'min_v_mem must be one number': lambda: layers.IAF(min_v_mem=-torch.ones(3)),
}  # fmt: skip


class Own(activation.SingleSpike):
    pass


@pytest.mark.parametrize('why', LEFT)
@pytest.mark.filterwarnings('ignore:these neurons stay as they were')
def test_what_stays(why):
    theirs = LEFT[why]()
    ours = adapters.accelerate(theirs)
    row = adapters.explain(ours).rows[0]
    assert not row.fused
    assert re.search(why, row.how), row.how
    check(theirs, ours, calls, currents())


def test_other_layers_stay():
    """Recurrent ones cannot be copied."""
    net = nn.Sequential(layers.IAF(), layers.ALIF(8.0, 20.0), layers.LIFRecurrent(8.0, nn.Linear(4, 4)))
    with pytest.warns(UserWarning, match=r'these neurons stay as they were .*: 1, 2'):
        adapters.accelerate(net, inplace=True)
    hows = [row.how for row in adapters.explain(net).rows]
    assert hows == ['fused', 'left: no kernel for ALIF', 'left: a subclass of LIF, which may do something else']
    assert net(currents(3, 7, 4)).shape == (3, 7, 4)
