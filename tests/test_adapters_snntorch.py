"""snnTorch's neurons on our kernels: the same outputs, states and gradients; the library's functions go on working.

Spikes and potentials are equal to the bit.
"""

import copy
import pickle
import re

import pytest
import torch
from torch import nn

from snnkern import adapters
from snnkern.testing import assert_grads_close, assert_spikes_equal

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed: no oracle')
surrogate = pytest.importorskip('snntorch.surrogate')
functional = pytest.importorskip('snntorch.functional')
utils = pytest.importorskip('snntorch.utils')


def run(layer, x, given=()):
    """All steps of x [T, ...] with explicit states: every output, and the gradients of x, states and parameters."""
    layer.zero_grad()
    x = x.detach().requires_grad_()
    states = [state.clone().requires_grad_() for state in given]
    found, now = [], states or [None]
    for step in x:
        s, *now = layer(step, *now)
        found.append((s, *now))
    outputs = [torch.stack(o) for o in zip(*found, strict=True)]
    draw = torch.Generator().manual_seed(1)
    sum((o * torch.randn(o.shape, generator=draw)).sum() for o in outputs if o.requires_grad).backward()
    grads = [t.grad for t in (x, *states, *layer.parameters())]
    return outputs, grads


def same_gradients(found, expected):
    for actual, other in zip(found, expected, strict=True):
        assert (actual is None) == (other is None)
        if other is not None:
            assert_grads_close(actual, other, 'sums')


def same(layer, x, given=()):
    """An accelerated copy gives what the layer gives."""
    fast = adapters.accelerate(layer)
    assert adapters.explain(fast).fused == 1
    outputs, grads = run(layer, x, given)
    found, found_grads = run(fast, x, given)
    assert outputs[0].count_nonzero() > 0.02 * outputs[0].numel()
    for actual, expected in zip(found, outputs, strict=True):
        assert_spikes_equal(actual, expected)
    same_gradients(found_grads, grads)
    assert_spikes_equal(fast.mem, layer.mem)
    assert_spikes_equal(fast.reset, layer.reset)
    return fast


def drive(*shape, T=8, gain=1.0):
    return (torch.randn(T, *shape) + 0.6) * gain


OPTIONS = [
    {},
    {'reset_mechanism': 'zero'},
    {'reset_mechanism': 'none'},
    {'reset_mechanism': 'none', 'reset_delay': False},
    {'learn_beta': True, 'learn_threshold': True, 'learn_graded_spikes_factor': True, 'graded_spikes_factor': 0.7},
    {'reset_mechanism': 'zero', 'learn_beta': True, 'learn_threshold': True},
    {'threshold': 0.7, 'graded_spikes_factor': 2.0},
    {'threshold': 1, 'surrogate_disable': True},
    {'spike_grad': surrogate.fast_sigmoid(25)},
    {'spike_grad': surrogate.sigmoid(5)},
    {'spike_grad': surrogate.straight_through_estimator()},
    {'spike_grad': surrogate.heaviside()},
]
NAMES = [re.sub(' at 0x[0-9a-f]+', '', str(options)) for options in OPTIONS]  # the same in every process


@pytest.mark.parametrize('options', OPTIONS, ids=NAMES)
def test_leaky(options):
    x = drive(6, 10)
    same(snn.Leaky(0.8, **options), x)
    same(snn.Leaky(0.8, **options), x, [torch.rand(6, 10)])


@pytest.mark.parametrize('mechanism', ['subtract', 'zero'])
@pytest.mark.parametrize('shape', [(10,), (4, 1, 1), (4, 3, 5), (5,), (1,)])
def test_numbers_of_any_shape_that_fits(shape, mechanism):
    draw = {(10,): (6, 10)}.get(shape, (6, 4, 3, 5))
    beta, threshold = torch.rand(shape), torch.rand(shape) + 0.5
    same(snn.Leaky(beta, threshold, learn_beta=True, learn_threshold=True, reset_mechanism=mechanism), drive(*draw))


@pytest.mark.parametrize('mechanism', ['subtract', 'none'])
def test_synaptic_and_lapicque(mechanism):
    x, state = drive(6, 10), torch.rand(6, 10)
    for options in ({}, {'learn_beta': True, 'learn_threshold': True}):
        same(snn.Synaptic(0.8, 0.7, reset_mechanism=mechanism, **options), x, [state, state * 0.5])
    beta = torch.rand(10)
    same(snn.Synaptic(0.8, beta, reset_mechanism=mechanism, reset_delay=mechanism == 'subtract'), x, [state, state])
    for numbers in ({'R': 1, 'C': 5}, {'R': 2, 'C': 3, 'time_step': 0.5}, {'beta': 0.8}):
        same(snn.Lapicque(**numbers, reset_mechanism=mechanism), drive(6, 10, gain=4), [state])


