"""Drawn calls: any neuron, shape, layout of memory, dtype and options, native against the reference, with gradients."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_multistep import charges, fires, resets, surrogates

from snnkern import Neuron
from snnkern.functional import lateral_pool2d, multistep
from snnkern.testing import assert_grads_close, assert_spikes_equal

DTYPES = st.sampled_from((torch.float32, torch.float16, torch.bfloat16))


@st.composite
def layouts(draw):
    """A function that gives a tensor [T, ...] another memory layout and leaves its values."""
    kind = draw(st.sampled_from(('as it is', 'permuted', 'strided', 'expanded', 'moved')))
    seed = draw(st.integers(0, 99))

    def change(x):
        order = torch.randperm(x.ndim, generator=torch.Generator().manual_seed(seed)).tolist()
        if kind == 'permuted':
            return x.permute(order).contiguous().permute([order.index(d) for d in range(x.ndim)])
        if kind == 'strided':
            room = x.new_zeros([2 * size + 1 for size in x.shape])
            view = room[tuple(slice(1, None, 2) for _ in x.shape)]
            view.copy_(x)
            return view
        if kind == 'moved':  # not aligned to more than its dtype
            room = x.new_zeros(x.numel() + 1)
            room[1:] = x.flatten()
            return room[1:].view(x.shape)
        return x[:1].expand(x.shape) if kind == 'expanded' else x

    return change


def outcome(x, neuron, rows, v0, backend):
    """Spikes, last states, and the gradients of x and of the coefficients."""
    x, rows = x.detach().requires_grad_(), {name: row.detach().requires_grad_() for name, row in rows.items()}
    s, v = multistep(x, neuron, v0=v0, return_state=True, coefficients=rows, channel_dim=1, backend=backend)
    weight = torch.linspace(-1, 1, s.numel()).view(s.shape)
    loss = (s.float() * weight).sum() + v.float().sum()
    return (s, v), torch.autograd.grad(loss, [x, *rows.values()], materialize_grads=True)


@settings(max_examples=120)
@given(
    parts=st.tuples(charges, fires, resets, surrogates).filter(lambda p: not (p[2].delayed and p[1].extra)),
    T=st.integers(1, 20),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    dtype=DTYPES,
    layout=layouts(),
    bound=st.sets(st.sampled_from(('c', 'v_threshold'))),
    start=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_call_of_a_neuron(parts, T, shape, dtype, layout, bound, start, seed):
    g, neuron = torch.Generator().manual_seed(seed), Neuron(*parts)
    x = layout((torch.randint(-20, 40, (T, *shape), generator=g) / 16).to(dtype))
    channels = shape[0]
    rows = {name: torch.randint(4, 16, (channels,), generator=g) / 8 for name in sorted(bound)}
    states = len(neuron.states)
    v0 = torch.randn((states, *shape) if states > 1 else shape, generator=g) if start else None
    found, expected = (outcome(x, neuron, rows, v0, backend) for backend in ('native', 'reference'))
    for actual, wanted in zip(found[0], expected[0], strict=True):
        assert_spikes_equal(actual, wanted)
    if all(wanted.isfinite().all() and wanted.abs().max() < 1e4 for wanted in expected[1]):
        assert_grads_close(found[1][0], expected[1][0], dtype)
        for actual, wanted in zip(found[1][1:], expected[1][1:], strict=True):
            torch.testing.assert_close(actual, wanted, rtol=2e-2, atol=2e-2 * max(1.0, float(wanted.abs().max())))


@settings(max_examples=60)
@given(
    T=st.integers(1, 4),
    size=st.tuples(*[st.integers(1, 9)] * 4),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dtype=DTYPES,
    layout=layouts(),
    seed=st.integers(0, 99),
)
def test_any_call_of_a_pool(T, size, kernel, stride, dtype, layout, seed):
    size = (*size[:2], *(max(side, kernel) for side in size[2:]))
    g = torch.Generator().manual_seed(seed)
    x = layout(torch.randint(0, 2, (T, *size), generator=g).to(dtype))
    results = []
    for backend in ('native', 'reference'):
        own = x.detach().requires_grad_()
        out = lateral_pool2d(own, kernel, stride, backend=backend)
        weight = torch.linspace(-1, 1, out.numel()).view(out.shape).to(dtype)
        results.append((out, torch.autograd.grad(out, own, weight)[0]))
    (out, grad), (wanted, wanted_grad) = results
    assert torch.equal(out, wanted)
    assert_grads_close(grad, wanted_grad, dtype)
