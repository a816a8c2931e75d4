"""What autograd saves of spikes, packed: gradients to the bit, less memory, and what must not break."""

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import snnkern
from snnkern import Burst, Integer, Neuron, Soft, Ternary, compress_saved_spikes
from snnkern.charges import IF
from snnkern.fires import FIRES, Adaptive, Binary, MultiSpike, Signed, SignedMemory
from snnkern.functional import lateral_pool2d, lif, multistep
from snnkern.ops import saved as ops_saved

T, B = 4, 2
NEURONS = {
    'binary': Neuron(),
    'real units': Neuron(fire=Binary(0.7, real_units=True)),
    'burst': Neuron(IF(), Burst(0.5, 5), Soft()),
    'burst in real units': Neuron(IF(), Burst(0.37, 200, real_units=True), Soft()),
    'integer': Neuron(IF(), Integer(0.5, 4), Soft()),
    'ternary': Neuron(IF(), Ternary(0.5), Soft()),
    'signed': Neuron(IF(), Signed.leaky(0.1, 0.5, real_units=True), Soft()),
    'memory': Neuron(IF(), SignedMemory(0.5, 7), Soft()),
    'adaptive': Neuron(fire=Adaptive(0.5, 0.1)),
    'multi-spike': Neuron(fire=MultiSpike(1.0, 9)),
}


class Net(nn.Module):
    """Convolution, neuron, max pool (of torch), convolution, neuron, average pool, linear layer."""

    def __init__(self, neuron=None):
        super().__init__()
        torch.manual_seed(1)
        self.convolutions = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)])
        self.head = nn.Linear(8 * 16, 5)
        self.neuron = neuron or Neuron()

    def forward(self, x):
        s = multistep(self.convolutions[0](x.flatten(0, 1)).unflatten(0, x.shape[:2]), self.neuron)
        s = nn.functional.max_pool2d(s.flatten(0, 1), 2)
        s = multistep(self.convolutions[1](s).unflatten(0, x.shape[:2]), self.neuron)
        s = nn.functional.avg_pool2d(s.flatten(0, 1), 2)
        return self.head(s.flatten(1)).unflatten(0, x.shape[:2]).mean(0)


def images():
    return 3 * torch.randn(T, B, 3, 16, 16)


def gradients(net, loss):
    return torch.autograd.grad(loss, list(net.parameters()))


def same(actual, expected):
    return all(a.equal(e) for a, e in zip(actual, expected, strict=True))


@pytest.mark.parametrize('neuron', NEURONS.values(), ids=NEURONS)
@pytest.mark.parametrize('channels_last', [False, True])
def test_gradients_are_equal_to_the_bit(neuron, channels_last):
    net, x = Net(neuron), images()
    if channels_last:
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, B))
    expected = gradients(net, net(x).square().mean())
    with compress_saved_spikes() as saved:
        loss = net(x).square().mean()
    assert same(gradients(net, loss), expected)
    report = saved.report()
    assert report.compressed >= 2, 'neither the spikes nor what the pool made of them'
    assert report.bytes_after < report.bytes_before


def test_report():
    """x of each op, spikes, weights and what pools save, by distinct memory: bits are 32 times smaller."""
    with compress_saved_spikes() as saved:
        s = lif(torch.randn(T, 8192, requires_grad=True))
        (s * s.detach().view(-1).view_as(s)).sum()
    report = saved.report()
    assert (report.tensors, report.compressed) == (2, 1), 's is one piece of memory, however it is seen'
    assert report.bytes_before == 2 * T * 8192 * 4
    assert report.bytes_after == T * 8192 * 4 + T * 8192 // 8
    assert str(report) == '1 of 2 saved tensors as bits or bytes: 0.2 -> 0.1 MiB'


def test_what_is_left_alone():
    """Small tensors, parameters, views with gaps, subclasses, whole numbers, and what holds no spikes."""

    class Special(torch.Tensor):
        pass

    w = torch.randn(8192, requires_grad=True)
    ones = torch.ones(8192)
    for other in (
        ones[:1000],
        nn.Parameter(ones, requires_grad=False),
        torch.ones(2 * 8192)[::2],
        ones.as_subclass(Special),
        torch.randn(8192),
        -ones * 0,
        ones.int(),
    ):
        with compress_saved_spikes() as saved:
            (w[: other.numel()] * other).sum().backward()
        assert saved.report().compressed == 0
    with compress_saved_spikes(min_bytes=0) as saved:
        w[:2] * ones[:2]
    assert saved.report().compressed == 1


def test_memory_is_given_back():
    """The float spikes are gone after forward, the packed ones after backward."""
    w = torch.randn(8192, requires_grad=True)
    s = lif(torch.rand(T, 8192) * 3)
    values, alive = s.clone(), weakref.ref(s.untyped_storage())
    with compress_saved_spikes() as saved:
        loss = (w * s).sum()
    del s
    gc.collect()
    assert alive() is None
    pieces = list(saved._pieces.values())
    assert len(pieces) == 1
    loss.backward()
    assert w.grad.equal(values.sum(0))
    del loss, pieces
    assert len(saved._pieces) == 0


def test_unpacked_once_while_alive(monkeypatch):
    calls, plain = [], ops_saved.unpack
    monkeypatch.setattr(ops_saved, 'unpack', lambda packed: calls.append(1) or plain(packed))
    a, s = torch.randn(8192, requires_grad=True), lif(torch.rand(T, 8192) * 3)
    with compress_saved_spikes():
        first, second = a * s, a * s.flatten().view_as(s)
    one, two = first.grad_fn._saved_other, second.grad_fn._saved_other
    assert len(calls) == 1
    assert one.data_ptr() == two.data_ptr()
    assert one.equal(s)
    del one, two
    assert first.grad_fn._saved_other.equal(s)
    assert len(calls) == 2


