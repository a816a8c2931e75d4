"""Networks with a loop over steps, run layer by layer: the same results, gradients and states; what cannot is said."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unrolled import Conv, Mlp, loop, louder, plan, same, sequential

from snnkern import adapters
from snnkern.adapters._unroll import unroll

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed')
surrogate = pytest.importorskip('snntorch.surrogate')
utils = pytest.importorskip('snntorch.utils')


def leaky(beta=0.9, **options):
    return lambda **more: snn.Leaky(beta, **options, **more)


def small(**options):
    return Mlp(leaky(**options), 20, 30, 6)


@pytest.mark.parametrize('before', [False, True], ids=['as it is', 'accelerated'])
def test_tutorial_5(before):
    net, x = Mlp(leaky(0.95)), torch.rand(8, 784, requires_grad=True)
    fast = unroll(adapters.accelerate(net) if before else net)
    parameters = list(fast.parameters())
    expected = net(x)
    if not before:
        assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))
        same(expected, fast(x), [x, *parameters])
    else:
        same(expected, fast(x), [x])
    assert plan(fast) == [*[('single', 1)] * 3, ('neuron', 25), ('batch', 25), ('neuron', 25), *[('single', 1)] * 2]
    assert fast.state_dict().keys() == net.state_dict().keys()
    assert type(net.lif1) is snn.Leaky
    assert isinstance(fast, Mlp)


@pytest.mark.parametrize('mechanism', ['subtract', 'zero', 'none'])
def test_tutorial_6(mechanism):
    net = Conv(leaky(0.5, spike_grad=surrogate.fast_sigmoid(slope=25), reset_mechanism=mechanism))
    x = torch.rand(4, 1, 28, 28, requires_grad=True)
    fast = unroll(net)
    same(net(x), fast(x), [x, *net.parameters()])
    assert {kind for kind, count in plan(fast) if count == 1} == {'single'}
    assert sum(kind == 'batch' for kind, _ in plan(fast)) == 4


def test_a_forward_of_one_step():
    net = sequential(leaky(0.8, init_hidden=True, learn_beta=True)).eval()
    x = torch.randn(5, 3, 2, 8, 8, requires_grad=True)
    fast = unroll(net)
    for _ in range(2):  # states go on
        same(loop(net, x), fast(x), [x, *(p for p in net.parameters() if p.shape or p is net[2].beta)])
        for module in (*net.modules(), *fast.modules()):
            if isinstance(module, snn.Leaky):
                module.mem = module.mem.detach()
    assert torch.equal(fast[2].mem, net[2].mem)
    utils.reset(fast)
    assert not any(layer.mem.any() for layer in (fast[2], fast[6]))


def test_one_input_for_all_steps():
    net, x = sequential(leaky(0.8, init_hidden=True)).eval(), torch.randn(3, 2, 8, 8)
    fast = unroll(net, num_steps=5)
    same(loop(net, x.expand(5, *x.shape)), fast(x), list(net[5].parameters()))
    assert plan(fast)[:2] == [('single', 1)] * 2  # the first convolution is done once


class Habits(nn.Module):
    """What people do with steps: inputs and outputs in every form, a Synaptic layer, sums, pools, two outputs."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.fc1, self.fc2 = nn.Linear(20, 30), nn.Linear(30, 10)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.lif1, self.lif2 = snn.Synaptic(0.8, 0.7), snn.Leaky(0.9, learn_beta=True)

    def steps(self, x):
        yield from {
            'x[t]': lambda: (x[t] for t in range(x.size(0))),
            'x[:, t]': lambda: (x[:, t] for t in range(x.shape[1])),
            'x[..., t]': lambda: (x[..., t] for t in range(x.shape[-1])),
            'for': lambda: iter(x),
            'reversed': lambda: (x[len(x) - 1 - t] for t in range(len(x))),
            'select': lambda: (x.select(1, t) for t in range(x.shape[1])),
        }[self.inputs]()

    def forward(self, x):
        syn1, mem1 = self.lif1.init_synaptic()
        mem2 = self.lif2.init_leaky()
        rec, total = [], 0
        for t, now in enumerate(self.steps(x)):
            spk1, syn1, mem1 = self.lif1(self.fc1(now) * self.scale, syn1, mem1)
            if t == 0:
                filled, count = torch.zeros(20, len(spk1), 10), torch.zeros(len(spk1), 10)
            spk2, mem2 = self.lif2(torch.relu(self.fc2(F.dropout(spk1, training=self.training))), mem=mem2)
            rec.append(spk2)
            total = total + mem2
            count += spk2
            filled[t] = spk2 * self.scale
        found = {
            'stack': lambda: torch.stack(rec, dim=1),
            'cat': lambda: torch.cat(rec),
            'mean': lambda: sum(rec) / len(rec),
            'total': lambda: (total, syn1),
            'count': lambda: count + 0.1,
            'filled': lambda: filled,
            'last': lambda: (rec[-1] + mem2, {'all': torch.stack(rec)}['all']),
        }
        return found[self.outputs]()


