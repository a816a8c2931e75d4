"""What forwards do besides calls: `unroll` says so, or follows."""

import dataclasses
import random

import pytest
import torch
from torch import nn
from unrolled import Mlp, same

from snnkern.adapters._unroll import unroll

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed')
np = pytest.importorskip('numpy', reason='NumPy is not installed')


@dataclasses.dataclass
class Result:
    spikes: torch.Tensor


class Named(dict):
    """No pytree."""


class Net(Mlp):
    """A loop over `step`, which gives the current, and what it returns."""

    def __init__(self, step=None, result=None, num_steps=6):
        super().__init__(lambda: snn.Leaky(0.9), 20, 30, num_steps)
        self.step, self.result = step or (lambda net, x, t: net.fc1(x)), result or (lambda spk, mem: spk)
        self.rec, self.gains, self.options = [], [1.0] * 6, {'gain': (1.0,)}
        self.scale, self.norm = nn.Parameter(torch.tensor(0.5)), nn.BatchNorm1d(30)

    def forward(self, x, scale=None):
        mem1, mem2, rec = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for t in range(self.num_steps):
            cur = self.step(self, x, t) * (1.0 if scale is None else float(scale[t]))
            spk, mem1 = self.lif1(cur, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk), mem2)
            rec.append(spk2)
        return self.result(torch.stack(rec), mem2)


def inputs():
    return torch.rand(4, 20) * 6


def clamped(net, x, t):
    net.scale.data.clamp_(0, 1)
    return net.fc1(x) * net.scale


def replaced(net, x, t):
    net.scale.data = net.scale.data.clamp(0, 1)
    return net.fc1(x) * net.scale


def hooked(net, x, t, always=True):
    cur = net.fc1(x)
    if always or cur.requires_grad:
        cur.register_hook(lambda grad: grad * 0.1)
    return cur


def kept(net, x, t):
    if t == 0:
        net.rec.clear()
    net.rec.append(net.fc1(x))
    return net.rec[-1]


def burned_in(net, x, t):
    torch.set_grad_enabled(t >= 2)
    return net.fc1(x)


STEPS = {
    'clamped': (clamped, 'clamp_ writes into'),
    'replaced': (replaced, r'forward sets \.data'),
    'hooked': (hooked, 'forward calls register_hook'),
    'hooked with gradients': (lambda net, x, t: hooked(net, x, t, False), 'forward calls register_hook'),
    'kept': (kept, r'keeps something \(rec\)'),
    'python': (lambda net, x, t: net.fc1(x) * (2 if random.random() < 0.01 else 1), "random numbers \\(Python's"),
    'numpy': (lambda net, x, t: net.fc1(x) * float(np.random.rand()), "random numbers \\(Python's or NumPy's"),
    'nonzero': (lambda net, x, t: net.fc1(x) * len((x > 9).nonzero()), r'depends on values \(nonzero\)'),
    'mask': (lambda net, x, t: net.fc1(x) * x[x > 1].sum(), r'depends on values \(__getitem__\)'),
    'norm twice': (lambda net, x, t: net.norm(net.fc1(x * t)) + net.norm(net.fc1(x)), 'is called twice in a step'),
}


@pytest.mark.parametrize('case', STEPS)
def test_steps_that_cannot_be_repeated(case):
    step, message = STEPS[case]
    net = Net(step)
    if case == 'norm twice':
        net.step = lambda net, x, t: net.norm(net.fc1(x[t])) + net.norm(net.fc1(x[t]) * 3)
    fast = unroll(net)
    with pytest.raises(ValueError, match=message):
        fast(inputs().expand(6, 4, 20) if case == 'norm twice' else inputs())
    assert fast.rec == []


