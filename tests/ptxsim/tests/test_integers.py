"""Integer arithmetic against Python's."""

from fractions import Fraction

import numpy as np

from .draws import COUNT, RNG, SMALL, WORDS, longs, words
from .snippets import evaluate


def integers(name: str, function, *operands: np.ndarray, output: type = np.uint32) -> None:
    """Compare an instruction `name` with a Python function of ints, wrapped to the output's size."""
    size = np.dtype(output).itemsize
    families = {4: 'r', 8: 'rd'}
    listed = ', '.join(f'%{families[a.dtype.itemsize]}{i}' for i, a in enumerate(operands))
    got = evaluate(f'{name} %{families[size]}8, {listed};', list(operands), output)
    signed = any(part[0] == 's' and part[1:].isdigit() for part in name.split('.'))
    views = [a.view(f'i{a.dtype.itemsize}') if signed else a for a in operands]
    expected = [function(*map(int, v)) & ((1 << 8 * size) - 1) for v in zip(*views, strict=True)]
    assert got.view(f'u{size}').tolist() == expected, name


def truncated(a: int, b: int) -> int:
    """C's integer division."""
    return int(Fraction(a, b)) if b else 0


def test_integer_arithmetic() -> None:
    nonzero = np.where(WORDS == 0, np.uint32(3), WORDS)[::-1].copy()
    integers('add.s32', lambda a, b: a + b, WORDS, nonzero)
    integers('mul.lo.s32', lambda a, b: a * b, WORDS, nonzero)
    integers('mul.hi.u32', lambda a, b: a * b >> 32, WORDS, nonzero)
    integers('mul.hi.s32', lambda a, b: a * b >> 32, WORDS, nonzero)
    integers('div.s32', truncated, WORDS, SMALL + np.uint32(1))
    integers('div.u32', lambda a, b: a // b, WORDS, nonzero)
    integers('rem.s32', lambda a, b: a - b * truncated(a, b), WORDS, nonzero)
    wide, other = longs(), longs()
    integers('mul.hi.u64', lambda a, b: a * b >> 64, wide, other, output=np.uint64)
    integers('mul.hi.s64', lambda a, b: a * b >> 64, wide, other, output=np.int64)
    integers('div.s64', truncated, wide, other >> np.uint64(40), output=np.int64)
    integers('mul.wide.s32', lambda a, b: a * b, WORDS, nonzero, output=np.int64)


def reference_field(value: int, position: int, length: int, width: int, signed: bool) -> int:
    """bfe as the PTX manual writes it."""
    position, length = position & 255, length & 255
    top = width - 1
    fill = 0 if not signed or length == 0 else (value >> min(position + length - 1, top)) & 1
    result = 0
    for i in range(width):
        bit = (value >> (position + i)) & 1 if i < length and position + i <= top else fill
        result |= bit << i
    return result


def test_bits() -> None:
    integers('shl.b32', lambda a, b: a << b, WORDS, SMALL)
    integers('shr.u32', lambda a, b: a >> b, WORDS, SMALL)
    integers('shr.s32', lambda a, b: a >> b, WORDS, SMALL)
    integers('popc.b32', lambda a: bin(a).count('1'), WORDS)
    integers('clz.b32', lambda a: 32 - a.bit_length(), WORDS >> (SMALL % np.uint32(33)))
    integers('brev.b32', lambda a: int(f'{a:032b}'[::-1], 2), WORDS)
    integers('bfind.u32', lambda a: a.bit_length() - 1, WORDS >> (SMALL % np.uint32(33)))
    integers('bfind.s32', lambda a: (a if a >= 0 else ~a).bit_length() - 1, WORDS)
    position, length = SMALL, RNG.integers(0, 40, COUNT).astype(np.uint32)
    integers('bfe.u32', lambda a, p, n: reference_field(a, p, n, 32, False), WORDS, position, length)
    signed = evaluate('bfe.s32 %r8, %r0, %r1, %r2;', [WORDS, position, length])
    assert signed.tolist() == [
        reference_field(int(a), int(p), int(n), 32, True) for a, p, n in zip(WORDS, position, length, strict=True)
    ]
    low = ((np.uint64(1) << np.minimum(length, 32).astype(np.uint64)) - np.uint64(1)).astype(np.uint32)
    mask = np.where(position < 32, low << (position % np.uint32(32)), np.uint32(0))
    other = words()
    got = evaluate('bfi.b32 %r8, %r0, %r1, %r2, %r3;', [WORDS, other, position, length])
    expected = (other & ~mask) | ((WORDS << (position % np.uint32(32))) & mask)
    assert np.array_equal(got, expected)


def test_permute_and_logic() -> None:
    other = words()
    assert np.array_equal(evaluate('prmt.b32 %r8, %r0, %r1, 0x3210;', [WORDS, other]), WORDS)
    assert np.array_equal(evaluate('prmt.b32 %r8, %r0, %r1, 0x7654;', [WORDS, other]), other)
    assert np.array_equal(evaluate('prmt.b32 %r8, %r0, %r1, 0x0123;', [WORDS, other]), WORDS.byteswap())
    signs = evaluate('prmt.b32 %r8, %r0, %r1, 0xBBBB;', [WORDS, other])
    assert np.array_equal(signs, np.where(WORDS >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0)))
    assert np.array_equal(evaluate('lop3.b32 %r8, %r0, %r1, %r0, 0x96;', [WORDS, other]), other)
    majority = evaluate('lop3.b32 %r8, %r0, %r1, %r2, 0xE8;', [WORDS, other, SMALL])
    assert np.array_equal(majority, (WORDS & other) | (WORDS & SMALL) | (other & SMALL))
    got = evaluate('shf.l.wrap.b32 %r8, %r0, %r1, %r2;', [WORDS, other, SMALL])
    both = (other.astype(np.uint64) << np.uint64(32)) | WORDS
    assert np.array_equal(got, ((both << (SMALL % 32).astype(np.uint64)) >> np.uint64(32)).astype(np.uint32))