@pytest.mark.parametrize('inputs', ['x[t]', 'x[:, t]', 'x[..., t]', 'for', 'reversed', 'select'])
def test_inputs(inputs):
    net = Habits(inputs, 'stack').eval()
    x = torch.randn(7, 4, 20)
    x = {'x[:, t]': x.transpose(0, 1), 'x[..., t]': x.permute(1, 2, 0), 'select': x.transpose(0, 1)}.get(inputs, x)
    x = x.contiguous().requires_grad_()
    fast = unroll(net)
    same(net(x), fast(x), [x, *net.parameters()])
    whole = ['slices', 'batch', 'batch', 'neuron', 'batch', 'batch', 'neuron']
    if inputs not in ('reversed', 'x[..., t]'):
        assert [kind for kind, _ in plan(fast) if kind != 'single'] == whole


@pytest.mark.parametrize('outputs', ['stack', 'cat', 'mean', 'total', 'count', 'filled', 'last'])
def test_outputs(outputs):
    net = Habits('x[t]', outputs).eval()
    x = torch.randn(7, 4, 20, requires_grad=True)
    same(net(x), unroll(net)(x), [x, net.fc1.weight, net.fc2.bias])


def test_a_batch_norm_in_training_is_called_step_by_step():
    nets = [sequential(leaky(0.8, init_hidden=True))]
    nets.append(copy.deepcopy(nets[0]))
    fast, x = unroll(nets[1]), torch.randn(5, 3, 2, 8, 8, requires_grad=True)
    outputs = loop(nets[0], x), fast(x)
    assert nets[0][1].num_batches_tracked == nets[1][1].num_batches_tracked == 5
    torch.testing.assert_close(nets[0][1].running_var, nets[1][1].running_var)
    same(*outputs, [x])


def test_each_shape_and_mode_has_a_plan():
    net = small()
    fast = unroll(net)
    for batch in (2, 5, 2):
        same(net(x := torch.rand(batch, 20) * 3), fast(x), list(net.parameters()))
    assert len(fast._snnkern_unroll.plans) == 2
    fast.num_steps = net.num_steps = 9
    same(net(x), fast(x), list(net.parameters()))
    assert len(fast(x)[0]) == 9


def test_neurons_without_a_kernel_are_called_step_by_step():
    class Net(Mlp):
        def forward(self, x):
            (spk, mem), mem2, rec = self.lif1.init_rleaky(), self.lif2.init_leaky(), []
            for now in x:
                spk, mem = self.lif1(self.fc1(now), spk, mem)
                spk2, mem2 = self.lif2(self.fc2(spk), mem2)
                rec.append(spk2)
            return torch.stack(rec), mem2

    net, x = Net(leaky(), 20, 30), torch.randn(5, 3, 20, requires_grad=True)
    net.lif1 = snn.RLeaky(0.9, all_to_all=False)
    with pytest.warns(UserWarning, match='stay as they were .*: lif1'):
        fast = unroll(net)
    same(net(x), fast(x), [x, net.fc1.weight, net.lif1.recurrent.V])


def test_hooks_see_every_step():
    net = small()
    fast, x, seen = unroll(net), torch.rand(3, 20) * 3, []
    for name in ('fc2', 'lif1'):
        fast.get_submodule(name).register_forward_hook(lambda m, args, out, name=name: seen.append(name))
    same(net(x), fast(x), list(net.parameters()))
    seen.clear()
    fast(x)
    assert seen == ['lif1'] * 6 + ['fc2'] * 6