def test_changed_in_place_before_it_is_saved():
    """Tagged spikes that are none any more are kept as they are; a new version is not taken for the old one."""
    w = torch.ones(8192, requires_grad=True)
    with compress_saved_spikes() as saved:
        s = lif(torch.rand(T, 8192) * 3)
        first, spikes = (w * s).sum(), s.clone()
        s.mul_(0.3)
        second = (w * s).sum()
        s.zero_()
        third = (w * s).sum()
    assert saved.report().compressed == 2
    assert torch.autograd.grad(third, w)[0].eq(0).all()
    assert torch.autograd.grad(first, w)[0].equal(spikes.sum(0))
    with pytest.raises(RuntimeError, match=r'changed in place: shape \(4, 8192\).* version 2, expected 1'):
        torch.autograd.grad(second, w)


def test_autograds_own_check_remains():
    """Hooks switch it off; ours is as strict."""
    w, x = torch.randn(8192, requires_grad=True), torch.randn(8192)
    with compress_saved_spikes():
        y = (w * x).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match='changed in place'):
        y.backward()


def test_tags():
    """By neuron, for GPUs, where nobody looks; none where a threshold is a tensor or counts are too many."""
    kinds = {name: ops_saved._kind(neuron.spec) for name, neuron in NEURONS.items()}
    assert kinds == {
        'binary': ('bits', 1.0),
        'real units': ('bits', 0.7),
        'burst': ('counts', 1.0),
        'burst in real units': ('counts', 0.37),
        'integer': ('counts', 1.0),
        'ternary': ('signed', 1.0),
        'signed': ('signed', 0.5),
        'memory': ('signed', 1.0),
        'adaptive': ('bits', 1.0),
        'multi-spike': ('counts', 1.0),
    }
    assert {type(neuron.fire) for neuron in NEURONS.values()} == set(FIRES)
    assert ops_saved._kind(f'{NEURONS["real units"].spec} @2 v_threshold') is None
    assert ops_saved._kind(f'{Neuron().spec} @2 v_threshold') == ('bits', 1.0)
    for fire in (Burst(1.0, 256), Ternary(1.0, 128), Binary(-1.0, real_units=True)):
        assert ops_saved._kind(Neuron(IF(), fire, Soft()).spec) is None
    assert not ops_saved._tags.of
    with compress_saved_spikes():
        s = lif(torch.randn(T, 100))
        assert ops_saved._tags.get(s.flatten()).kind == 'bits'
        pooled = ops_saved.tag(s[:1].clone(), like=s)
        assert ops_saved._tags.get(pooled).kind == 'bits'
        units = multistep(torch.randn(T, 1, 1, 4, 4), Neuron(IF(), Binary(0.75, real_units=True)))
        assert ops_saved._tags.get(lateral_pool2d(units, 2)) is None, 'the pool takes a spike to be worth 1'
        assert ops_saved._tags.get(lateral_pool2d(units, 2, scale=0.75)).scale == 0.75
        s.add_(1)
        assert ops_saved._tags.get(s) is None
        assert ops_saved._tags.get(ops_saved.tag(s.clone(), like=s)) is None
        for _ in range(1000):
            lif(torch.randn(T, 100))
        assert len(ops_saved._tags.of) < 200, 'tags of tensors that are gone stay'
    assert not ops_saved._tags.of


def test_a_negated_view_is_another_tensor():
    s, w = lif(torch.randn(T, 2048)), torch.randn(2048, 3, requires_grad=True)
    with compress_saved_spikes():
        y = (s @ w).sum() + 2 * (torch._neg_view(s) @ w).sum()
    y.backward()
    torch.testing.assert_close(w.grad, -s.sum(0)[:, None].expand_as(w.grad))


def test_without_a_look(monkeypatch):
    """As on a GPU: tagged and unchanged spikes are packed unchecked, nothing else is."""
    tried = []

    def look(t, kind, scale, check, backend=''):
        tried.append(kind)
        return plain(t, kind, scale, False, backend)

    plain = ops_saved.try_pack
    monkeypatch.setattr(ops_saved, 'try_pack', look)
    monkeypatch.setattr(ops_saved, 'smallest', lambda *_: None)
    for neuron in NEURONS.values():
        net, x = Net(neuron), images()
        expected = gradients(net, net(x).square().mean())
        with compress_saved_spikes() as saved:
            loss = net(x).square().mean()
        assert same(gradients(net, loss), expected)
        assert saved.report().compressed == 2
    assert len(tried) == 2 * len(NEURONS)


def test_errors():
    with pytest.raises(ValueError, match='min_bytes must be >= 0'):
        compress_saved_spikes(-1)
    assert snnkern.compress_saved_spikes is compress_saved_spikes


@given(rate=st.floats(0, 1), size=st.integers(1, 3000), kind=st.sampled_from(list(NEURONS)), seed=st.integers(0, 9))
def test_any_spikes(rate, size, kind, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(3, size, generator=g) * 4 * rate
    w = torch.randn(size, 4, generator=g, requires_grad=True)
    expected = torch.autograd.grad((multistep(x, NEURONS[kind]) @ w).square().sum(), w)
    with compress_saved_spikes(min_bytes=0):
        loss = (multistep(x, NEURONS[kind]) @ w).square().sum()
    assert same(torch.autograd.grad(loss, w), expected)
