"""Spikes as bits and bytes: exact there and back on every backend, an error for what is no spike, nothing lost."""

from importlib.util import find_spec

import emulator
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnkern.backends import native, reference
from snnkern.backends.reference.pack import KINDS
from snnkern.functional import PackedSpikes, pack_spikes, unpack_spikes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SIZES = (0, 1, 7, 8, 9, 31, 33, 1025, 40_003)
NO_SPIKES = (0.5, -0.0, torch.nan, torch.inf, -torch.inf, 256.0, -129.0, 1e-30, 3e38)


def spikes(shape, kind='bits', scale=1.0, dtype=torch.float32):
    """Random counts that need this kind, as neurons emit them."""
    low, high = KINDS[kind]
    counts = torch.randint(low, high + 1, shape)
    if counts.numel() > 1:
        counts.view(-1)[:2] = torch.tensor([low, high])
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return (counts.to(wide) * torch.tensor(scale, dtype=wide)).to(dtype)


def same_bits(a, b):
    same_kind = a.dtype == b.dtype and a.shape == b.shape
    return same_kind and a.contiguous().flatten().view(torch.uint8).equal(b.contiguous().flatten().view(torch.uint8))


def check_backend(backend, n, kind, scale, dtype):
    """Data equal the reference's and unpack to the same bits, checked and not."""
    x = spikes((n,), kind, scale, dtype)
    expected = reference.pack_spikes(x, kind, scale, True)
    for check in (True, False):
        data = backend.pack_spikes(x, kind, scale, check)
        assert data.dtype == expected.dtype
        assert data.equal(expected)
    assert same_bits(backend.unpack_spikes(data, kind, scale, n, dtype), x)


def check_refusals(backend, kind, dtype, n=1000):
    """Whatever is no spike is seen, first, last and in the middle."""
    for at in (0, n // 2, n - 1):
        for value in NO_SPIKES:
            x = spikes((n,), kind, 1.0, dtype)
            x[at] = value
            if x[at].isfinite() and x[at] == x[at].round() and KINDS[kind][0] <= x[at] <= KINDS[kind][1]:
                if not (x[at] == 0 and x[at].signbit()):
                    continue  # rounded to a spike in half precision
            assert backend.pack_spikes(x, kind, 1.0, True) is None, (at, value)


def test_bits_are_in_the_order_of_memory():
    x = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0, 1])
    for backend in ('native', 'reference'):
        packed = pack_spikes(x, backend=backend)
        assert packed.data.tolist() == [0b00001001, 0b00000010]
        assert (packed.kind, packed.scale, packed.nbytes) == ('bits', 1.0, 2)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('kind', KINDS)
def test_every_size_on_every_instruction_set(isa, kind, dtype):
    for n in SIZES:
        for scale in (1.0, 0.7, 2.37):
            check_backend(native, n, kind, scale, dtype)
    check_refusals(native, kind, dtype)