def test_gradients_for_some_steps():
    fast = unroll(Net(burned_in))
    with torch.enable_grad(), pytest.raises(ValueError, match="'lif1' is called with and without gradients"):
        fast(inputs())
    with pytest.raises(ValueError, match='forward returns a Result'):
        unroll(Net(result=lambda spk, mem: Result(spk)))(inputs())
    with pytest.raises(ValueError, match='forward returns a Named'):
        unroll(Net(result=lambda spk, mem: Named(spk=spk)))(inputs())


def test_arguments():
    net, x = Net(), inputs()
    fast = unroll(net)
    for scale in (np.linspace(0.5, 1, 2000), np.linspace(0.2, 0.9, 2000)):
        assert torch.equal(fast(x, scale), net(x, scale))
    with pytest.raises(ValueError, match='forward is given a Named'):
        fast(x, Named())
    for i in range(20):
        fast(x, [i / 20] * 6)
    assert len(fast._snnkern_unroll.plans) == 16


def test_containers_and_hooks_that_change():
    net, x = Net(lambda net, x, t: net.fc1(x) * net.gains[t] * net.options['gain'][0] * net.threshold), inputs()
    net.threshold = 1.0
    fast, seen = unroll(net), []
    fast(x)
    for one in (net, fast):
        one.gains[2:] = [0.3] * 4
    same(net(x), fast(x), [net.fc1.weight])
    for one in (net, fast):
        one.options['gain'] = (1.7,)
    same(net(x), fast(x), [net.fc1.weight])
    fast.fc2.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    fast(x)
    seen.clear()
    fast(x)
    assert seen == [4] * 6


def test_attributes_of_neurons():
    neuron = pytest.importorskip('spikingjelly.activation_based.neuron', reason='SpikingJelly is not installed')
    functional = pytest.importorskip('spikingjelly.activation_based.functional')

    class Scaled(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x) * 4 * self[1].v_threshold)

    net, x = Scaled(nn.Linear(6, 8), neuron.LIFNode()), torch.rand(5, 3, 6) * 3
    fast = unroll(net)
    for threshold in (1.0, 3.0):
        net[1].v_threshold = fast[1].v_threshold = threshold
        functional.reset_net(net)
        functional.reset_net(fast)
        assert torch.equal(fast(x), torch.stack([net(now) for now in x]))


class Steps(nn.Module):
    """A loop over what x [T, B, 20] has. hidden: the neuron keeps its state."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.fc, self.lif = hidden, nn.Linear(20, 8), snn.Leaky(0.9, init_hidden=hidden)

    def forward(self, x):
        mem, rec = None if self.hidden else self.lif.init_leaky(), []
        for now in x:
            spk = self.lif(self.fc(now) * 3) if self.hidden else None
            if not self.hidden:
                spk, mem = self.lif(self.fc(now) * 3, mem)
            rec.append(spk)
        return torch.stack(rec)


def test_a_first_call_of_one_step():
    net = Steps(False)
    fast = unroll(net)
    for num_steps in (1, 5):
        x = torch.rand(num_steps, 4, 20)
        assert torch.equal(fast(x), net(x))
    fast, x = unroll(Steps(True)), torch.rand(5, 4, 20)
    with pytest.raises(ValueError, match='pass one_step=False or one_step=True'):
        fast(x[:1])
    assert fast(x).shape == fast(x[:1].expand(5, 4, 20)).shape == (5, 4, 8)
    assert fast(x[:1]).shape == (1, 4, 8)  # by now it is known to be a loop
    one = unroll(nn.Sequential(nn.Linear(20, 8), snn.Leaky(0.9, init_hidden=True)))
    assert one(x[:1]).shape == (1, 4, 8)  # a step has the sizes of x


def test_a_wrapped_forward_of_a_module():
    """As profilers wrap it: recording runs the library's own module."""
    net = Net()
    fast = unroll(net)
    neuron = next(m for m in fast.modules() if hasattr(m, 'many'))
    own = neuron.forward
    neuron.forward = lambda *args: own(*args)
    x = torch.rand(4, 20) * 3
    same(net(x), fast(x), [net.fc1.weight])
