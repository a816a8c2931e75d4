"""SpikingJelly's networks before and after `accelerate`: norms, pools, copies, distributed, compiled, converted."""

import pytest
import torch
from accelerated import check, check_copies, train
from torch import nn

import snnkern.adapters as adapters
from snnkern.adapters import _fused
from snnkern.testing import assert_grads_close, assert_spikes_equal

spikingjelly = pytest.importorskip('spikingjelly', reason='SpikingJelly is not installed')
neuron = pytest.importorskip('spikingjelly.activation_based.neuron')
layer = pytest.importorskip('spikingjelly.activation_based.layer')
surrogate = pytest.importorskip('spikingjelly.activation_based.surrogate')
functional = pytest.importorskip('spikingjelly.activation_based.functional')


def once(net, x):
    functional.reset_net(net)
    return net(x)


def small(norm='layer', T=4):
    """A network with a norm before each neuron, found in containers and in forward."""
    norms = {
        'layer': lambda c: layer.BatchNorm2d(c),
        'tdbn': lambda c: layer.ThresholdDependentBatchNorm2d(1.0, 1.0, c),
        'tebn': lambda c: layer.TemporalEffectiveBatchNorm2d(T, c),
    }
    net = nn.Sequential(
        layer.Conv2d(3, 8, 3, padding=1, bias=False),
        norms[norm](8),
        neuron.LIFNode(2.0, detach_reset=True),
        layer.MaxPool2d(2),
        layer.Conv2d(8, 16, 3, bias=False),
        norms[norm](16),
        neuron.ParametricLIFNode(),
        layer.Flatten(),
        layer.Linear(16 * 36, 10),
        neuron.IFNode(),
    )
    functional.set_step_mode(net, 'm')
    return net