@pytest.mark.parametrize('kind', KINDS)
def test_a_single_wrong_value_is_found_by_any_thread(kind, two_threads):
    for n in (100_000, 100_001):
        x = spikes((n,), kind)
        for at in (4095, 4096, n // 2, n - 1):
            wrong = x.clone()
            wrong[at] = 0.25
            with pytest.raises(ValueError, match=rf'x must hold spikes .* got 0.25 at \({at},\)'):
                pack_spikes(wrong, kind=kind)


if find_spec('snnkern._cuda'):

    @pytest.mark.parametrize('gpu', [75, 90], indirect=True)
    @pytest.mark.parametrize('dtype', DTYPES, ids=str)
    def test_cuda(gpu, dtype):
        for n in (1, 9, 1025, 2048):
            for kind in KINDS:
                check_backend(native, n, kind, 0.7, dtype)
        x = spikes((1025,), 'bits', 1.0, dtype)
        assert native.pack_spikes(x[1:], 'bits', 1.0, True).equal(reference.pack_spikes(x[1:], 'bits', 1.0, True))

    @pytest.mark.parametrize('kind', KINDS)
    def test_cuda_refusals(gpu, kind):
        check_refusals(native, kind, torch.float32, 40)

    def test_cuda_traffic(gpu):
        """4 bytes and a bit a value, by accesses of 16 bytes and of one."""
        x = spikes((4096,))
        native.unpack_spikes(native.pack_spikes(x, 'bits', 1.0, False), 'bits', 1.0, 4096, torch.float32)
        pack, unpack = (run.traffic() for run in gpu.runs[-2:])
        print(pack, unpack)


def test_triton(driver):
    pytest.importorskip('triton')
    from snnkern.backends import triton

    for dtype in DTYPES:
        for kind in KINDS:
            for n in (1, 1025):
                check_backend(triton, n, kind, 0.7, dtype)
    for kind in KINDS:
        check_refusals(triton, kind, torch.float32, 40)
    x = spikes((1025,))
    assert triton.pack_spikes(x[1:], 'bits', 1.0, True).equal(reference.pack_spikes(x[1:], 'bits', 1.0, True))
    for compiled in {compiled.metadata.name: compiled for compiled, _ in driver.runs}.values():
        facts = emulator.facts(compiled.asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)


LAYOUTS = {
    'contiguous': lambda x: x,
    'channels last': lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    'transposed': lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    'a view in a block': lambda x: torch.cat([x, x])[1 : 1 + len(x)],
}


@pytest.mark.parametrize('dtype', [*DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts(layout, dtype):
    x = LAYOUTS[layout](spikes((3, 4, 5, 7), 'counts', 0.3, dtype))
    back = pack_spikes(x, 0.3).unpack()
    assert same_bits(back, x)
    assert back.stride() == x.stride()


@pytest.mark.parametrize(
    'x', [torch.ones(()), torch.ones(4, 0, 3), torch.ones(5, 6)[:, ::2], torch.ones(1).expand(3, 4)], ids=str
)
def test_odd_shapes(x):
    """What has gaps or repeats is packed as a contiguous copy."""
    back = unpack_spikes(pack_spikes(x))
    assert same_bits(back, x)


@given(
    counts=st.lists(st.integers(-128, 255), max_size=70),
    scale=st.floats(2.0**-10, 1024, width=32),
    dtype=st.sampled_from([*DTYPES, torch.float64]),
)
def test_the_smallest_kind_holds_what_neurons_emit(counts, scale, dtype):
    """There and back to the bit, or an error; on both backends alike."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    x = (torch.tensor(counts, dtype=wide) * torch.tensor(scale, dtype=wide)).to(dtype)
    found = []
    for backend in (None, 'reference'):
        try:
            packed = pack_spikes(x, scale, backend=backend)
        except ValueError:
            found.append(None)
            continue
        assert same_bits(packed.unpack(), x)
        found.append((packed.kind, packed.data.tolist()))
    assert found[0] == found[1]
    if found[0] is None:  # both signs beyond -128..127, or half precision that no longer tells counts apart
        assert (min(counts) < 0 and max(counts) > 127) or dtype in (torch.bfloat16, torch.float16)


@given(values=st.lists(st.floats(width=32), min_size=1, max_size=40), kind=st.sampled_from([None, *KINDS]))
def test_any_floats_are_kept_or_refused(values, kind):
    x = torch.tensor(values, dtype=torch.float32)
    before = x.clone()
    try:
        back = pack_spikes(x, kind=kind).unpack()
    except ValueError:
        with pytest.raises(ValueError, match='x must hold spikes'):
            pack_spikes(x, kind=kind, backend='reference')
    else:
        assert same_bits(back, x)
    assert same_bits(x, before)


def test_errors():
    x = torch.zeros(2, 3)
    for change, match in (
        (lambda: pack_spikes(x, kind='bit'), 'kind must be one of bits, counts, signed or None, got'),
        (lambda: pack_spikes(x, check=False), 'kind must be one of .* where check is False, got None'),
        (lambda: pack_spikes(x, scale=0.0), 'scale must be > 0'),
        (lambda: pack_spikes(x, scale=torch.nan), 'scale must be finite'),
    ):
        with pytest.raises(ValueError, match=match):
            change()
    for bad in (x.int(), x.tolist(), x.to_sparse()):
        with pytest.raises(TypeError, match='x must be'):
            pack_spikes(bad)
    with pytest.raises(TypeError, match='packed must be a PackedSpikes'):
        unpack_spikes(x)
    x[1, 2] = -0.0
    with pytest.raises(ValueError, match=r'x must hold spikes \(0 or 0.5\), got -0.0 at \(1, 2\)'):
        pack_spikes(x, 0.5, 'bits')
    with pytest.raises(RuntimeError, match='cannot run pack_spikes'):
        pack_spikes(torch.zeros(2, dtype=torch.float64), backend='native')


def test_foreign_data_is_refused():
    """What does not belong to its shape would be read beyond its end."""
    packed = pack_spikes(torch.ones(16), kind='bits')
    for wrong in ({'shape': (64,), 'strides': (1,)}, {'data': packed.data.char()}, {'kind': 'counts'}):
        with pytest.raises(ValueError, match=r'^data of .* must hold'):
            unpack_spikes(packed._replace(**wrong))
    apart = torch.stack([packed.data, packed.data], 1)[:, 0]
    assert unpack_spikes(packed._replace(data=apart)).equal(torch.ones(16))


def test_no_graph():
    x = torch.ones(4, 5, requires_grad=True)
    packed = pack_spikes(x)
    assert not packed.data.requires_grad
    assert not packed.unpack().requires_grad


def test_ops():
    """Schema, fake and tracing agree, and both run inside one graph."""
    x = spikes((3, 5, 7))
    ops = torch.ops.snnkern
    torch.library.opcheck(ops.pack_spikes.default, (x, 'bits', 1.0, True, ''))
    packed = pack_spikes(x)
    shape = list(x.shape), list(x.stride())
    torch.library.opcheck(ops.unpack_spikes.default, (packed.data, 'bits', 1.0, *shape, x.dtype, ''))
    both = torch.compile(lambda x: pack_spikes(x, kind='bits').unpack(), backend='aot_eager', fullgraph=True)
    assert both(x).equal(x)
    with pytest.raises(ValueError, match='x must hold spikes'):
        both(x + 0.25)
    traced = torch.compile(lambda x: pack_spikes(x, kind='counts'), backend='aot_eager', fullgraph=True)(x)
    assert isinstance(traced, PackedSpikes)
    assert traced.unpack().equal(x)
