"""BrainCog's networks before and after `accelerate`: its model zoo, norms, converted networks, copies, compiled."""

import warnings

import pytest
import torch
from accelerated import check, check_copies, train
from conversions import network
from torch import nn

import snnkern.adapters as adapters
from snnkern.testing import assert_spikes_equal

node = pytest.importorskip('braincog.base.node.node', reason='BrainCog is not installed')
layer = pytest.importorskip('braincog.base.connection.layer')

ZOO = {
    'resnet': ('resnet9', {'dataset': 'cifar10', 'inplanes': 16}, (3, 32, 32), 11),
    'vgg_snn': ('SNN7_tiny', {'dataset': 'cifar10'}, (3, 32, 32), 7),
    'sew_resnet': ('sew_resnet18', {'dataset': 'cifar10', 'cnf': 'ADD'}, (3, 32, 32), 19),
    'convnet': ('cifar_convnet', {'spike_output': True}, (3, 8, 8), 8),
}


def zoo(name, **options):
    """A network of BrainCog's, and a batch. Their import warns of names that timm has changed."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        module = pytest.importorskip(f'braincog.model_zoo.{name}', exc_type=ImportError)
    kind, own, size, pairs = ZOO[name]
    common = {'step': 4, 'encode_type': 'direct', 'node_type': node.LIFNode, 'num_classes': 10, 'threshold': 0.5}
    return getattr(module, kind)(**common, **own, **options), torch.rand(2, *size), pairs


def once(net, x):
    return net(x)


def close(before, after, run, x):
    """Gradients where every output is equal; the encoder lets none through to the input."""
    (expected, wanted), (actual, got) = train(before, run, x), train(after, run, x)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
    assert wanted.keys() == got.keys()
    if all(map(torch.equal, actual, expected)):
        for name, grad in wanted.items():
            assert grad is None or (got[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-6, name


@pytest.mark.parametrize('name', ZOO)
def test_networks_layer_by_layer(name):
    net, x, pairs = zoo(name, layer_by_layer=True)
    ours = adapters.accelerate(net)
    rows = adapters.explain(ours).rows
    assert all(row.fused for row in rows)
    assert sum('behind' in row.how for row in rows) == pairs
    assert ours.state_dict().keys() == net.state_dict().keys()
    for training in (True, False):
        close(net.train(training), ours.train(training), once, x)
    for (key, a), b in zip(ours.named_buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


@pytest.mark.parametrize('name', ['resnet', 'vgg_snn'])
def test_networks_step_by_step(name):
    net, x, _ = zoo(name)
    ours = adapters.accelerate(net)
    rows = adapters.explain(ours).rows
    assert all(row.fused for row in rows)
    for training in (True, False):
        close(net.train(training), ours.train(training), once, x)


def test_what_a_network_says_of_itself():
    """Feature maps, potentials and rates by BaseModule's own functions."""
    net, x, _ = zoo('resnet', layer_by_layer=True)
    net.set_requires_fp(True)
    net.set_requires_mem(True)
    ours = adapters.accelerate(net, norms=False)
    found = []
    for n in (net.eval(), ours.eval()):
        with torch.no_grad():
            y = n(x)
        found.append([y, n.get_fire_rate(), n.get_tot_spike(), *n.get_fp(), *n.get_mem(), *n.get_threshold()])
        assert len(n.get_spike_info()[0]) == 11
    for a, b in zip(*found, strict=True):
        assert_spikes_equal(b.detach(), a.detach())
    ours.set_attr('step', 3)
    ours.reset()
    assert all(m.mem == 0 and m.step == 3 for m in ours.modules() if isinstance(m, node.BaseNode))


def small(norm=nn.BatchNorm2d, **options):
    """A network with a norm before each node; all steps in one call, unless told otherwise."""
    options = {'step': 4, 'layer_by_layer': True, 'threshold': 0.5, **options}
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        norm(8),
        node.LIFNode(**options),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, bias=False),
        norm(16),
        node.PLIFNode(**options),
        nn.Flatten(),
        nn.Linear(16 * 36, 30, bias=False),
        nn.BatchNorm1d(30),
        node.IFNode(**options),
    )


def reset(net):
    for module in net.modules():
        if hasattr(module, 'n_reset'):
            module.n_reset()


def after_reset(net, x):
    reset(net)
    return net(x)


def tdbn(channels):
    return layer.ThresholdDependentBatchNorm2d(channels, 1.0)


