"""BatchNorm fused with its neuron against BatchNorm2d and the neuron behind it, and temporal enhanced pooling."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import snnkern
from snnkern import IF, LIF, PLIF, Affine, ATan, Binary, Burst, Delayed, Hard, Neuron, Soft
from snnkern.backends import native, reference
from snnkern.functional import batch_norm_neuron, multistep
from snnkern.nn import BatchNormNeuron
from snnkern.testing import assert_first_flip, assert_grads_close

NEURONS = [
    Neuron(LIF(2.0)),
    Neuron(IF(), reset=Soft()),
    Neuron(LIF(3.0, 0.25, False), Burst(0.75, 3), Soft()),
    Neuron(PLIF(0.3, 0.1), Binary(0.5), Hard(-0.1, True)),
    Neuron(Affine(0.9), Binary(strict=True), Delayed()),
]
SHAPES = [(4, 3, 5, 7, 7), (20, 2, 8, 1, 1), (3, 2, 1, 4, 5), (2, 9, 65, 2, 3), (1, 4, 3, 16, 16)]


def in_layout(x, last):
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2]) if last else x


def separate(x, neuron, weight, bias, scale=None, **options):
    """BatchNorm2d over T * B and the neuron, each by itself."""
    y = F.batch_norm(x.flatten(0, 1), None, None, weight, bias, training=True).unflatten(0, x.shape[:2])
    return multistep(y if scale is None else y * scale.view(-1, 1, 1, 1, 1), neuron, **options)


def parameters(T, C, dtype=torch.float32):
    own = (torch.rand(C) + 0.5, torch.rand(C), torch.rand(T) + 0.5)
    return [p.to(dtype).requires_grad_() for p in own]


@pytest.mark.parametrize('last', [False, True], ids=['contiguous', 'channels-last'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('neuron', NEURONS, ids=str)
def test_like_the_two(neuron, shape, last):
    """Spikes up to the first flip; gradients from the same upstream, in float64 where nothing flips."""
    x = in_layout(2 * torch.randn(shape) + 1, last).requires_grad_()
    weight, bias, scale = parameters(shape[0], shape[2])
    s = batch_norm_neuron(x, neuron, weight=weight, bias=bias, scale=scale)
    wide = [t.detach().double().requires_grad_() for t in (x, weight, bias, scale)]
    expected = separate(wide[0], neuron, *wide[1:])
    assert s.stride() == x.stride()
    y = F.batch_norm(wide[0].flatten(0, 1), None, None, *wide[1:3], training=True).unflatten(0, shape[:2])
    h = reference.run(y * wide[3].view(-1, 1, 1, 1, 1), None, snnkern.neurons.Program(neuron), shape[0]).h
    assert_first_flip(s, expected.to(s.dtype), h, neuron.fire.v_threshold)
    assert torch.equal(s.double(), expected), 'a flip: take another seed, gradients differ behind it'
    upstream = torch.randn_like(s)
    found = torch.autograd.grad(s, (x, weight, bias, scale), upstream)
    wanted = torch.autograd.grad(expected, wide, upstream.double())
    assert_grads_close(found[0], in_layout(wanted[0].float(), last), 'sums')
    # together: one number alone may cancel to nothing
    assert_grads_close(torch.cat(found[1:]), torch.cat(wanted[1:]).float(), 'sums')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype, isa):
    """x is rounded, arithmetic is float32: as the reference on the same x."""
    x = torch.randn(6, 4, 8, 5, 5).to(dtype)
    weight, bias, scale = parameters(6, 8)
    results = []
    for backend in ('native', 'reference'):
        y = x.clone().requires_grad_()
        s = batch_norm_neuron(y, Neuron(), weight=weight, bias=bias, scale=scale, backend=backend)
        results.append((s, *torch.autograd.grad(s, (y, weight, bias, scale), torch.ones_like(s))))
    assert results[0][0].dtype == dtype
    assert torch.equal(results[0][0], results[1][0])
    assert_grads_close(results[0][1], results[1][1])
    for a, b in zip(results[0][2:], results[1][2:], strict=True):
        assert_grads_close(a, b, 'sums')


def test_every_instruction_set(isa, two_threads):
    """Sums over threads and tiles of one kind of code: as the reference."""
    x = (torch.randn(5, 8, 16, 16, 16) * 3 + 20).requires_grad_()
    weight, bias, _ = parameters(5, 16)
    upstream = torch.randn(x.shape)
    results = []
    for backend in ('native', 'reference'):
        s = batch_norm_neuron(x, Neuron(LIF(2.0)), weight=weight, bias=bias, backend=backend)
        results.append((s, *torch.autograd.grad(s, (x, weight, bias), upstream)))
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert_grads_close(a, b, 'sums')


@pytest.mark.parametrize('names', [('k',), ('k', 'v_threshold'), ('v_threshold', 'alpha'), ('k', 'c')])
def test_learned_numbers(names):
    """tau, threshold, surrogate and current learn beside gamma and beta: gradients of the float64 composition."""
    neuron, (T, C) = Neuron(PLIF(0.4), Binary(0.7), Soft(), ATan(2.0)), (5, 4)
    own = {'k': 0.4, 'v_threshold': 0.7, 'alpha': 2.0, 'c': 0.1}
    x = torch.randn(T, 2, C, 3, 3, dtype=torch.float64).requires_grad_()
    weight, bias, scale = parameters(T, C, torch.float64)
    tensors = {n: torch.full((C,), own[n], dtype=torch.float64).requires_grad_() for n in names}
    sources = (x, weight, bias, scale, *tensors.values())
    upstream = torch.randn(x.shape, dtype=torch.float64)
    s = batch_norm_neuron(x, neuron, weight=weight, bias=bias, scale=scale, coefficients=tensors)
    expected = separate(x, neuron, weight, bias, scale, coefficients=tensors)
    assert torch.equal(s, expected)
    found, wanted = (torch.autograd.grad(o, sources, upstream) for o in (s, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('wanted', [(0,), (1, 2), (0, 3), (3,), (0, 1, 2, 3)], ids=str)
def test_states_and_what_is_wanted(wanted):
    """Gradients of any of x, weight, bias, v0, also through the last state and the trace of v."""
    T, C = 18, 3
    x = torch.randn(T, 2, C, 3, 3)
    sources = [x, *[p.detach() for p in parameters(T, C)[:2]], torch.randn(x.shape[1:]) / 4]
    upstream = [torch.randn(x.shape), torch.randn(x.shape[1:]), torch.randn(x.shape)]
    results = []
    for run in (batch_norm_neuron, lambda x, n, weight, bias, **o: separate(x, n, weight, bias, **o)):
        own = [t.clone().requires_grad_(i in wanted) for i, t in enumerate(sources)]
        options = {'v0': own[3], 'return_state': True, 'return_v_seq': True}
        outputs = run(own[0], Neuron(LIF(3.0)), weight=own[1], bias=own[2], **options)
        results.append((outputs[0], torch.autograd.grad(outputs, [own[i] for i in wanted], upstream)))
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert_grads_close(a, b, 'sums')


def test_second_derivative():
    """Replays the reference: equals that of the composition."""
    x = torch.randn(3, 2, 2, 3, 3, dtype=torch.float64).requires_grad_()
    weight, bias, _ = parameters(3, 2, torch.float64)
    results = []
    for run in (batch_norm_neuron, lambda x, n, weight, bias: separate(x, n, weight, bias)):
        s = run(x, Neuron(surrogate=snnkern.Sigmoid()), weight=weight, bias=bias)
        (first,) = torch.autograd.grad(s.square().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), (x, weight, bias)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_only_x_is_saved():
    """Backward keeps x and numbers by channel: no normalised copy, no potentials."""
    layer = BatchNormNeuron(4)
    x = torch.randn(8, 4, 4, 8, 8, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(x)
    large = [t for t in saved if t.numel() > 1000]
    assert [t.data_ptr() for t in large] == [x.data_ptr()]


def test_spikingjelly_tdbn_and_tebn():
    """The real packages' norms before the real LIF node."""
    layers = pytest.importorskip('spikingjelly.activation_based.layer')
    from spikingjelly.activation_based import neuron, surrogate

    x = torch.randn(6, 4, 5, 8, 8)
    node = neuron.LIFNode(2.0, surrogate_function=surrogate.ATan(2.0), step_mode='m')
    ours = Neuron(LIF(2.0), Binary(1.0), Hard(), ATan(2.0))
    td, te = layers.ThresholdDependentBatchNorm2d(0.7, 1.0, 5), layers.TemporalEffectiveBatchNorm2d(6, 5)
    for theirs, norm in ((td, {'norm': 'tdbn', 'alpha': 0.7}), (te, {'norm': 'tebn', 'T': 6})):
        theirs.step_mode = 'm'
        node.reset()
        layer = BatchNormNeuron(5, ours, **norm)
        if norm['norm'] == 'tebn':
            with torch.no_grad():
                te.scale.copy_(torch.rand_like(te.scale) + 0.5)
                layer.scale.copy_(te.scale.flatten())
        a, b = (x.clone().requires_grad_() for _ in range(2))
        found, expected = layer(a), node(theirs(b))
        assert torch.equal(found, expected)
        upstream = torch.randn_like(found)
        found.backward(upstream), expected.backward(upstream)
        assert_grads_close(a.grad, b.grad, 'sums')


