"""BrainCog's nodes before and after `accelerate`: equal to the bit, gradients within tolerance."""

import pytest
import torch
from accelerated import check, train
from torch import nn

import snnkern.adapters as adapters
from snnkern.testing import assert_grads_close, assert_spikes_equal

node = pytest.importorskip('braincog.base.node.node', reason='BrainCog is not installed')
convertor = pytest.importorskip('braincog.base.conversion.convertor')
surrogate = pytest.importorskip('braincog.base.strategy.surrogate')

T = 6
NODES = {
    'IF': lambda **k: node.IFNode(0.7, requires_thres_grad=True, **k),
    'IF, dt': lambda **k: node.IFNode(dt=0.7, **k),
    'IF, sigmoid': lambda **k: node.IFNode(0.3, sigmoid_thres=True, requires_thres_grad=True, **k),
    'IF, a whole threshold': lambda **k: node.IFNode(1, **k),
    'LIF': lambda **k: node.LIFNode(tau=3.0, requires_thres_grad=True, **k),
    'LIF, what it ignores': lambda **k: node.LIFNode(dt=0.5, sigmoid_thres=True, **k),
    'LIF, detached': lambda **k: node.LIFNode(mem_detach=True, **k),
    'LIF, v_reset': lambda **k: node.LIFNode(v_reset=0.3, **k),
    'BiasLIF': lambda **k: node.BiasLIFNode(0.8, 1.7, **k),
    'PLIF': lambda **k: node.PLIFNode(0.8, 3.0, requires_thres_grad=True, **k),
    'PLIF, dt': lambda **k: node.PLIFNode(0.4, dt=0.5, sigmoid_thres=True, **k),
    'LIFSTDP': lambda **k: node.LIFSTDPNode(tau=0.7, **k),
}
ROUNDED = {
    'BiasLIF, dt': lambda **k: node.BiasLIFNode(0.8, 3.0, dt=0.7, **k),
    'PLIF, dt': lambda **k: node.PLIFNode(0.4, 3.0, dt=0.7, **k),
    'BiasPLIF': lambda **k: node.BiasPLIFNode(0.8, 2.3, **k),
}
SHAPES = 'AtanGrad', 'SigmoidGrad', 'GateGrad', 'QGateGrad', 'ReLUGrad', 'STDPGrad', 'BackEIGateGrad'
LAYOUTS = {
    'layers': ((T * 4, 3, 5, 7), {'layer_by_layer': True}),
    'layers, flat': ((T * 4, 90), {'layer_by_layer': True}),
    'groups': ((4, 3 * T, 5, 7), {'n_groups': T}),
    'groups, flat': ((4, 20 * T), {'n_groups': T}),
    'both': ((4, 3 * T, 5, 7), {'n_groups': T, 'layer_by_layer': True}),
}


def currents(*shape):
    return torch.randint(-5, 22, shape) / 10


def calls(net, x):
    """A call, another one that goes on, one after a reset, and the state."""
    net.n_reset()
    first, second = net(x), net(x.flip(0))
    state = net.mem, net.spike
    net.n_reset()
    return first, second, *state, net(x)


def loop(net, x):
    """One step a call."""
    net.n_reset()
    return torch.stack([net(step) for step in x]), net.mem, net.spike


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('name', NODES)
def test_nodes_run_all_steps(name, layout):
    shape, options = LAYOUTS[layout]
    theirs = NODES[name](step=T, **options)
    ours = adapters.accelerate(theirs)
    assert [row.how for row in adapters.explain(ours).rows] == ['fused']
    s, *_ = check(theirs, ours, calls, currents(*shape))
    assert 0.02 < s.mean() < 0.95


@pytest.mark.parametrize('name', NODES)
def test_nodes_run_single_steps(name):
    theirs = NODES[name]()
    check(theirs, adapters.accelerate(theirs), loop, currents(T, 4, 120))


