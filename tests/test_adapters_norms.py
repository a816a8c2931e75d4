"""A BatchNorm fused with the neuron behind it: whoever else reads its output sees what it would see without us."""

import copy

import pytest
import torch
from accelerated import train
from torch import nn
from torch.nn.utils import fusion, parametrize

from snnkern import adapters
from snnkern.adapters import _fused
from snnkern.adapters._handed import Handed

neuron = pytest.importorskip('spikingjelly.activation_based.neuron', reason='SpikingJelly is not installed')
layer = pytest.importorskip('spikingjelly.activation_based.layer')
functional = pytest.importorskip('spikingjelly.activation_based.functional')
X = (4, 2, 3, 8, 8)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(_fused, 'LARGE', 0)


class Net(nn.Module):
    """keeps: what forward does with the norm's output besides."""

    def __init__(self, keeps=None):
        super().__init__()
        self.seq = layer.SeqToANNContainer(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.lif = neuron.LIFNode(step_mode='m')
        self.keeps, self.taps = keeps, []

    def forward(self, x):
        y = self.seq(x)
        if self.keeps == 'attribute':
            self.last = y
        if self.keeps == 'list':
            self.taps.append(y)
        s = self.lif(y)
        return (s, y) if self.keeps == 'training' and self.training else s


def pair(keeps=None, training=True):
    """A network and its accelerated copy, with statistics that matter."""
    net = Net(keeps)
    with torch.no_grad():
        net.seq[1].running_mean.normal_()
        net.seq[1].running_var.uniform_(0.5, 2)
    net.train(False)
    ours = adapters.accelerate(net)
    assert [row.how for row in adapters.explain(ours).rows] == ['fused with the neuron behind it', 'fused']
    return net.train(training), ours.train(training)


def run(net, x):
    functional.reset_net(net)
    return net(x)


def same(net, ours, call=run):
    x = torch.randn(X)
    (expected, wanted), (actual, got) = train(net, call, x), train(ours, call, x)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), e, rtol=1e-4, atol=1e-5)
    for name, grad in wanted.items():
        if grad is None:
            continue
        assert (got[name] - grad).norm() <= 1e-3 * grad.norm() + 1e-4, name
    for (name, a), b in zip(ours.named_buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    'read',
    [
        lambda net, x: net.seq(x),
        lambda net, x: net.seq(x).relu() + 1,
        lambda net, x: nn.Sequential(net.seq, nn.ReLU())(x),
        lambda net, x: copy.deepcopy(net.seq)(x),
        lambda net, x: torch.stack([net.seq(x), net.seq(x)]),
        lambda net, x: (lambda y: (net.lif(y), y.square()))(net.seq(x)),
        lambda net, x: (lambda y: (y.square(), net.lif(y)))(net.seq(x)),
        lambda net, x: net.lif(net.seq(x).flatten(0, 1).unflatten(0, (4, 2))),
        lambda net, x: net.lif(net.seq(x).transpose(3, 4)),
        lambda net, x: net.lif(net.seq[0](x.flatten(0, 1)).unflatten(0, (4, 2))),
    ],
)
def test_other_readers(read, training):
    net, ours = pair(training=training)

    def call(n, x):
        functional.reset_net(n)
        return read(n, x)

    same(net, ours, call)


@pytest.mark.parametrize('keeps', ['attribute', 'list', 'training'])
def test_what_forward_keeps(keeps):
    net, ours = pair(keeps)

    def call(n, x):
        s = run(n, x)
        kept = {'attribute': lambda: n.last, 'list': lambda: n.taps[-1], 'training': lambda: s[1]}[keeps]()
        return s, kept + 0

    same(net, ours, call)


def replaced(n):
    n.lif = neuron.LIFNode(3.0, step_mode='m')


def no_neuron(n):
    n.lif = nn.ReLU()


def folded(n):
    n.seq[0] = fusion.fuse_conv_bn_eval(n.seq[0], n.seq[1])
    n.seq[1] = nn.Identity()


def other_norm(n):
    new = nn.BatchNorm2d(4)
    new.load_state_dict(n.seq[1].state_dict())
    n.seq[1] = new.train(n.training)