def test_copies_pickles_and_training():
    net, x = small(surrogate_disable=True), torch.rand(4, 20) * 3
    fast = unroll(net)
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), unroll(fast)):
        assert torch.equal(twin(x)[1], fast(x)[1])
    fast.load_state_dict({name: value * 0.9 for name, value in net.state_dict().items()})
    same(net(x * 9), fast(x * 9), [net.fc2.weight])
    net = small()
    fast, optimizer = unroll(net), torch.optim.SGD(net.parameters(), 0.1)
    before = net.fc1.weight.clone()
    fast(x)[1].square().mean().backward()
    optimizer.step()
    assert not torch.equal(fast.fc1.weight, before)


@pytest.mark.slow
def test_compiled():
    net, x = small(), torch.rand(4, 20) * 3
    fast = unroll(net)
    with torch.no_grad():
        fast(x)
    expected = net(x)
    found = torch.compile(fast, backend='aot_eager', fullgraph=True)(x)
    same(expected, found, list(net.parameters()))


def test_autocast():
    net, x = Conv(leaky(0.5)), torch.rand(4, 1, 28, 28)
    fast = unroll(net)
    with torch.autocast('cpu', torch.bfloat16):
        (spk, mem), (found, found_mem) = net(x), fast(x)
    assert (found.dtype, found_mem.dtype) == (spk.dtype, mem.dtype)
    assert (found != spk).float().mean() < 0.02
    found_mem.sum().backward()
    assert net.conv1.weight.grad.isfinite().all()


def test_spikingjelly():
    neuron = pytest.importorskip('spikingjelly.activation_based.neuron', reason='SpikingJelly is not installed')
    functional = pytest.importorskip('spikingjelly.activation_based.functional')
    net, x = sequential(lambda **_: neuron.LIFNode(2.0)).eval(), torch.randn(5, 3, 2, 8, 8, requires_grad=True) * 3
    fast = unroll(net)
    same(loop(net, x), fast(x), [*net[0].parameters()])
    functional.reset_net(net)
    functional.reset_net(fast)
    same(loop(net, x), fast(x), [*net[0].parameters()])
    assert plan(fast)[3] == ('neuron', 5)


def test_what_it_is_can_be_asked_and_undone():
    net, x = sequential(leaky(0.8, init_hidden=True)).eval(), torch.randn(5, 3, 2, 8, 8)
    fast = unroll(net)
    assert str(adapters.explain(fast)).count('unrolled') == 1
    assert torch.equal(fast[:2](x[0]), net[:2](x[0]))
    with torch.no_grad():
        expected = fast(x)
    back = adapters.undo(fast)
    utils.reset(back)
    assert [type(module) for module in back.modules()] == [type(module) for module in net.modules()]
    for actual, wanted in zip(loop(back, x), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_without_gradients():
    net, x = small(), torch.rand(4, 20) * 3
    for mode in (torch.no_grad, torch.inference_mode):
        fast = unroll(net)
        with mode():
            for actual, wanted in zip(fast(x), net(x), strict=True):
                torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)
    same(net(x), fast(x), [net.fc1.weight])


class Resetting(nn.Module):
    """A forward that begins by a reset of its neurons, which keep their states."""

    def __init__(self, neuron, reset):
        super().__init__()
        self.net = louder(nn.Sequential(nn.Linear(20, 30), neuron(), nn.Linear(30, 10), neuron()))
        self.reset = reset

    @torch.no_grad()
    def encoded(self, x):
        return self.net[0](x) * 0.1

    def forward(self, x):
        self.reset(self.net)
        return sum(self.net(now * 5 + self.encoded(now).mean()) for now in x) / len(x)


@pytest.mark.parametrize('library', ['snntorch', 'spikingjelly'])
def test_a_reset_inside_forward(library):
    if library == 'snntorch':
        net = Resetting(leaky(0.8, init_hidden=True), lambda net: [net[1].reset_mem(), net[3].reset_mem()])
    else:
        neuron = pytest.importorskip('spikingjelly.activation_based.neuron', reason='SpikingJelly is not installed')
        functional = pytest.importorskip('spikingjelly.activation_based.functional')
        net = Resetting(neuron.LIFNode, functional.reset_net)
    fast = unroll(net)
    for _ in range(3):
        x = torch.randn(5, 4, 20)
        same(net(x), fast(x), [net.net[0].weight])
    fast = unroll(net.net)  # a network in use, its states with their graph
    assert not torch.equal(fast(x), fast(x))
