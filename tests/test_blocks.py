"""Large outputs of native CPU live in blocks that are used again: never while anything still looks at them."""

import copy
import gc
import io
import pickle

import pytest
import torch

import snnkern
from snnkern.functional import lif

MIB = 1 << 20
X = torch.full((4, 1 << 19), 2.5)  # 8 MiB in, 8 MiB out


@pytest.fixture(autouse=True)
def empty(cpu):
    """Nothing is kept at first."""
    gc.collect()
    cpu.set_keep_limit(0)
    cpu.set_keep_limit(64 * MIB)
    yield
    cpu.set_keep_limit(0)


def call():
    return lif(X, v_reset=None, tau=1.0)


def test_memory_is_used_again(cpu):
    s = call()
    assert cpu.kept_bytes() == 0
    address = s.data_ptr()
    del s
    assert cpu.kept_bytes() == 8 * MIB
    assert call().data_ptr() == address
    assert cpu.kept_bytes() == 8 * MIB


def test_thrift_within_compress_saved_spikes(cpu):
    """A smaller output takes the block that is there; before a larger one comes, what waits goes back."""
    with snnkern.compress_saved_spikes():
        s = call()
        address = s.data_ptr()
        del s
        small = lif(X[:, : 1 << 18])
        assert small.data_ptr() == address
        assert cpu.kept_bytes() == 0
        del small
        assert cpu.kept_bytes() == 8 * MIB
        lif(torch.ones(4, 1 << 20))
        assert cpu.kept_bytes() == 16 * MIB
    call()
    assert cpu.kept_bytes() == 24 * MIB, 'outside, a block serves its own size only'


def test_small_outputs_are_torchs_own(cpu):
    lif(torch.ones(4, 1000))
    assert cpu.kept_bytes() == 0


VIEWS = {
    'slice': lambda s: s[1:2, 5:9],
    'reshaped': lambda s: s.view(-1)[7:],
    'detached': lambda s: s.detach()[3],
    'numpy': lambda s: s.numpy()[2],
    'dlpack': lambda s: torch.from_dlpack(s)[1],
    'storage': lambda s: torch.empty(0).set_(s.untyped_storage(), 16, (40,), (1,)),
}


@pytest.mark.parametrize('name', VIEWS)
def test_content_stays_while_a_view_lives(name, cpu):
    s = call()
    view = VIEWS[name](s)
    before = copy.deepcopy(view)
    del s
    gc.collect()
    assert cpu.kept_bytes() == 0
    other = torch.zeros_like(X).copy_(lif(-X))  # a call that would write into the block
    assert not other.any()
    assert (view == before).all()
    assert (view != 0).all()
    del view
    gc.collect()
    assert cpu.kept_bytes() >= 8 * MIB


def test_saved_for_backward_counts_as_a_view(cpu):
    x = X.clone().requires_grad_()
    y = lif(x).square()  # saves the spikes
    lif(-X)
    y.sum().backward()
    assert torch.equal(y.detach(), lif(X))
    assert x.grad.count_nonzero()


def test_limit(cpu):
    cpu.set_keep_limit(12 * MIB)
    outputs = [call() for _ in range(4)]
    del outputs
    assert cpu.kept_bytes() == 8 * MIB
    cpu.set_keep_limit(8 * MIB - 1)
    assert cpu.kept_bytes() == 0
    call()
    assert cpu.kept_bytes() == 0
    assert cpu.keep_limit() == 8 * MIB - 1


def test_limit_0_keeps_nothing(cpu):
    cpu.set_keep_limit(0)
    for _ in range(3):
        call()
        assert cpu.kept_bytes() == 0


def test_oldest_block_goes_first(cpu):
    cpu.set_keep_limit(16 * MIB)
    a, b, c = (call() for _ in range(3))
    addresses = [t.data_ptr() for t in (a, b, c)]
    del a, b, c
    assert {call().data_ptr(), call().data_ptr()} <= set(addresses[1:])


def test_sizes_do_not_mix(cpu):
    """A block is used for its own size only, rounded up to 2 MiB."""
    call()
    half = lif(X[:2])
    assert cpu.kept_bytes() == 8 * MIB
    assert torch.equal(half, lif(X[:2].clone()))


def test_is_an_ordinary_tensor_for_autograd():
    x = X.clone().requires_grad_()
    s = lif(x, v_reset=None, tau=1.0)
    squared = s.square()
    s.add_(1)
    s.sum().backward()
    assert x.grad.count_nonzero()
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        squared.sum().backward()
    t = call().requires_grad_()
    (t * t).sum().backward()
    assert torch.equal(t.grad, 2 * t.detach())


def _saved(t):
    file = io.BytesIO()
    torch.save(t, file)
    return io.BytesIO(file.getvalue())


COPIES = {
    'deepcopy': copy.deepcopy,
    'pickle': lambda t: pickle.loads(pickle.dumps(t)),
    'save': lambda t: torch.load(_saved(t)),
    'clone': torch.clone,
    'to': lambda t: t.to(torch.float64).to(torch.float32),
    'numpy': lambda t: torch.from_numpy(t.numpy().copy()),
    'resize': lambda t: t.clone().resize_(t.shape),
}


@pytest.mark.parametrize('name', COPIES)
@pytest.mark.filterwarnings('ignore:TypedStorage is deprecated')
def test_copies(name):
    s = call()
    other = COPIES[name](s)
    assert torch.equal(other, s)
    s.zero_()
    assert other.any()


def test_share_memory():
    s = call()
    before = s.clone()
    s.share_memory_()
    assert s.is_shared()
    assert torch.equal(s, before)
    lif(-X)
    assert torch.equal(s, before)


def test_in_place_operations():
    s = call()
    s += 1
    s[0] = 7
    torch.relu_(s)
    s.t_().t_()
    assert s[0].eq(7).all()
    s.resize_(2, 5)
    assert s.eq(7).all()
    with pytest.raises(RuntimeError, match='not resizable'):  # like any tensor of foreign memory
        s.resize_(5, 1 << 20)


def test_numbers_of_channels_last_and_half(cpu):
    x = torch.randn(4 * 2, 16, 64, 64).to(torch.bfloat16, memory_format=torch.channels_last).unflatten(0, (4, 2))
    for _ in range(2):
        s = lif(x)
        assert s.stride() == x.stride()
        assert torch.equal(s, lif(x, backend='reference'))