def hooked(n):
    n.seq.register_forward_hook(lambda module, args, out: out * 0.5)


def hooked_backward(n):
    n.seq[1].register_full_backward_pre_hook(lambda module, grads: (grads[0] * 2,))


@pytest.mark.parametrize('change', [replaced, no_neuron, folded, other_norm, hooked, hooked_backward])
def test_a_network_that_is_changed_later(change):
    net, ours = pair(training=change is not folded)
    for n in (net, ours):
        change(n)
    same(net, ours)
    same(net, adapters.accelerate(ours, inplace=True) if change in (replaced, hooked) else ours)


@pytest.mark.parametrize('setting', [('track_running_stats', False), ('num_batches_tracked', None), ('momentum', None)])
def test_settings_of_the_norm_count_when_they_change(setting):
    net, ours = pair()
    for n in (net, ours):
        setattr(n.seq[1], *setting)
    for _ in range(2):
        same(net, ours)


@pytest.mark.parametrize(
    ('norm', 'shape'),
    [(nn.BatchNorm2d(4), (3, 4, 4, 5)), (nn.BatchNorm2d(4), (3, 4, 6, 5)), (nn.BatchNorm1d(4), (6, 4))],
)
def test_inputs_without_a_batch(norm, shape):
    net = nn.Sequential(norm, neuron.LIFNode(step_mode='m'))
    x = torch.randn(shape)
    torch.testing.assert_close(run(adapters.accelerate(net), x), run(net, x))


def test_norms_can_be_taken_apart_again():
    _, ours = pair()
    apart = adapters.accelerate(ours, norms=False)
    assert type(apart.seq[1]) is nn.BatchNorm2d


def test_what_goes_around_torch_functions_is_an_error():
    _, ours = pair()
    y = ours.seq(torch.randn(X))
    assert isinstance(y, Handed)
    with torch._C.DisableTorchFunctionSubclass(), pytest.raises(RuntimeError, match='norms=False'):
        y + 1


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


@pytest.mark.parametrize('view', [lambda y: y, lambda y: y.unsqueeze(0)], ids=['itself', 'view'])
def test_a_handwritten_function_is_an_error_rather_than_no_gradient(view):
    _, ours = pair()
    y = view(ours.seq(torch.randn(X)))
    assert isinstance(y, Handed)
    doubled = Doubled.apply(y)
    assert torch.equal(doubled, 2 * y.normalised())
    with pytest.raises(RuntimeError, match=r'autograd\.Function .*norms=False'):
        doubled.sum().backward()
    with torch.no_grad():
        assert not Doubled.apply(ours.seq(torch.randn(X))).requires_grad


def test_classes_made_of_ours():
    net = nn.Sequential(nn.BatchNorm2d(4), neuron.LIFNode(step_mode='m')).eval()
    ours = adapters.accelerate(net)

    class Twice(nn.Module):
        def forward(self, w):
            return 2 * w

    for n in (net, ours):
        parametrize.register_parametrization(n[0], 'weight', Twice())
    x = torch.randn(3, 4, 5, 5)
    expected = nn.functional.batch_norm(x, torch.zeros(4), torch.ones(4), torch.full((4,), 2.0))
    torch.testing.assert_close(run(ours, x), run(net[1], expected))
    with pytest.raises(TypeError, match='was made of an accelerated class'):
        adapters.undo(ours, inplace=True)


def test_tracing_changes_nothing():
    class Counting(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer('count', torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return super().forward(x) * torch.rand(())

    net, state = Counting(), torch.get_rng_state()
    assert adapters.accelerate(net).count == net.count == 0
    assert torch.equal(state, torch.get_rng_state())


def test_integers_are_the_librarys():
    x = torch.randint(0, 3, (5, 4, 8, 8))
    for mode in ('s', 'm'):
        net = neuron.IFNode(2.0, None, step_mode=mode)
        ours = adapters.accelerate(net)
        assert torch.equal(run(ours, x).double(), run(net, x).double())
    assert torch.equal(adapters.accelerate(nn.Sequential(net, nn.MaxPool2d(2)))[1](x), nn.MaxPool2d(2)(x))
