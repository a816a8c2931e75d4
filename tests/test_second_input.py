"""A second input of the neurons: SEW adds it to the spikes, MS to what they see. As two operations, in one pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import snnkern
from snnkern import IF, LIF, Affine, Binary, Burst, Delayed, Hard, Neuron, SignedMemory, Soft, Synaptic
from snnkern.functional import multistep
from snnkern.testing import assert_grads_close, assert_spikes_equal

NEURONS = [
    Neuron(LIF(2.0)),
    Neuron(IF(), Burst(0.75, 4, True), Soft()),
    Neuron(Affine(0.9, 0.7, 0.1), Binary(strict=True), Delayed()),
    Neuron(Synaptic(0.8, decay=0.7), SignedMemory(0.7, 3), Soft()),
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def separate(x, neuron, residual, connect, **options):
    """What the op stands for."""
    if connect == 'sew':
        s, *others = multistep(x, neuron, return_state=True, **options)
        return s + residual, *others
    return *multistep(x + residual, neuron, return_state=True, **options), x + residual


def gradients(x, neuron, residual, connect, upstream):
    """Those of the two operations, in float32 at least and rounded once; what neurons see is rounded as it is."""
    seen = (x + residual if connect == 'ms' else x).detach().to(torch.promote_types(x.dtype, torch.float32))
    seen.requires_grad_()
    s, last = multistep(seen, neuron, return_state=True)
    outputs = (s, last, seen) if connect == 'ms' else (s, last)
    (by_x,) = torch.autograd.grad(outputs, seen, [g.to(o.dtype) for g, o in zip(upstream, outputs, strict=True)])
    return by_x.to(x.dtype), by_x.to(x.dtype) if connect == 'ms' else upstream[0]


def inputs(T, N, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-5, 17, (T, N), generator=g) / 10
    r = torch.randint(-3, 5, (T, N), generator=g) / 10
    return x.to(dtype).requires_grad_(), r.to(dtype).requires_grad_()


@pytest.mark.parametrize('connect', ['sew', 'ms'])
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('neuron', NEURONS, ids=str)
@pytest.mark.parametrize('size', [(1, 1), (5, 0), (20, 600)], ids=str)
def test_as_two_operations(neuron, dtype, connect, size, isa):
    x, r = inputs(*size, dtype)
    found = multistep(x, neuron, residual=r, connect=connect, return_state=True, return_sum=connect == 'ms')
    expected = separate(x, neuron, r, connect)
    for a, b in zip(found, expected, strict=True):
        assert_spikes_equal(a, b)
    upstream = [torch.randn(t.shape).to(t.dtype) for t in found]
    grads = torch.autograd.grad(found, (x, r), upstream)
    for a, b in zip(grads, gradients(x, neuron, r, connect, upstream), strict=True):
        assert_grads_close(a, b)


@pytest.mark.parametrize(
    ('connect', 'only'), [('sew', 'x'), ('sew', 'residual'), ('ms', 'x'), ('ms', 'residual'), ('ms', 'sum')]
)
def test_gradients_of_one(connect, only):
    """Whatever needs a gradient or gets one."""
    x, r = inputs(18, 70, torch.float32)
    given = [t.detach().requires_grad_(only in ('sum', name)) for t, name in ((x, 'x'), (r, 'residual'))]
    found = multistep(given[0], NEURONS[0], residual=given[1], connect=connect, return_sum=connect == 'ms')
    expected = separate(*given[:1], NEURONS[0], given[1], connect)
    pair = (found[1], expected[2]) if only == 'sum' else (found[0] if connect == 'ms' else found, expected[0])
    upstream = torch.randn_like(pair[0])
    sources = [t for t in given if t.requires_grad]
    for a, b in zip(*(torch.autograd.grad(o, sources, upstream) for o in pair), strict=True):
        assert_grads_close(a, b)


def test_large_rows_are_streamed(two_threads):
    """16 MiB a tensor: written around the cache, still the same."""
    x, r = (torch.randint(-5, 12, (4, 1 << 20)) / 10 for _ in range(2))
    for connect in ('sew', 'ms'):
        found = multistep(x, NEURONS[0], residual=r, connect=connect, return_state=True, return_sum=connect == 'ms')
        for a, b in zip(found, separate(x, NEURONS[0], r, connect), strict=True):
            assert_spikes_equal(a, b)


def test_layouts():
    """Channels-last x; the residual comes in another layout, or expanded."""
    x = torch.randn(4, 2, 3, 5, 6).flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (4, 2))
    for r in (torch.rand(4, 2, 3, 5, 6), torch.rand(4, 1, 3, 1, 1).expand(x.shape)):
        for connect in ('sew', 'ms'):
            found = multistep(x, NEURONS[0], residual=r, connect=connect)
            expected = separate(x, NEURONS[0], r, connect)[0]
            assert found.stride() == x.stride()
            assert torch.equal(found, expected)


@given(T=st.integers(1, 20), N=st.integers(1, 40), connect=st.sampled_from(['sew', 'ms']), seed=st.integers(0, 99))
def test_any_size(T, N, connect, seed):
    x, r = inputs(T, N, torch.float32, seed)
    found = multistep(x, NEURONS[1], residual=r, connect=connect, return_state=True)
    expected = separate(x, NEURONS[1], r, connect)
    for a, b in zip(found, expected, strict=False):
        assert_spikes_equal(a, b)


def test_second_derivative():
    for connect in ('sew', 'ms'):
        x, r = inputs(5, 12, torch.float64)
        neuron, results = Neuron(surrogate=snnkern.Sigmoid()), []
        for s in (multistep(x, neuron, residual=r, connect=connect), separate(x, neuron, r, connect)[0]):
            first = torch.autograd.grad(s.square().sum(), (x, r), create_graph=True)
            results.append(torch.autograd.grad(sum(g.square().sum() for g in first), (x, r)))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('connect', ['sew', 'ms'])
def test_compile(connect):
    torch._dynamo.reset()
    neuron = Neuron()

    def block(x, r):
        outputs = multistep(x * 2, neuron, residual=r * 2, connect=connect, return_sum=connect == 'ms')
        return sum(outputs) if connect == 'ms' else outputs

    results = []
    for run in (block, torch.compile(block, backend='aot_eager', fullgraph=True)):
        x, r = inputs(18, 30, torch.float32)
        y = run(x, r)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, r))))
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert_grads_close(a, b)


def test_only_the_sum_is_saved():
    """MS keeps one tensor for backward, not both; SEW keeps x."""
    for connect in ('sew', 'ms'):
        x, r = inputs(4, 4096, torch.float32)
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=saved: kept.append(t) or t, lambda t: t):
            multistep(x, Neuron(), residual=r, connect=connect)
        assert len([t for t in saved if t.numel() == x.numel()]) == 1


def test_module():
    """Two blocks of an MS-ResNet: the sum is the next shortcut; single steps are the same."""
    layers = [snnkern.nn.Neuron(Neuron(LIF(2.0)), connect='ms') for _ in range(2)]
    x, shortcut = torch.randn(2, 5, 3, 4, 4).unbind(0)
    s, total = layers[0](x, shortcut)
    again, last = layers[1](s, total)
    assert torch.equal(total, x + shortcut)
    assert torch.equal(again, multistep(s + total, Neuron(LIF(2.0))))
    for layer in layers:
        layer.reset()
        layer.step_mode = 's'
    steps = [layers[1](*layers[0](a, b)) for a, b in zip(x, shortcut, strict=True)]
    assert torch.equal(torch.stack([step[1] for step in steps]), last)
    assert "connect='ms'" in repr(layers[0])
    assert torch.equal(snnkern.nn.IF()(x, shortcut), multistep(x, Neuron(IF(), reset=Hard())) + shortcut)


X = torch.zeros(3, 4)
WRONG = [
    ({'residual': X, 'connect': 'cat'}, ValueError, "connect must be one of sew, ms, got 'cat'"),
    ({'residual': torch.zeros(2, 4)}, ValueError, r'residual must have shape, dtype and device of x, \(\(3, 4\)'),
    ({'residual': X.half()}, ValueError, 'residual must have shape, dtype and device of x, .* got .*float16'),
    ({'residual': 1.0}, TypeError, 'residual must be a tensor, got float'),
    ({'residual': X.expand(5, 3, 4), 'T': 5}, ValueError, 'residual must not be given together with T'),
    ({'residual': X, 'return_sum': True}, ValueError, 'return_sum must be False unless there is a residual and'),
    ({'connect': 'ms', 'return_sum': True}, ValueError, 'return_sum must be False unless there is a residual'),
]


@pytest.mark.parametrize(('named', 'error', 'text'), WRONG)
def test_errors(named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        multistep(X, Neuron(), **named)
    if named.get('connect') == 'cat':
        with pytest.raises(error, match=f'^{text}'):
            snnkern.nn.Neuron(Neuron(), connect='cat')