@pytest.mark.parametrize('kind', ['StateLeaky', 'LinearLeaky'])
def test_a_convolution_over_time_is_a_recurrence_here(kind):
    sizes = {'channels': 10} if kind == 'StateLeaky' else {'in_features': 10, 'out_features': 10}
    layer = getattr(snn, kind)(torch.rand(10) * 0.9, **sizes, learn_beta=True, learn_threshold=True)
    fast, x = adapters.accelerate(layer), drive(6, 10, T=20)
    (spikes, potentials), found = layer(x), fast(x)
    assert (found[0] != spikes).sum() <= 2
    torch.testing.assert_close(found[1], potentials, rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(potentials.square().sum(), list(layer.parameters()), allow_unused=True)
    grads = torch.autograd.grad(found[1].square().sum(), list(fast.parameters()), allow_unused=True)
    same_gradients(grads, wanted)


REFUSED = [
    (lambda: snn.Leaky(0.9, spike_grad=surrogate.triangular()), 'spike_grad=triangular has no kernel'),
    (lambda: snn.Leaky(0.9, spike_grad=surrogate.SFS()), 'spike_grad=SFS has no kernel'),
    (lambda: snn.Leaky(0.9, spike_grad=torch.relu), r'relu \(not of snntorch.surrogate\) has no kernel'),
    (lambda: snn.Leaky(0.9, reset_delay=False), 'reset_delay=False has no kernel'),
    (lambda: snn.Leaky(0.9, reset_delay=False, reset_mechanism='zero'), 'reset_delay=False has no kernel'),
    (lambda: snn.Synaptic(0.9, 0.8, reset_delay=False), 'reset_delay=False has no kernel'),
    (lambda: snn.Leaky(0.9, state_quant=lambda v: v), 'state_quant has no kernel'),
    (lambda: snn.Synaptic(0.9, 0.8, learn_alpha=True), 'an alpha that is learned or one per neuron has no kernel'),
    (lambda: snn.Synaptic(0.9, 0.8, reset_mechanism='zero'), 'drops an input too, has no kernel'),
    (lambda: snn.Lapicque(0.9, reset_mechanism='zero'), 'drops an input too, has no kernel'),
    (lambda: snn.RLeaky(0.9, all_to_all=False), 'no kernel for RLeaky|a subclass'),
    (lambda: snn.Alpha(0.9, 0.8), 'no kernel for Alpha'),
    (lambda: snn.LeakyParallel(10, 10, 0.9), 'no kernel for LeakyParallel'),
]


@pytest.mark.parametrize(('make', 'reason'), REFUSED, ids=range(len(REFUSED)))
def test_what_has_no_kernel_stays(make, reason):
    torch.manual_seed(0)
    net, x = nn.Sequential(make()), drive(6, 10)
    with pytest.warns(UserWarning, match='these neurons stay as they were .*: 0'):
        fast = adapters.accelerate(net)
    (row,) = adapters.explain(fast).rows
    assert not row.fused
    assert re.search(reason, row.how)
    given = (x,) if isinstance(net[0], snn.LeakyParallel) else (x[0],)
    for actual, expected in zip(fast(*given), net(*given), strict=True):
        assert torch.equal(actual, expected)


def test_inhibition_stays():
    with pytest.warns(UserWarning, match='Inhibition is an unstable'):
        layer = snn.Leaky(0.9, inhibition=True)
    with pytest.warns(UserWarning, match='stay as they were'):
        fast = adapters.accelerate(layer)
    assert all(torch.equal(a, b) for a, b in zip(fast(torch.ones(3, 4) * 2), layer(torch.ones(3, 4) * 2), strict=True))


def net_of_one_step(**options):
    hidden = {'init_hidden': True, **options}
    layers = (
        nn.Linear(20, 30),
        snn.Leaky(0.8, **hidden),
        nn.Linear(30, 10),
        snn.Synaptic(0.9, 0.8, output=True, **hidden),
    )
    net = nn.Sequential(*layers)
    net[0].weight.data *= 3
    return net


def steps(net, x):
    return torch.stack([net(now)[0] for now in x])


def test_states_go_on_and_the_library_resets_them():
    net, x = net_of_one_step(), drive(6, 20)
    fast = adapters.accelerate(net)
    for _ in range(2):
        assert torch.equal(steps(fast, x), steps(net, x))
        assert torch.equal(fast[3].syn, net[3].syn)
    utils.reset(fast)
    assert not any(state.any() for state in (fast[1].mem, fast[3].syn))
    assert torch.equal(steps(fast, x), steps(net, x))
    assert torch.equal(steps(fast, x[:, :2]), steps(net, x[:, :2]))  # another batch begins anew
    snn.Leaky.reset_hidden()
    assert [layer.mem.any() for layer in (fast[1], fast[3])] == [False, True]
    utils.reset(fast)
    back = adapters.undo(fast)
    for _ in range(2):
        assert torch.equal(steps(back, x), steps(fast, x))
        utils.reset(back)
    assert type(back[1]) is snn.Leaky
    assert not any(layer.mem.any() for layer in (back[1], fast[1]))


def test_a_state_given_to_a_hidden_neuron():
    fast = adapters.accelerate(snn.Leaky(0.9, init_hidden=True))
    with pytest.raises(TypeError, match='should not be passed as an argument while `init_hidden=True`'):
        fast(torch.ones(2, 3), torch.ones(2, 3))


def test_checkpoints_hooks_copies_and_losses():
    net, x = net_of_one_step(learn_beta=True), drive(6, 20)
    fast, seen = adapters.accelerate(net), []
    assert fast.state_dict().keys() == net.state_dict().keys()
    fast.load_state_dict({name: value * 0.9 for name, value in net.state_dict().items()})
    net.load_state_dict(fast.state_dict())
    fast[1].register_forward_hook(lambda module, args, out: seen.append(out))
    both, targets = (steps(net, x), steps(fast, x)), torch.randint(0, 10, (6,))
    assert torch.equal(*both)
    assert len(seen) == 8
    for loss in (functional.mse_count_loss(0.8, 0.2), functional.ce_rate_loss(), functional.ce_count_loss()):
        expected, found = (loss(spikes, targets) for spikes in both)
        assert found == expected
        found.backward(retain_graph=True)
    utils.reset(fast)
    fast.zero_grad()
    twin = copy.deepcopy(fast)
    assert type(twin[1]) is type(fast[1])
    assert torch.equal(steps(twin, x), steps(fast, x))


def test_pickles_where_snntorch_does():
    net, x = net_of_one_step(surrogate_disable=True), drive(6, 20)
    fast = adapters.accelerate(net)
    assert torch.equal(steps(pickle.loads(pickle.dumps(fast)), x), steps(net, x))


def test_compiled():
    net, x, mem = snn.Leaky(0.8, learn_beta=True), drive(6, 10), torch.rand(6, 10)
    fast = torch.compile(adapters.accelerate(net), backend='aot_eager', fullgraph=True)
    runs = [layer(x[0], mem) for layer in (net, fast)]
    for spk, after in runs:
        (spk.sum() + after.square().sum()).backward()
        assert torch.equal(spk, runs[0][0])
    assert_grads_close(fast.beta.grad, net.beta.grad, 'sums')


@pytest.mark.parametrize('mechanism', ['subtract', 'zero'])
def test_half_precision(mechanism):
    """snnTorch's spikes are float32 then, and its potentials, which it computes in float32 too."""
    leaky = snn.Leaky(0.8, init_hidden=True, output=True, reset_mechanism=mechanism)
    net = nn.Sequential(nn.Linear(20, 30), leaky)
    fast = adapters.accelerate(net)
    with torch.autocast('cpu', torch.bfloat16):
        for now in drive(6, 20):
            for actual, expected in zip(fast(now), net(now), strict=True):
                assert_spikes_equal(actual, expected)
    for layers in (net, fast):
        layers[1].mem.square().sum().backward()
    torch.testing.assert_close(fast[0].weight.grad, net[0].weight.grad, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('mechanism', ['subtract', 'zero'])
def test_truncated_backpropagation(mechanism):
    """snnTorch detaches its states in place."""
    net = nn.Sequential(nn.Linear(20, 10), snn.Leaky(0.9, init_hidden=True, output=True, reset_mechanism=mechanism))
    fast, x = adapters.accelerate(net), drive(6, 20)
    for now in x:
        both = [layers(now)[1] for layers in (net, fast)]
        for mem in both:
            mem.square().sum().backward()
        snn.Leaky.detach_hidden()
        assert [mem.requires_grad for mem in both] == [False, False]
    assert_grads_close(fast[0].weight.grad, net[0].weight.grad)
    fast[1].many(fast[0](x))
    snn.Leaky.detach_hidden()
    layer = adapters.accelerate(snn.Synaptic(0.9, 0.8))
    layer.many(drive(6, 10).requires_grad_())
    snn.Synaptic.detach_hidden()
    assert not layer.mem.requires_grad


def check_many(layer, x, start):
    """`many`, what `unroll` asks of a neuron, gives what the steps give."""
    fast = adapters.accelerate(layer)
    outputs, grads = run(layer, x, start)
    given = [t.clone().requires_grad_() for t in (x, *start)]
    found = fast.many(*given)
    for actual, expected in zip((*found, fast.mem, fast.reset), (*outputs, layer.mem, layer.reset), strict=True):
        assert_spikes_equal(actual, expected)
    draw = torch.Generator().manual_seed(1)
    sum((o * torch.randn(o.shape, generator=draw)).sum() for o in found if o.requires_grad).backward()
    same_gradients([t.grad for t in (*given, *fast.parameters())], grads)
    assert fast.many(x, *start, trace=False)[1:] == (None,) * len(start)


@pytest.mark.parametrize('options', OPTIONS, ids=NAMES)
def test_many_steps_at_once(options):
    for beta in (0.8, torch.rand(10)):
        check_many(snn.Leaky(beta, **options), drive(6, 10), [torch.rand(6, 10) * 2])


def test_many_steps_of_two_states():
    check_many(snn.Synaptic(0.8, torch.rand(10), learn_beta=True), drive(6, 10), [torch.rand(6, 10), torch.rand(6, 10)])
    check_many(snn.Lapicque(R=2, C=3), drive(6, 10, gain=4), [torch.rand(6, 10)])
    check_many(snn.Leaky(torch.rand(4, 3, 5), learn_beta=True), drive(6, 4, 3, 5), [torch.rand(6, 4, 3, 5)])