@pytest.mark.parametrize('name', ROUNDED)
def test_another_order_of_operations_changes_roundings(name):
    theirs = ROUNDED[name](layer_by_layer=True, step=T, requires_mem=True)
    ours = adapters.accelerate(theirs)
    x = currents(T * 4, 400)
    (expected, *_), wanted = train(theirs, calls, x)
    (actual, *_), got = train(ours, calls, x)
    different = (expected != actual).view(T, -1).any(0).float().mean()
    assert different <= 1e-3
    if not different:
        for key, grad in wanted.items():
            assert_grads_close(got[key], grad, 'sums')
    potentials = torch.stack([torch.stack(n.mem_collect) for n in (ours, theirs)])
    silent = expected.view(T, 4, 400) + actual.view(T, 4, 400) == 0
    torch.testing.assert_close(potentials[0][silent], potentials[1][silent], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('kind', ['LIFNode', 'PLIFNode'])
def test_surrogates(kind, name):
    theirs = getattr(node, kind)(act_fun=name, layer_by_layer=True, step=T)
    theirs.act_fun.alpha.data.fill_(1.5)
    ours = adapters.accelerate(theirs)
    x = currents(T * 4, 120)
    check(theirs, ours, calls, x)
    with torch.no_grad():
        for n in (theirs, ours):
            n.act_fun.alpha.fill_(3.0)
            n.threshold.fill_(0.8)
    check(theirs, ours, calls, x)


@pytest.mark.parametrize('together', [False, True])
def test_online_lif_emits_its_first_spikes_again(together):
    theirs = node.OnlineLIFNode(layer_by_layer=together, step=T)
    ours = adapters.accelerate(theirs)

    def run(net, x):
        net.init, net.rate_tracking = True, None
        y = [net(x) for _ in range(2)] if together else [net(step) for step in x]
        return torch.stack(y), net.mem, net.spike, net.rate_tracking

    x = currents(*((T * 4, 90) if together else (T, 4, 90)))
    check(theirs, ours, run, x)
    for net in (theirs, ours):
        net.n_reset()
    with pytest.raises(AttributeError):
        theirs(x if together else x[0])
    assert ours(x if together else x[0]).isfinite().all()


@pytest.mark.parametrize('together', [False, True])
def test_what_the_nodes_collect(together):
    """Spikes and potentials of every step, with gradients; a reset forgets them."""
    theirs = node.PLIFNode(0.7, layer_by_layer=together, step=T, requires_fp=True, requires_mem=True)
    ours = adapters.accelerate(theirs)

    def run(net, x):
        net.n_reset()
        for part in [x] if together else x.unflatten(0, (T, 4)):
            net(part)
        return net.feature_map, net.mem_collect

    found = check(theirs, ours, run, currents(T * 4, 90))
    assert len(found) == 2 * T
    ours.n_reset()
    assert (ours.feature_map, ours.mem_collect, ours.mem, ours.spike) == ([], [], 0.0, 0.0)


def test_setters_count_at_the_next_call():
    theirs = node.LIFNode(layer_by_layer=True, step=T)
    ours = adapters.accelerate(theirs)
    x = currents(T * 4, 90)
    for net in (theirs, ours):
        net.set_n_threshold(0.9)
        net.set_n_tau(3.0)
        net.set_n_warm_up(True)
    check(theirs, ours, calls, x)
    for net in (theirs, ours):
        net.step, net.layer_by_layer = 5, False
    check(theirs, ours, loop, x.view(T, 4, 90))


def test_tau_with_a_gradient():
    """A product in place of a quotient: equal for a power of 2."""
    theirs = node.LIFNode(layer_by_layer=True, step=T)
    theirs.set_n_tau(4.0)
    theirs.tau.requires_grad_()
    check(theirs, adapters.accelerate(theirs), calls, currents(T * 4, 90) * 2)
    theirs = node.LIFSTDPNode(layer_by_layer=True, step=T)
    theirs.set_n_tau(0.7)
    theirs.tau.requires_grad_()
    check(theirs, adapters.accelerate(theirs), calls, currents(T * 4, 90))


def test_a_detached_state_outlives_its_graph():
    theirs = node.LIFNode(mem_detach=True, layer_by_layer=True, step=T)
    ours = adapters.accelerate(theirs)
    x = currents(T * 4, 90).requires_grad_()
    found = []
    for net in (theirs, ours):
        grads = [torch.autograd.grad(net(x).sum(), x)[0] for _ in range(2)]
        found.append(torch.stack(grads))
    assert_grads_close(found[1], found[0])


def test_wrong_shapes_are_errors_as_in_braincog():
    ours = adapters.accelerate(node.LIFNode(layer_by_layer=True, step=T))
    with pytest.raises(NotImplementedError):
        ours(torch.rand(T, 4, 5))
    ours(torch.rand(T * 4, 5))
    with pytest.raises(RuntimeError):
        ours(torch.rand(T * 3, 5))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_whole_numbers_are_currents(dtype):
    theirs, x = node.IFNode(), torch.randint(0, 2, (4, 90)).to(dtype)
    assert_spikes_equal(adapters.accelerate(theirs)(x), theirs(x))


def test_a_state_of_one_sample_serves_all():
    theirs, x = node.LIFNode(), currents(4, 90)
    ours = adapters.accelerate(theirs)
    for net in (theirs, ours):
        net(x[:1])
    assert_spikes_equal(ours(x), theirs(x))
    assert_spikes_equal(ours.mem, theirs.mem)


def several(name):
    layer = node.LIFNode()
    setattr(layer, name, nn.Parameter(torch.full((90,), 0.6)))
    return layer


@pytest.mark.parametrize(
    ('build', 'reason'),
    [
        (lambda: node.LIFNode(act_fun='EIGrad'), 'act_fun=EIGrad has no kernel'),
        (lambda: node.LIFNode(act_fun='RoundGrad'), 'act_fun=RoundGrad has no kernel'),
        (lambda: several('threshold'), 'threshold is more than one number'),
        (lambda: several('tau'), 'tau is more than one number'),
    ],
)
def test_what_has_no_kernel_stays_and_is_named(build, reason):
    theirs = build()
    with pytest.warns(UserWarning, match=r'stay as they were .*: the model'):
        ours = adapters.accelerate(theirs)
    (row,) = adapters.explain(ours).rows
    assert not row.fused
    assert row.how == f'left: {reason}'
    check(theirs, ours, loop, currents(T, 4, 90))


def test_other_nodes_stay_with_a_reason():
    class Own(node.LIFNode): ...

    others = [
        (node.DoubleSidePLIFNode(), 'BrainCog itself raises TypeError: it subtracts from a method'),
        (node.NoiseLIFNode(), 'it draws noise at every step'),
        (node.BackEINode(), 'convolutions of its own spikes and potentials feed back'),
        (node.ThreeCompNode(), 'three compartments'),
        (Own(), 'a subclass of LIFNode, which may do something else'),
    ]
    net = nn.Sequential(node.IFNode(), *[layer for layer, _ in others])
    with pytest.warns(UserWarning, match='1, 2, 3, 4, 5'):
        ours = adapters.accelerate(net)
    assert [row.how for row in adapters.explain(ours).rows][1:] == [f'left: {reason}' for _, reason in others]
    assert [type(m) for m in ours[1:]] == [type(m) for m in net[1:]]


def test_every_node_of_the_package_is_known():
    bases = node.BaseNode, node.BaseMCNode
    kinds = {kind for kind in vars(node).values() if isinstance(kind, type) and issubclass(kind, bases)} - {*bases}
    braincog = adapters._swap.adapter('braincog')
    assert kinds == {*braincog.FUSED, *braincog.LEFT} - {convertor.SNode}


@pytest.mark.parametrize('gamma', [1, 5])
@pytest.mark.parametrize('soft', [True, False])
def test_snode(gamma, soft):
    theirs = convertor.SNode(soft_mode=soft, gamma=gamma)
    ours = adapters.accelerate(theirs)

    def run(net, x):
        net.reset()
        return torch.stack([net(step) for step in x]), net.mem, net.spike

    s, *_ = check(theirs, ours, run, currents(T, 4, 90) * 3)
    assert s.max() == gamma
    ours.reset()
    assert ours.mem == 0


@pytest.mark.parametrize(('name', 'value'), [('gamma', 2.5), ('gamma', 0), ('threshold', -1.0)])
def test_snode_as_no_kernel_does(name, value):
    theirs = convertor.SNode(True, 5)
    setattr(theirs, name, value)
    with pytest.warns(UserWarning, match='stay'):
        ours = adapters.accelerate(theirs)
    assert f'{name}={value} is' in adapters.explain(ours).rows[0].how
    x = currents(90)
    assert_spikes_equal(ours(x), theirs(x))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_runs_fused_and_keeps_a_float_state(dtype):
    ours = adapters.accelerate(node.LIFNode(layer_by_layer=True, step=T, requires_mem=True))
    x = currents(T * 4, 90).to(dtype)
    s, exact = ours(x), node.LIFNode(layer_by_layer=True, step=T)
    assert s.dtype == dtype
    assert ours.mem.dtype == torch.float32
    assert_spikes_equal(s.float(), exact(x.float()))
