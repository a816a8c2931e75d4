"""The gated, the plain and the average pool, and what all pools share: gradients, state, layouts, memory, modules."""

import copy

import pytest
import torch
from oracles_pool import by_definition, lateral_gradient, spike_max_gradient
from pools import DTYPES, FUNCTIONS, Case, channels_last, check
from torch.nn import functional as F

from snnkern import functional, nn
from snnkern.testing import assert_grads_close, assert_spikes_equal

WINDOWS = [(2,), (3, 2, 1), (3, 1, 1), ((2, 3), (1, 3), (1, 0), (2, 1), True), (4, 3, 2, 1, True), (2, 3), (5, 1, 2)]


def spikes(*size, most=1, least=0):
    return torch.randint(least, most + 1, size).double()


@pytest.mark.parametrize('mode', FUNCTIONS)
@pytest.mark.parametrize('window', WINDOWS, ids=str)
@pytest.mark.parametrize('last', [False, True])
def test_native_is_the_reference(mode, window, last, isa):
    for i, size in enumerate([(3, 2, 3, 11, 10), (2, 2, 37, 9, 8), (1, 1, 1, 5, 7), (2, 0, 3, 6, 6), (2, 70, 1, 6, 6)]):
        state = mode != 'plain' and i % 2 == 0
        check(Case(mode, window, size, DTYPES[i % 3], last, state, scale=0.7 if state else 1.0), 'native')


@pytest.mark.parametrize('mode', ['lateral', 'spike_max'])
@pytest.mark.parametrize('window', WINDOWS, ids=str)
def test_gradients_are_those_of_the_formulas(mode, window):
    """SYSTEMS.md A.6 in loops over windows, float64, with all the ties of real spikes."""
    counts = spikes(5, 2, 7, 6, most=2, least=-1)
    oracle = lateral_gradient if mode == 'lateral' else spike_max_gradient
    for backend, dtype in (('native', torch.float32), ('reference', torch.float64)):
        x = (counts * 0.5).to(dtype).requires_grad_()
        out = FUNCTIONS[mode](x, *window, scale=0.5, backend=backend)
        upstream = torch.randn(out.shape, dtype=torch.float64)
        (found,) = torch.autograd.grad(out, x, upstream.to(dtype))
        assert_grads_close(found, oracle(counts, upstream, *window).to(dtype))


@pytest.mark.parametrize('window', WINDOWS, ids=str)
@pytest.mark.parametrize('most', [1, 3])
def test_spike_max_by_definition(window, most):
    counts = spikes(8, 1, 2, 8, 9, most=most)
    expected = by_definition(counts, *window)
    for backend in ('native', 'reference'):
        found = functional.spike_max_pool2d(counts.float(), *window, backend=backend)
        assert torch.equal(found.double(), expected)


def test_spike_max_is_that_of_braincog():
    """maxpool(x + 1000 C) - maxpool(1000 C) is exact for unit spikes."""
    layers = pytest.importorskip('braincog.base.connection.layer')
    x = spikes(64, 2, 3, 8, 8).float()
    for pool in (torch.nn.MaxPool2d(2), torch.nn.MaxPool2d(3, 2, 1)):
        theirs = layers.SMaxPool(pool)
        expected = torch.stack([theirs(step.clone()) for step in x])
        found = functional.spike_max_pool2d(x, pool.kernel_size, pool.stride, pool.padding)
        assert torch.equal(found, expected)


def test_lateral_is_that_of_braincog():
    """Where it is right: windows of 2, stride 2."""
    layers = pytest.importorskip('braincog.base.connection.layer')
    theirs = layers.LIPool(torch.nn.MaxPool2d(2))
    x = spikes(64, 2, 3, 8, 8).float()
    expected = torch.stack([theirs(step.clone()) for step in x])
    assert torch.equal(functional.lateral_pool2d(x, 2), expected)


@pytest.mark.parametrize('mode', ['lateral', 'spike_max'])
@pytest.mark.parametrize('backend', ['native', 'reference'])
@pytest.mark.parametrize('dtype', [*DTYPES, torch.float64])
def test_parts_are_the_whole(mode, backend, dtype):
    """The state carries what a sequence needs to go on, and the gradient of the lateral pool flows through it."""
    backend = backend if dtype in DTYPES else None
    pool = FUNCTIONS[mode]
    x = (spikes(6, 2, 3, 7, 6, most=3, least=-1) * 0.5).to(dtype).requires_grad_()
    whole, last = pool(x, 3, 2, 1, scale=0.5, return_state=True, backend=backend)
    assert last.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.equal(last.double(), (x.detach().double() * 2).sum(0))
    first, state = pool(x[:2], 3, 2, 1, scale=0.5, return_state=True, backend=backend)
    rest, end = pool(x[2:], 3, 2, 1, scale=0.5, state=state, return_state=True, backend=backend)
    assert torch.equal(torch.cat([first, rest]), whole)
    assert torch.equal(end, last)
    upstream = torch.randn(whole.shape).to(dtype)
    (wanted,) = torch.autograd.grad(whole, x, upstream)
    (found,) = torch.autograd.grad(torch.cat([first, rest]), x, upstream)
    assert_grads_close(found, wanted)