@pytest.mark.parametrize('backend', ['native', 'reference'])
@pytest.mark.parametrize('shape', [*SHAPES, (2, 3, 300, 1, 1), (2, 1, 3, 1, 70000)], ids=str)
def test_moments_of_a_large_mean(shape, backend):
    """A mean of 10^4 standard deviations costs the variance no digits that x still has."""
    for last in (False, True):
        x = in_layout(torch.randn(shape) + 1e4, last)
        found = (native if backend == 'native' else reference).moments(x, 2)
        expected = torch.stack(torch.var_mean(x.double(), (0, 1, 3, 4), correction=0)).flip(0)
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-9)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 2, st.integers(1, 70), *[st.integers(1, 6)] * 2),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_moments_of_any_shape(shape, last, seed):
    x = in_layout(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), last)
    expected = reference.moments(x, 2)
    torch.testing.assert_close(native.moments(x, 2), expected, rtol=1e-5, atol=1e-6)


def test_token_layout():
    """[T, B, N, C]: channels come last."""
    x = torch.randn(4, 2, 9, 6)
    layer = BatchNormNeuron(6, channel_dim=-1)
    turned = separate(x.permute(0, 1, 3, 2).unsqueeze(-1), Neuron(), None, None)
    assert torch.equal(layer(x), turned[..., 0].permute(0, 1, 3, 2))


