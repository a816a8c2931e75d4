"""Memory layouts: what is dense with time outermost runs without a copy, all else gives the same numbers."""

import pytest
import torch
from cases import pairwise
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from snnkern import Burst, Neuron, Soft
from snnkern.backends import layout
from snnkern.functional import multistep
from snnkern.testing import assert_grads_close, assert_spikes_equal

NEURONS = (Neuron(), Neuron(fire=Burst(0.75, 3), reset=Soft()))


def grid(*shape, dtype=torch.float32):
    """Multiples of 0.1 around the threshold."""
    return (torch.randint(-5, 17, shape) / 10).to(dtype)


def channels_last(x):
    """[T, B, C, H, W] with the memory of torch's channels-last in each step."""
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


# Each turns a contiguous tensor [T, B, C, H, W] into one of the same values in another layout.
WITHOUT_COPY = {
    'contiguous': lambda x: x,
    'channels last': channels_last,
    'transposed step': lambda x: x.transpose(1, 4).contiguous().transpose(1, 4),
    'reversed step': lambda x: x.permute(0, 4, 3, 2, 1).contiguous().permute(0, 4, 3, 2, 1),
    'window of time': lambda x: torch.cat([x, x, x])[x.shape[0] : 2 * x.shape[0]],
}
WITH_COPY = {
    'time innermost': lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    'time inside': lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    'every other': lambda x: torch.stack([x, x], -1)[..., 0],
    'slice of channels': lambda x: torch.cat([x, x], 2)[:, :, x.shape[2] :],
    'every other step': lambda x: torch.stack([x, x], 1)[:, 0],
}
ALL = WITHOUT_COPY | WITH_COPY


def test_the_table_is_right():
    x = grid(4, 2, 3, 5, 7)
    for name, change in ALL.items():
        y = change(x)
        assert torch.equal(x, y), name
        assert (layout.rows(y) is y) == (name in WITHOUT_COPY), name


def run(x, v0, neuron, backend, grad_s, grad_v):
    x, v0 = x.detach().requires_grad_(), v0.detach().requires_grad_()
    s, v = multistep(x, neuron, v0=v0, return_state=True, backend=backend)
    return s, v, *torch.autograd.grad([s, v], [x, v0], [grad_s, grad_v])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('of_x', 'of_v', 'of_grad'), pairwise(tuple(ALL), tuple(ALL), tuple(ALL)))
@pytest.mark.usefixtures('poisoned')
def test_any_layout(of_x, of_v, of_grad, dtype):
    """x, v0 and the gradients come each in a layout of its own."""
    shape = (5, 2, 3, 5, 7)
    x, v0 = grid(*shape, dtype=dtype), grid(*shape)
    grad_s, grad_v = torch.randn(shape).to(dtype), torch.randn(shape)
    arguments = ALL[of_x](x), ALL[of_v](v0)[1], NEURONS[0]
    grads = ALL[of_grad](grad_s), ALL[of_grad](grad_v)[2]
    actual = run(*arguments, 'native', *grads)
    expected = run(x, v0[1], NEURONS[0], 'reference', grad_s, grad_v[2])
    for a, b in zip(actual[:2], expected[:2], strict=True):
        assert_spikes_equal(a.contiguous(), b.contiguous())
    for a, b in zip(actual[2:], expected[2:], strict=True):
        assert_grads_close(a.contiguous(), b.contiguous(), dtype)
    if of_x in WITHOUT_COPY:
        assert actual[0].stride()[1:] == actual[2].stride()[1:] == arguments[0].stride()[1:]
        assert actual[1].stride() == arguments[0].stride()[1:]


@pytest.mark.parametrize('name', WITHOUT_COPY)
def test_no_copy(name, monkeypatch):
    """The kernels get x itself, forward and backward."""
    x = WITHOUT_COPY[name](grid(17, 2, 3, 5, 7)).requires_grad_()
    seen = []
    rows = layout.rows
    monkeypatch.setattr(layout, 'rows', lambda t: seen.append(rows(t) is t) or rows(t))
    s = multistep(x, NEURONS[0])
    assert s.grad_fn.saved_tensors[0].data_ptr() == x.data_ptr()
    s.backward(torch.ones_like(s))
    assert seen == [True, True]


@pytest.mark.parametrize('name', WITHOUT_COPY)
@pytest.mark.usefixtures('poisoned')
def test_gradient_with_stride_0(name):
    """mean over time, then a sum: every stride of the gradient is 0, or that of time."""
    x = WITHOUT_COPY[name](grid(5, 2, 3, 5, 7)).requires_grad_()
    for loss in (lambda s: s.mean(0).sum(), lambda s: (s.mean(0) * 3).square().sum(), torch.Tensor.sum):
        both = [multistep(x, NEURONS[1], backend=name) for name in ('native', 'reference')]
        assert_grads_close(*(torch.autograd.grad(loss(s), x)[0] for s in both))


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('T', [1, 17])
def test_constant_input(name, T):
    step = ALL[name](grid(4, 2, 3, 5, 7))[1].requires_grad_()
    s = multistep(step, NEURONS[1], T=T)
    long = step.detach().expand(T, *step.shape).clone(memory_format=torch.contiguous_format).requires_grad_()
    wanted = multistep(long, NEURONS[1], backend='reference')
    assert torch.equal(s, wanted)
    upstream = torch.randn_like(long)
    s.backward(upstream)
    wanted.backward(upstream)
    assert_grads_close(step.grad.contiguous(), long.grad.sum(0))


def test_expanded_input():
    """Stride 0 in time or inside a step: a view of fewer numbers than it shows."""
    for x in (grid(1, 33).expand(5, 33), grid(5, 1).expand(5, 33), grid(1, 1).expand(5, 33)):
        wanted = multistep(x.contiguous(), NEURONS[0], backend='reference')
        assert_spikes_equal(multistep(x, NEURONS[0]), wanted)


def test_overlapping_steps():
    """Windows that share memory."""
    x = grid(20).as_strided((5, 8), (3, 1))
    assert_spikes_equal(multistep(x, NEURONS[0]), multistep(x.contiguous(), NEURONS[0], backend='reference'))


@given(data=st.data())
def test_any_view(data):
    """A permuted, cut, strided view of anything: the same numbers, and the layout of the fake."""
    dims = data.draw(st.integers(1, 4))
    base = grid(*data.draw(st.lists(st.integers(1, 5), min_size=dims, max_size=dims)))
    x = base.permute(data.draw(st.permutations(range(dims))))
    for d in range(dims):
        start = data.draw(st.integers(0, x.shape[d] - 1))
        x = x.movedim(d, 0)[start :: data.draw(st.integers(1, 2))].movedim(0, d)
    s, v = multistep(x, NEURONS[1], return_state=True)
    wanted = multistep(x.contiguous(), NEURONS[1], return_state=True, backend='reference')
    assert_spikes_equal(s.contiguous(), wanted[0].contiguous())
    assert_spikes_equal(v.contiguous(), wanted[1].contiguous())
    mode = FakeTensorMode()
    with mode:
        fakes = multistep(mode.from_tensor(x), NEURONS[1], return_state=True)
    for real, fake in zip((s, v), fakes, strict=True):
        assert (real.shape, real.dtype) == (fake.shape, fake.dtype)
        strides = zip(real.stride(), fake.stride(), real.shape, strict=True)
        assert all(a == b for a, b, size in strides if size > 1)  # the others mean nothing