@pytest.mark.parametrize('norm', ['layer', 'tdbn', 'tebn'])
@pytest.mark.parametrize('training', [True, False])
def test_norms_are_fused_with_their_neurons(norm, training, monkeypatch):
    monkeypatch.setattr(_fused, 'LARGE', 0)
    net = small(norm).train(training)
    ours, exact = adapters.accelerate(net), adapters.accelerate(net, norms=False)
    fused = [row.name for row in adapters.explain(ours).rows if 'behind' in row.how]
    assert fused == ['1', '5']
    x = torch.randn(4, 3, 3, 16, 16)
    expected, wanted = train(net, once, x)
    actual, got = train(ours, once, x)
    assert (actual[0] != expected[0]).double().mean() <= 1e-3
    same = torch.equal(actual[0], expected[0])
    for name, grad in wanted.items() if same else ():
        assert (got[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-6, name
    for (name, a), b in zip(ours.named_buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)
    assert not [row for row in adapters.explain(exact).rows if 'BatchNorm' in row.kind]
    exact.load_state_dict(ours.state_dict())
    check(net, exact, once, x)


def test_a_norm_in_a_container_and_a_hook_on_it():
    net = nn.Sequential(layer.SeqToANNContainer(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), neuron.LIFNode(step_mode='m'))
    ours = adapters.accelerate(net)
    x = torch.randn(4, 2, 3, 8, 8)
    assert_spikes_equal(once(ours, x), once(net, x))
    norm = ours[0][1]
    assert norm.refusal() is None
    seen = []
    handle = norm.register_forward_hook(lambda module, args, output: seen.append(output))
    assert_spikes_equal(once(ours, x), once(net, x))
    assert norm.refusal() == 'a hook needs its output'
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    handle.remove()
    assert norm.refusal() is None


def test_a_norm_that_others_read_is_left():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.sn, self.other = layer.BatchNorm2d(3), neuron.LIFNode(), layer.BatchNorm2d(3)
            self.sn2 = neuron.LIFNode()
            functional.set_step_mode(self, 'm')

        def forward(self, x):
            y = self.norm(x)
            return self.sn(y) + y + self.sn2(self.other(x))

    ours = adapters.accelerate(Net())
    assert [row.name for row in adapters.explain(ours).rows if 'behind' in row.how] == ['other']


def sew():
    from spikingjelly.activation_based.model import sew_resnet

    net = sew_resnet.sew_resnet18(
        num_classes=10, cnf='ADD', spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(), detach_reset=True
    )
    functional.set_step_mode(net, 'm')
    return net


def vgg():
    from spikingjelly.activation_based.model import spiking_vgg

    net = spiking_vgg.spiking_vgg11_bn(
        spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(), num_classes=10
    )
    net.classifier = nn.Sequential(layer.Linear(512 * 49, 10))  # its own has 120 million weights
    functional.set_step_mode(net, 'm')
    return net


@pytest.mark.parametrize('build', [sew, vgg])
def test_networks_of_its_model_zoo(build, monkeypatch):
    monkeypatch.setattr(_fused, 'LARGE', 0)
    net = build()
    ours = adapters.accelerate(net)
    rows = adapters.explain(ours).rows
    assert all(row.fused for row in rows)
    assert sum(row.kind == 'BatchNorm2d' for row in rows) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert ours.state_dict().keys() == net.state_dict().keys()
    x = torch.randn(4, 2, 3, 32, 32)
    for training in (True, False):
        net.train(training)
        ours.train(training)
        expected, wanted = train(net, once, x)
        actual, got = train(ours, once, x)
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
        if torch.equal(actual[0], expected[0]):
            for name, grad in wanted.items():
                assert (got[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-6, name


@pytest.mark.parametrize('channel_wise', [False, True])
@pytest.mark.parametrize('half_threshold', [False, True])
@pytest.mark.parametrize('mode', ['s', 'm'])
def test_converted_networks(channel_wise, half_threshold, mode):
    from spikingjelly.activation_based import ann2snn

    modules = (nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10))
    ann = nn.Sequential(*modules).eval()
    x = torch.rand(8, 1, 14, 14)
    recipe = ann2snn.RateCodingRecipe([(x, x)], channel_wise=channel_wise, half_threshold=half_threshold)
    snn = ann2snn.Converter(recipe).convert(ann)
    functional.set_step_mode(snn, mode)
    ours = adapters.accelerate(snn)
    rows = adapters.explain(ours).rows
    assert all(row.fused for row in rows)
    assert [row.kind for row in rows if 'behind' in row.how] == [
        'ChannelVoltageScaler' if channel_wise else 'VoltageScaler'
    ]
    found = []
    for net in (snn, ours):
        functional.reset_net(net)
        with torch.no_grad():
            found.append(torch.stack([net(x) for _ in range(6)]) if mode == 's' else net(x.expand(6, *x.shape)))
    if mode == 's':
        assert_spikes_equal(found[1], found[0])
    else:
        torch.testing.assert_close(found[1], found[0])


def test_checkpoints_copies_and_pickles():
    check_copies(small, once, torch.randn(4, 2, 3, 16, 16))


def test_undo_restores_the_classes_and_keeps_the_weights():
    net = small()
    ours = adapters.accelerate(net)
    with torch.no_grad():
        ours[0].weight.mul_(2)
    back = adapters.undo(ours)
    assert [type(m) for m in back.modules()] == [type(m) for m in net.modules()]
    assert [sorted(m.__dict__) for m in back.modules()] == [sorted(m.__dict__) for m in net.modules()]
    assert torch.equal(back[0].weight, 2 * net[0].weight)
    assert type(ours[2]) is not neuron.LIFNode
    assert adapters.undo(ours, inplace=True) is ours
    assert type(ours[2]) is neuron.LIFNode


def test_autocast():
    net = small()
    ours = adapters.accelerate(net, norms=False)
    x = torch.randn(4, 2, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        _, got = train(ours, once, x)
    assert all(grad.isfinite().all() and grad.dtype == torch.float32 for grad in got.values())
    assert ours[2].v.dtype == torch.float32


@pytest.mark.slow
def test_compiles_without_a_break():
    net = small().eval()
    ours = adapters.accelerate(net)
    functional.reset_net(ours)
    x = torch.randn(4, 2, 3, 16, 16)
    with torch.no_grad():
        compiled = torch.compile(ours, fullgraph=True)(x)
    assert_spikes_equal(compiled, once(ours, x))


def test_distributed_training_step(tmp_path):
    from torch import distributed

    distributed.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    try:
        ours = adapters.accelerate(small())
        x = torch.randn(4, 2, 3, 16, 16)
        _, alone = train(ours, once, x)
        wrapped = nn.parallel.DistributedDataParallel(ours)
        functional.reset_net(ours)
        ours.zero_grad()
        _, spread = train(wrapped, once, x)
    finally:
        distributed.destroy_process_group()
    for name, grad in alone.items():
        assert_grads_close(spread[f'module.{name}' if name != 'x' else name], grad, 'sums')


def test_pairs_are_found_in_a_network_that_has_just_trained():
    """Its states have a graph, so that it cannot be copied."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.sn = layer.BatchNorm2d(3, step_mode='m'), neuron.LIFNode(step_mode='m')

        def forward(self, x):
            return self.sn(self.norm(x))

    net = Own()
    x = torch.randn(4, 2, 3, 8, 8, requires_grad=True)
    expected = once(net, x)
    ours = adapters.accelerate(net, inplace=True)
    assert ours.norm.refusal() is None
    assert (once(ours, x) != expected).double().mean() < 1e-3


def test_small_norms_stay_apart_in_eval_mode_on_a_cpu():
    ours = adapters.accelerate(small()).eval()
    norm = ours[1]
    assert not norm.pays(torch.empty(2**20 - 1))
    assert norm.pays(torch.empty(2**20))
    assert norm.train().pays(torch.empty(1))