@pytest.mark.parametrize('norm', [nn.BatchNorm2d, tdbn])
@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('training', [True, False])
def test_norms_are_fused_with_their_nodes(norm, together, training):
    """One step a call, too: then the statistics are those of the step."""
    net = small(norm, layer_by_layer=together).train(training)
    ours, exact = adapters.accelerate(net), adapters.accelerate(net, norms=False)
    assert [row.name for row in adapters.explain(ours).rows if 'behind' in row.how] == ['1', '5', '9']
    torch.manual_seed(1)  # alpha's gradient is one sum, whose terms may cancel
    x = torch.randn(12, 3, 16, 16)

    def run(n, x):
        reset(n)
        return n(x) if together else torch.cat([n(step) for step in x.split(3)])

    close(net, ours, run, x)
    for (name, a), b in zip(ours.named_buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)
    exact.load_state_dict(ours.state_dict())
    net.load_state_dict(ours.state_dict())
    check(net, exact, run, x)


def test_channels_last():
    net = small().to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)
    ours, exact = adapters.accelerate(net), adapters.accelerate(net, norms=False)
    close(net, ours, after_reset, x)
    check(net, exact, after_reset, x)


def test_a_norm_over_the_channels_of_all_steps_stays():
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), node.LIFNode(step=4, n_groups=4))
    ours = adapters.accelerate(net)
    assert [row.kind for row in adapters.explain(ours).rows] == ['LIFNode']
    check(net, ours, after_reset, torch.randn(5, 3, 9, 9))


@pytest.mark.parametrize('lateral', [True, False])
@pytest.mark.parametrize(('max_spikes', 'channelnorm'), [(1, False), (5, True)])
@pytest.mark.parametrize('spicalib', [0, 5])
def test_converted_networks(max_spikes, channelnorm, lateral, spicalib):
    convertor = pytest.importorskip('braincog.base.conversion.convertor')
    x = torch.randn(20, 1, 14, 14)
    arguments = {'p': 0.99, 'gamma': max_spikes, 'channelnorm': channelnorm, 'lipool': lateral, 'spicalib': spicalib}
    with torch.no_grad():
        theirs = convertor.Convertor([(x, None)], device='cpu', **arguments)(network())
        ours = adapters.accelerate(theirs)
        assert [row.kind for row in adapters.explain(ours).rows if row.fused].count('SNode') == 2
        for _ in range(2):  # from the start, then after a reset
            found = torch.stack([torch.stack([net(x) for _ in range(8)]) for net in (theirs, ours)])
            assert_spikes_equal(found[1], found[0])
            for net in (theirs, ours):
                net.reset()
    if not lateral:  # LIPool changes in place what its own backward needs
        x.requires_grad_()
        grads = [torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()]) for net in (theirs, ours)]
        torch.testing.assert_close(grads[1], grads[0])


def test_checkpoints_copies_and_pickles():
    check_copies(small, after_reset, torch.randn(8, 3, 16, 16))


def test_a_trained_state_must_be_reset_before_a_copy():
    net = small()
    net(torch.randn(8, 3, 16, 16))
    with pytest.raises(RuntimeError, match='reset its states first'):
        adapters.accelerate(net)
    reset(net)
    adapters.accelerate(net)


def test_undo_restores_the_classes():
    net = small()
    ours = adapters.accelerate(net)
    x = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        expected = after_reset(ours.eval(), x)
    reset(ours)
    back = adapters.undo(ours)
    assert [type(m) for m in back.modules()] == [type(m) for m in net.modules()]
    assert [sorted(m.__dict__) for m in back.modules()] == [sorted(m.__dict__) for m in net.modules()]
    with torch.no_grad():
        assert_spikes_equal(after_reset(back, x), expected)


def test_autocast():
    ours = adapters.accelerate(small())
    x = torch.randn(8, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        (y,), got = train(ours, after_reset, x)
    assert y.dtype == torch.bfloat16
    assert all(grad.isfinite().all() and grad.dtype == torch.float32 for grad in got.values())
    assert ours[2].mem.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize('together', [True, False])
def test_compiles_without_a_break(together):
    net = small(layer_by_layer=together).eval()
    ours = adapters.accelerate(net)
    x = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        compiled = torch.compile(ours, fullgraph=True, backend='aot_eager')(x)
        assert_spikes_equal(compiled, after_reset(ours, x))
