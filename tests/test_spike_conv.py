"""Convolutions of spikes by events against torch's: results, gradients, and when they are left to torch."""

import copy
from itertools import product

import pytest
import torch
from torch import nn

import snnkern.nn
from snnkern.backends.native.device import DEVICES
from snnkern.models.spiking.vgg import SpikingVGG
from snnkern.nn import SpikeConv2d, reset, spike_convolutions
from snnkern.ops import spike_conv

densest = spike_conv.densest
native = DEVICES['cpu'].load()
pytestmark = pytest.mark.skipif(isinstance(native, str), reason=str(native))


def spikes(*shape, share=0.1, most=1):
    """Whole numbers, most of them 0; of both signs if most > 1."""
    least = 1 if most == 1 else -most
    return torch.randint(least, most + 1, shape).float() * (torch.rand(shape) < share)


def pair(*sizes, **options):
    """A convolution of torch and the same by events."""
    plain = nn.Conv2d(*sizes, **options)
    return plain, spike_convolutions(copy.deepcopy(plain))


def check(plain, events, x):
    """Outputs and gradients are equal up to rounding."""
    found = []
    for conv in (plain, events):
        own = x.clone().requires_grad_()
        out = conv(own)
        generator = torch.Generator().manual_seed(1)
        out.backward(torch.randn(out.shape, generator=generator))
        found.append([out.detach(), own.grad, *(p.grad for p in conv.parameters())])
        conv.zero_grad()
    for expected, got in zip(*found, strict=True):
        assert expected.shape == got.shape
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * float(1 + expected.abs().max()))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Events run on tensors as small as those of a test, too."""
    monkeypatch.setattr(spike_conv, 'densest', lambda x, weight, window: 0.5)


@pytest.fixture(params=native.instruction_sets() if not isinstance(native, str) else [])
def isa(request):
    before = native.instruction_set()
    native.choose_instruction_set(request.param)
    yield
    native.choose_instruction_set(before)


PLACES = [(1, 0, 1), (1, (1, 2), 2), ((2, 3), 1, 1), (3, 0, 2)]  # stride, padding, dilation
WINDOWS = [
    {'kernel_size': kernel, 'stride': stride, 'padding': padding, 'dilation': dilation}
    for kernel, (stride, padding, dilation) in product((1, 3, (2, 5)), PLACES)
]


@pytest.mark.parametrize('window', WINDOWS, ids=str)
def test_windows(isa, window):
    plain, events = pair(5, 19, **window)
    check(plain, events, spikes(8, 5, 11, 13, share=0.03, most=3))
    assert events.last.startswith('events: '), events.last


@pytest.mark.parametrize(('N', 'channels'), [(1, (1, 1)), (2, (16, 32)), (3, (17, 33)), (12, (40, 70))], ids=str)
def test_channels(isa, N, channels):
    plain, events = pair(*channels, 3, padding='same', bias=False)
    x = spikes(N, channels[0], 7, 6, most=127).to(memory_format=torch.channels_last)
    x[0, 0, 0, :2] = torch.tensor([127.0, -127.0])
    check(plain, events, x)
    assert events.last.startswith('events: '), events.last


def test_threads():
    """Gradients of weights are the same to the bit on any number of threads; none need be wanted."""
    _, events = pair(33, 64, 3, padding=1)
    x, before, found = spikes(32, 33, 16, 16), torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        events(x).square().sum().backward()
        found.append(events.weight.grad)
        events.zero_grad()
    torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
    with torch.no_grad():
        assert not events(x).requires_grad
    assert events.last.startswith('events: ')


FALLBACKS = {
    'not all are whole numbers': (pair(3, 4, 3), torch.rand(4, 3, 9, 9)),
    'whole numbers of -127 to 127': (pair(3, 4, 3), torch.full((4, 3, 9, 9), 128.0)),
    '100.0% of its input are spikes, and events pay up to 50.0%': (pair(3, 4, 3), torch.ones(4, 3, 9, 9)),
    'no groups, it has 2': (pair(4, 4, 3, groups=2), torch.zeros(4, 4, 9, 9)),
    "no padding mode 'circular'": (pair(3, 4, 3, padding=1, padding_mode='circular'), torch.zeros(4, 3, 9, 9)),
    'no uneven padding': (pair(3, 4, 2, padding='same'), torch.zeros(4, 3, 9, 9)),
    'events need float32, not float64': (pair(3, 4, 3, dtype=torch.float64), torch.zeros(4, 3, 9, 9).double()),
    'shape (3, 9, 9)': (pair(3, 4, 3), torch.zeros(3, 9, 9)),
    'shape (0, 3, 9, 9)': (pair(3, 4, 3), torch.zeros(0, 3, 9, 9)),
}


@pytest.mark.filterwarnings('ignore:Using padding=')  # torch's own
@pytest.mark.parametrize('why', FALLBACKS)
def test_left_to_torch(why):
    (plain, events), x = FALLBACKS[why]
    assert torch.equal(events(x), plain(x))
    assert events.explain().startswith('torch: ')
    assert why in events.explain()
    assert why in repr(events)


def test_where_events_pay(monkeypatch):
    monkeypatch.setattr(spike_conv, 'densest', densest)
    x = spikes(16, 64, 16, 16)
    (_, large), (_, strided), (_, small) = pair(64, 64, 3), pair(64, 128, 3, stride=2), pair(64, 64, 1)
    found = [densest(x, conv.weight, conv._window()) for conv in (large, strided, small)]
    assert 0.3 < found[0] < 0.5
    assert 0 < found[1] < found[0] / 2
    assert found[2] == densest(x[:1, :, :4, :4], large.weight, large._window()) == 0
    small(x)
    assert small.explain() == 'torch: it is too small for events to pay'


def test_nan_is_no_spike():
    plain, events = pair(3, 4, 3)
    x = torch.zeros(4, 3, 40, 40)
    x[3, 2, 39, 39] = torch.nan
    torch.testing.assert_close(events(x), plain(x), rtol=0, atol=0, equal_nan=True)
    assert 'not all are whole numbers' in events.last


def test_autocast_and_transforms_are_left_to_torch():
    _, events = pair(3, 4, 3)
    x = spikes(4, 3, 9, 9)
    with torch.autocast('cpu', torch.bfloat16):
        assert events(x).dtype == torch.bfloat16
    assert events.explain() == 'torch: autocast is on'
    torch.func.vmap(events)(x.unsqueeze(0))
    assert 'torch.func' in events.explain()


def test_without_kernels(monkeypatch):
    monkeypatch.setitem(DEVICES, 'cpu', DEVICES['cpu'].__class__(lambda: 'it was not built', DEVICES['cpu'].where))
    plain, events = pair(3, 4, 3)
    x = spikes(4, 3, 9, 9)
    assert torch.equal(events(x), plain(x))
    assert events.explain() == 'torch: it was not built'


def test_errors_are_those_of_torch():
    for conv in pair(3, 4, 3):
        with pytest.raises(RuntimeError, match='to have 3 channels, but got 5'):
            conv(torch.zeros(1, 5, 9, 9))
        with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
            conv(torch.zeros(1, 3, 2, 2))


def test_second_derivatives_are_refused():
    _, events = pair(3, 4, 3)
    out = events(spikes(4, 3, 9, 9))
    (grad,) = torch.autograd.grad(out.square().sum(), events.weight, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


def test_networks():
    """State dicts stay, subclasses are left alone, and a step of training is the same up to rounding."""
    torch.manual_seed(0)
    plain = SpikingVGG(2, (8, 8), 10, depth=9, width=4, hidden=8)
    events = copy.deepcopy(plain)
    assert spike_convolutions(events) is events
    assert events.state_dict().keys() == plain.state_dict().keys()
    convs = [m for m in events.modules() if isinstance(m, nn.Conv2d)]
    assert convs
    assert all(type(m) is SpikeConv2d for m in convs)
    x = torch.rand(4, 3, 2, 8, 8)
    found = []
    for net in (plain, events):
        loss = net(x).square().mean()
        loss.backward()
        reset(net)
        found.append([loss.detach(), *(p.grad for p in net.parameters())])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


def test_subclasses_are_left_alone():
    class Own(nn.Conv2d):
        pass

    net = nn.Sequential(Own(1, 1, 1), snnkern.nn.SeqToANNContainer(nn.Conv2d(1, 1, 1)))
    assert [type(m) for m in spike_convolutions(net).modules() if isinstance(m, nn.Conv2d)] == [Own, SpikeConv2d]