def test_gradient_of_the_returned_state():
    """d(counts)/dx = 1 / scale; the gate's counts have none."""
    x = torch.zeros(3, 1, 4, 4).requires_grad_()
    _, last = functional.lateral_pool2d(x, 2, scale=0.5, return_state=True)
    (grad,) = torch.autograd.grad(last.sum(), x)
    assert grad.eq(2).all()
    assert not functional.spike_max_pool2d(x, 2, return_state=True)[1].requires_grad


@pytest.mark.parametrize('mode', FUNCTIONS)
def test_second_derivatives_replay_the_reference(mode):
    """Pools are linear in the gradient: its derivative is the pool of the winners."""
    x = torch.rand(3, 2, 4, 4).round().requires_grad_()
    upstream = torch.randn(3, 2, 2, 2, requires_grad=True)
    found = []
    for backend in ('native', 'reference'):
        (grad,) = torch.autograd.grad(FUNCTIONS[mode](x, 2, backend=backend), x, upstream, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), upstream)[0])
    assert found[0].abs().sum() > 0
    assert_grads_close(*found)


@pytest.mark.parametrize('window', WINDOWS, ids=str)
@pytest.mark.parametrize('last', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_max_pool_is_torchs(window, last, dtype):
    x = torch.randn(3, 2, 5, 9, 8).to(dtype)
    x = (channels_last(x) if last else x).requires_grad_()
    found, flat = functional.max_pool2d(x, *window), F.max_pool2d(x.flatten(0, 1), *window)
    assert_spikes_equal(found, flat.unflatten(0, (3, 2)))
    upstream = torch.randn_like(found)
    (grad,) = torch.autograd.grad(found, x, upstream)
    wide = x.detach().double().requires_grad_()  # torch adds up in bfloat16
    flat = F.max_pool2d(wide.flatten(0, 1), *window)
    (expected,) = torch.autograd.grad(flat, wide, upstream.flatten(0, 1).double())
    assert_grads_close(grad, expected.to(dtype))


def test_nan_and_infinity():
    """As torch: a NaN wins its window."""
    x = torch.randn(2, 1, 2, 6, 6)
    x[0, 0, 0, 2, 3], x[1, 0, 1, 4, 4], x[1, 0, 0, 1, 1] = torch.nan, torch.inf, -torch.inf
    expected = F.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, (2, 1))
    for backend in ('native', 'reference'):
        assert_spikes_equal(functional.max_pool2d(x, 3, 2, 1, backend=backend), expected)
        counted = functional.lateral_pool2d(x[..., :4], 2, backend='reference')
        assert_spikes_equal(functional.lateral_pool2d(x[..., :4], 2, backend=backend), counted)


@pytest.mark.parametrize('last', [False, True])
def test_avg_pool_is_torchs(last):
    x = torch.randn(3, 2, 5, 9, 8)
    x = (channels_last(x) if last else x).requires_grad_()
    for arguments in ((2,), (3, 2, 1), (3, 2, 1, True), (3, 2, 1, True, False)):
        found, flat = functional.avg_pool2d(x, *arguments), F.avg_pool2d(x.flatten(0, 1), *arguments)
        assert_spikes_equal(found, flat.unflatten(0, (3, 2)))
        assert torch.equal(*(torch.autograd.grad(y.square().sum(), x)[0] for y in (found, flat)))
    assert functional.avg_pool2d(x[:, :0], 2).shape == (3, 0, 5, 4, 4)
    assert functional.avg_pool2d(x[:, 0], 2).shape == (3, 5, 4, 4)


