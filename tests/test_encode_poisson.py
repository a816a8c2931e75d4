"""Poisson spikes are a function of seed, sample and step: Philox is the published one, every backend draws the same."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnkern import encode, functional, nn
from snnkern.backends import native
from snnkern.backends.reference.encode import philox
from snnkern.testing import assert_spikes_equal

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)
# counter and key, words: "philox4x32 10" in kat_vectors of Random123.
KNOWN = [
    ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def uniform(element, t, seed):
    """The number that decides whether an element spikes in step t."""
    counter = tuple(torch.tensor([word]) for word in (element & 0xFFFFFFFF, element >> 32, t // 4, 0))
    return (philox(counter, seed)[t % 4] >> 8).item() * 2.0**-24


@pytest.mark.parametrize(('given_', 'words'), KNOWN)
def test_known_answers(given_, words):
    counter = tuple(torch.tensor([word]) for word in given_[:4])
    assert tuple(word.item() for word in philox(counter, given_[4] | given_[5] << 32)) == words


@pytest.mark.parametrize('seed', [0, 7, 2**32 + 5, 2**63 - 1])
@pytest.mark.parametrize('element', [0, 5, 2**32 - 1, 2**32, 2**40 + 3])
def test_every_bit_counts(isa, seed, element):
    """A probability equal to the drawn number gives no spike, the next larger float32 does."""
    for t in (0, 1, 2, 3, 4, 11):
        u = uniform(element, t, seed)
        x = torch.tensor([[u]])
        for probability, spikes in ((x, 0), (torch.nextafter(x, torch.ones(1)), 1)):
            assert encode.poisson(probability, t + 1, seed, offset=element, backend='native')[t] == spikes


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', [(1,), (0, 3), (3,), (5, 7), (1, 17, 31), (2, 3, 9, 11), (3, 1000)])
def test_native_is_the_reference(isa, dtype, shape, poisoned):
    x = torch.rand(shape).to(dtype)
    for T in (1, 4, 6):
        expected = encode.poisson(x, T, 99, 3, backend='reference')
        assert_spikes_equal(encode.poisson(x, T, 99, 3, backend='native'), expected)
        assert expected.shape == (T, *shape)


@pytest.fixture(scope='module')
def large():
    """More elements than a tile, and part of one; spikes are written around the cache."""
    x = torch.rand(3, 100_003)
    return x, encode.poisson(x, 7, 5, backend='reference')


def test_tiles_threads_and_streams(isa, two_threads, large):
    x, expected = large
    assert expected.nbytes >= 1 << 23
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert_spikes_equal(encode.poisson(x, 7, 5, backend='native'), expected)
    half = x.half()
    long = encode.poisson(half, 14, 5, backend='native')
    assert torch.equal(long[:7].float(), encode.poisson(half.float(), 7, 5, backend='native'))


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_layouts(isa, dtype):
    """Elements are numbered in contiguous order; output has the layout of the input."""
    x = torch.rand(5, 3, 28, 31).to(dtype)
    expected = encode.poisson(x, 6)
    last = x.to(memory_format=torch.channels_last)
    for backend in ('native', 'reference'):
        found = encode.poisson(last, 6, backend=backend)
        assert torch.equal(found, expected)
        assert found[0].is_contiguous(memory_format=torch.channels_last)
        assert found.stride(0) == x.numel()
        for y in (x.transpose(2, 3).contiguous().transpose(2, 3), torch.stack([x, x], -1)[..., 0]):
            assert_spikes_equal(encode.poisson(y, 6, backend=backend), expected)
    volume = torch.rand(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert torch.equal(encode.poisson(volume, 5), encode.poisson(volume.contiguous(), 5))
    same = x[:1].expand(5, -1, -1, -1)
    assert_spikes_equal(encode.poisson(same, 3), encode.poisson(same.contiguous(), 3))


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 9)),
    cut=st.integers(0, 6),
    T=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
    offset=st.integers(0, 2**40),
)
def test_batches_split_as_they_like(sizes, cut, T, seed, offset):
    """Sample b of a later call or of another rank draws what it would draw in the whole; so does a shorter run."""
    x = torch.rand(sizes)
    whole = encode.poisson(x, T, seed, offset)
    parts = [encode.poisson(part, T, seed, offset + at) for part, at in ((x[:cut], 0), (x[cut:], cut))]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(encode.poisson(x, 1, seed, offset), whole[:1])
    assert torch.equal(whole, encode.poisson(x, T, seed, offset, backend='reference'))


def test_never_and_always():
    x = torch.tensor([[0.0, 1.0]])
    assert torch.equal(encode.poisson(x, 5000).mean(0), x)
    odd = torch.tensor([[torch.nan, 2.0, -1.0]])
    for backend in ('native', 'reference'):
        found = encode.poisson(odd, 64, check=False, backend=backend)
        assert torch.equal(found.mean(0), torch.tensor([[0.0, 1.0, 0.0]]))


def test_float64_is_compared_as_float32():
    x = torch.rand(4, 50, dtype=torch.float64)
    found = encode.poisson(x, 5)
    assert found.dtype == torch.float64
    assert torch.equal(found, encode.poisson(x.float(), 5).double())


def correlation(a, b):
    return ((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std())


@pytest.mark.parametrize('p', [0.02, 0.3, 0.5, 0.97])
def test_statistics(p):
    """Rate, and no correlation between steps, elements, samples or neighbouring seeds: within 4.5 sigma."""
    T, B, n = 20, 20, 500
    s = encode.poisson(torch.full((B, n), p), T, seed=11).double()
    count = T * B * n
    assert abs(s.mean().item() - p) < 4.5 * (p * (1 - p) / count) ** 0.5
    other = encode.poisson(torch.full((B, n), p), T, seed=12).double()
    pairs = [(s, other), *((s[lag:], s[:-lag]) for lag in (1, 2, 3, 4, 8))]
    pairs += [(s[:, 1:], s[:, :-1]), *((s[..., lag:], s[..., :-lag]) for lag in (1, 2, 4, 16))]
    for a, b in pairs:
        assert abs(correlation(a, b)) < 4.5 / a.numel() ** 0.5


def test_counts_are_binomial():
    """Chi-square of spikes per element against Binomial(16, 0.4)."""
    counts = encode.poisson(torch.full((1, 200_000), 0.4), 16, seed=3).sum(0).long().flatten()
    expected = torch.tensor([math.comb(16, k) * 0.4**k * 0.6 ** (16 - k) * 200_000 for k in range(17)]).double()
    seen = torch.bincount(counts, minlength=17)
    kept = expected > 5
    statistic = ((seen - expected)[kept] ** 2 / expected[kept]).sum()
    assert 0.001 < torch.special.gammaincc((kept.sum() - 1) / 2, statistic / 2) < 0.999


def test_module_draws_every_batch_anew():
    x = torch.rand(6, 10)
    module = encode.Poisson(8, seed=4, offset=2)
    first, second = module(x), module(x[:3])
    assert torch.equal(first, encode.poisson(x, 8, 4, offset=2))
    assert torch.equal(second, encode.poisson(x[:3], 8, 4, offset=8))
    assert torch.equal(module(x, offset=2), first)
    module.reset()
    assert torch.equal(module(x), first)
    assert module.state_dict() == {}
    assert repr(module) == 'Poisson(T=8, seed=4, offset=2, backend=None, check=True)'


def test_no_gradient_flows():
    x = torch.rand(2, 5, requires_grad=True)
    assert not encode.poisson(x, 3).requires_grad


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_opcheck(dtype):
    x = torch.rand(2, 3, 5, 4, dtype=dtype)
    for y in (x.to(memory_format=torch.channels_last), x.transpose(1, 2)):
        torch.library.opcheck(torch.ops.snnkern.poisson.default, (y, 5, 7, 1, ''))


def test_compile():
    """One graph for all offsets, given or the module's own."""
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    x = torch.rand(2, 3, 6, 5)
    graph = torch.compile(lambda x, at: encode.poisson(x, 4, 9, at), fullgraph=True, backend='aot_eager', dynamic=True)
    for at in range(2, 6):
        assert torch.equal(graph(x, at), encode.poisson(x, 4, 9, at))
    counters.clear()
    net = torch.nn.Sequential(encode.Poisson(4), nn.LIF())
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    for call in range(4):
        assert torch.equal(compiled(x), functional.lif(encode.poisson(x, 4, offset=2 * call)))
        nn.reset(net)
    assert counters['stats']['unique_graphs'] == 1