def test_residual():
    """SEW: the shortcut is added to the spikes, with its gradient."""
    x, r = torch.randn(4, 2, 3, 5, 5).requires_grad_(), torch.rand(4, 2, 3, 5, 5).round().requires_grad_()
    layer = BatchNormNeuron(3)
    out = layer(x, r)
    assert torch.equal(out, separate(x, Neuron(), None, None) + r)
    upstream = torch.randn_like(out)
    assert torch.equal(torch.autograd.grad(out, r, upstream)[0], upstream)


@pytest.mark.parametrize('shape', [(), (1,), (4,), (5, 1), (1, 4), (5, 4)], ids=str)
@pytest.mark.parametrize('name', ['k', 'c', 'v_threshold'])
def test_coefficients_of_every_shape(name, shape):
    """One number, one a channel, one a step: as `multistep` takes them."""
    x, neuron = torch.randn(5, 3, 4, 3, 3, dtype=torch.float64), Neuron(PLIF(0.4), reset=Soft())
    given = {name: torch.rand(shape, dtype=torch.float64) / 4 + 0.3}
    weight, bias, scale = parameters(5, 4, torch.float64)
    found = batch_norm_neuron(x, neuron, weight=weight, bias=bias, scale=scale, coefficients=given)
    assert torch.equal(found, separate(x, neuron, weight, bias, scale, coefficients=given))


def test_only_the_residual_learns():
    """Nothing else is computed, in a graph of gradients and in torch.func, too."""
    x, r = torch.randn(3, 2, 4, 3, 3), torch.rand(3, 2, 4, 3, 3).requires_grad_()
    for run in (batch_norm_neuron, multistep):
        (grad,) = torch.autograd.grad(run(x, Neuron(), residual=r).square().sum(), r, create_graph=True)
        s = run(x, Neuron(), residual=r)
        torch.testing.assert_close(grad, 2 * s)
        mapped = torch.func.grad(lambda t, run=run: run(x, Neuron(), residual=t).square().sum())(r.detach())
        torch.testing.assert_close(mapped, 2 * s.detach())


@pytest.mark.parametrize('scaled', [False, True])
def test_compile(scaled):
    torch._dynamo.reset()
    weight, bias, scale = parameters(4, 3)
    neuron = Neuron()

    def block(x):
        s = batch_norm_neuron(x * 2, neuron, weight=weight, bias=bias, scale=scale if scaled else None)
        return s.cumsum(0)

    results = []
    for run in (block, torch.compile(block, backend='aot_eager', fullgraph=True)):
        x = torch.randn(4, 2, 3, 5, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = run(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, weight, bias))))
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert_grads_close(a, b, 'sums')


def test_opcheck():
    torch.library.opcheck(torch.ops.snnkern.moments.default, (torch.randn(3, 2, 4, 5), 2, ''))