@pytest.mark.parametrize('mode', FUNCTIONS)
@pytest.mark.parametrize('last', [False, True])
def test_what_is_kept_for_backward(mode, last):
    """x, and one step of counts: no indices, no copies."""
    x = torch.rand(6, 2, 16, 12, 10).round()
    x = (channels_last(x) if last else x).requires_grad_()
    seen = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: seen.setdefault(t.untyped_storage().data_ptr(), t) is None or t, lambda t: t
    ):
        out = FUNCTIONS[mode](x, 2)
    sizes = sorted(t.untyped_storage().nbytes() for t in seen.values())
    assert sizes == ([x.nbytes] if mode == 'plain' else [x.nbytes // 6, x.nbytes])
    assert x.untyped_storage().data_ptr() in seen
    assert out.is_contiguous() != last


@pytest.mark.parametrize('mode', FUNCTIONS)
def test_compile(mode):
    torch._dynamo.reset()

    def f(x):
        return FUNCTIONS[mode](x * 1, 3, 2, 1).square()

    x = torch.rand(4, 2, 3, 8, 8).round()
    for y in (x, channels_last(x)):
        found = []
        for run in (torch.compile(f, backend='aot_eager', fullgraph=True), f):
            leaf = y.clone(memory_format=torch.preserve_format).requires_grad_()
            out = run(leaf)
            found.append((out.detach(), torch.autograd.grad(out.sum(), leaf)[0]))
        assert torch.equal(found[0][0], found[1][0])
        assert_grads_close(found[0][1], found[1][1])


MODULES = {nn.LateralPool2d: functional.lateral_pool2d, nn.SpikeMaxPool2d: functional.spike_max_pool2d}


@pytest.mark.parametrize('kind', MODULES)
def test_modules_carry_their_counts(kind):
    x = spikes(6, 2, 3, 6, 6, most=2).float()
    whole = MODULES[kind](x, 3, 2, 1)
    module, single = kind(3, 2, 1), kind(3, 2, 1, step_mode='s')
    for _ in range(2):
        assert torch.equal(torch.cat([module(x[:2]), module(x[2:])]), whole)
        assert torch.equal(torch.stack([single(step) for step in x]), whole)
        assert torch.equal(module.state, x.sum(0))
        assert torch.equal(copy.deepcopy(single).state, x.sum(0))
        nn.reset(torch.nn.Sequential(module, single))
        assert module.state is None
    module(x)
    with pytest.raises(ValueError, match=r'reset\(\) first'):
        module(x[:, :1])


def test_modules_and_graphs():
    """Steps one by one have the gradient of all at once; parts of a sequence do not reach back."""
    x = spikes(4, 1, 2, 4, 4).float().requires_grad_()
    single, module = nn.LateralPool2d(2, step_mode='s'), nn.LateralPool2d(2)
    weight = torch.randn(4, 1, 2, 2, 2)
    (found,) = torch.autograd.grad((torch.stack([single(step) for step in x]) * weight).sum(), x)
    (wanted,) = torch.autograd.grad((functional.lateral_pool2d(x, 2) * weight).sum(), x)
    assert_grads_close(found, wanted)
    module(x)
    assert not module.state.requires_grad


def test_plain_modules():
    x = torch.randn(3, 2, 4, 9, 8)
    assert torch.equal(nn.MaxPool2d(3, 2, 1)(x), functional.max_pool2d(x, 3, 2, 1))
    assert torch.equal(
        nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x), functional.avg_pool2d(x, 3, 2, 1, False, False)
    )
    assert repr(nn.MaxPool2d(2)) == 'MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)'
    assert repr(nn.AvgPool2d(2)) == 'AvgPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=False)'


X = torch.zeros(2, 1, 4, 4)
WRONG = [
    (functional.spike_max_pool2d, (X, 5), {}, ValueError, r'kernel_size 5 with dilation 1 must fit into 4 \+ 2 \* 0'),
    (functional.max_pool2d, (X, 5), {}, ValueError, r'kernel_size 5 with dilation 1 must fit into 4 \+ 2 \* 0 cells'),
    (functional.avg_pool2d, (X, 5), {}, ValueError, r'kernel_size 5 with dilation 1 must fit into 4 \+ 2 \* 0 cells'),
    (functional.max_pool2d, (X, 2, 2, 1, 5), {}, ValueError, 'dilation must be at most 4, .* got 5'),
    (functional.max_pool2d, (X[0], 2), {}, ValueError, r'x must be \[T, \.\.\., C, H, W\], got shape \(1, 4, 4\)'),
    (functional.lateral_pool2d, (X, 2), {'state': 1.0}, TypeError, 'state must be a floating-point .* got float'),
    (
        functional.lateral_pool2d,
        (X, 2),
        {'state': X},
        ValueError,
        r'state must have the shape of one step, \(1, 4, 4\)',
    ),
    (nn.LateralPool2d, (2,), {'step_mode': 'x'}, ValueError, "step_mode must be .* got 'x'"),
]


@pytest.mark.parametrize(('call', 'arguments', 'named', 'error', 'text'), WRONG)
def test_errors(call, arguments, named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        call(*arguments, **named)