def test_meta():
    x = torch.empty(2, 3, 4, 5, device='meta')
    assert encode.poisson(x, 6).shape == (6, 2, 3, 4, 5)


X = torch.rand(2, 3)
WRONG = [
    (([0.5], 4), {}, TypeError, 'x must be a tensor, got list'),
    ((X.mul(255).byte(), 4), {}, TypeError, 'x must be float32, .* got torch.uint8: divide by 255'),
    ((X.cfloat(), 4), {}, TypeError, r'x must be float32, float16, bfloat16 or float64, got torch.complex64$'),
    ((X, 4), {'offset': 2**62}, ValueError, 'offset must be <= .*, got 4611686018427387904'),
    ((X, 0), {}, ValueError, 'T must be >= 1, got 0'),
    ((X, 4.0), {}, TypeError, r'T must be an integer, got 4\.0'),
    ((X - 1, 4), {}, ValueError, r'x must lie in \[0, 1\], got values from -0\.\d+ to -'),
    ((X * 300, 4), {}, ValueError, r'x must lie in \[0, 1\], got values from .* to \d+\.'),
    ((X * torch.nan, 4), {}, ValueError, r'x must lie in \[0, 1\], got NaN'),
    ((X[0, 0], 4), {}, ValueError, r'x must be \[B, \.\.\.\], got shape \(\)'),
    ((X, 4, -1), {}, ValueError, 'seed must be >= 0, got -1'),
    ((X, 4, 2**63), {}, ValueError, 'seed must be <= 9223372036854775807'),
    ((X, 4), {'offset': -1}, ValueError, 'offset must be >= 0, got -1'),
    ((X, 4), {'backend': 'triton'}, RuntimeError, "backend 'triton' cannot run poisson: "),
    ((X.double(), 4), {'backend': 'native'}, RuntimeError, "backend 'native' cannot run poisson: no float64 kernels"),
]


@pytest.mark.parametrize(('arguments', 'named', 'error', 'text'), WRONG)
def test_errors(arguments, named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        encode.poisson(*arguments, **named)


def test_wrong_arguments_of_a_module():
    with pytest.raises(TypeError, match='speed'):
        encode.Poisson(4, speed=1)
    with pytest.raises(TypeError, match="missing a required argument: 'T'"):
        encode.Poisson()


def test_native_has_it():
    assert native.refusal('poisson', torch.device('cpu'), torch.bfloat16) is None
