"""Packed spikes in Triton: eight neighbours are one byte of bits, compared as whole numbers."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

RUN_TIME = ('one', 'n', 'scale', 'inverse', 'low')  # nothing is compiled for a value


@triton.jit
def start_of(n, BLOCK: tl.constexpr):
    """The first value of this program, and how many there are from there on: only the last one's need masks, which
    make accesses single values."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    return start, n.to(tl.int64) - start


@triton.jit
def places(BLOCK: tl.constexpr):
    """The values of a program as [BLOCK / 8, 8], and the bytes of their rows."""
    row = tl.arange(0, BLOCK // 8)
    return row[:, None] * 8 + tl.arange(0, 8)[None, :], row


@triton.jit
def report(invalid, wrong):
    """Tells the host that one of a program's values is no spike."""
    if invalid is not None:
        tl.atomic_or(invalid, 1, mask=tl.max(wrong.to(tl.int32), 0) != 0)


@triton.jit
def pack_bits_of(x, packed, invalid, one, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at, row = places(BLOCK)
    value = tl.load(x + at) if WHOLE else tl.load(x + at, at < left, 0)
    spike = value == one.to(value.dtype)
    byte = tl.sum(spike.to(tl.int32) << tl.arange(0, 8)[None, :], 1)
    tl.store(packed + row, byte.to(tl.uint8), None if WHOLE else row * 8 < left)
    report(invalid, (~(spike | (value == 0))).reshape([BLOCK]))


@triton.jit(do_not_specialize=RUN_TIME)
def pack_bits(x, packed, invalid, one, n, BLOCK: tl.constexpr):
    """x: whole numbers of the width of the values; one: a spike as such a number."""
    start, left = start_of(n, BLOCK)
    if left >= BLOCK:
        pack_bits_of(x + start, packed + start // 8, invalid, one, left, BLOCK, True)
    else:
        pack_bits_of(x + start, packed + start // 8, invalid, one, left, BLOCK, False)


@triton.jit
def unpack_bits_of(packed, x, one, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at, row = places(BLOCK)
    byte = tl.load(packed + row) if WHOLE else tl.load(packed + row, row * 8 < left, 0)
    spike = (byte.to(tl.int32)[:, None] >> tl.arange(0, 8)[None, :]) & 1
    tl.store(x + at, tl.where(spike != 0, one, 0).to(x.dtype.element_ty), None if WHOLE else at < left)


@triton.jit(do_not_specialize=RUN_TIME)
def unpack_bits(packed, x, one, n, BLOCK: tl.constexpr):
    start, left = start_of(n, BLOCK)
    if left >= BLOCK:
        unpack_bits_of(packed + start // 8, x + start, one, left, BLOCK, True)
    else:
        unpack_bits_of(packed + start // 8, x + start, one, left, BLOCK, False)


@triton.jit
def pack_counts_of(x, packed, invalid, scale, inverse, low, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at) if WHOLE else tl.load(x + at, at < left, 0.0)
    near = value.to(tl.float32) * inverse
    near = tl.where(near > low, near, low)  # a NaN, too
    count = tl.minimum(near, low + 255.0) + 12582912.0 - 12582912.0  # to the nearest whole number
    tl.store(packed + at, count.to(tl.int32).to(packed.dtype.element_ty), None if WHOLE else at < left)
    BITS: tl.constexpr = tl.int32 if value.dtype.primitive_bitwidth == 32 else tl.int16
    worth = (count * scale).to(value.dtype)
    report(invalid, worth.to(BITS, bitcast=True) != value.to(BITS, bitcast=True))


@triton.jit(do_not_specialize=RUN_TIME)
def pack_counts(x, packed, invalid, scale, inverse, low, n, BLOCK: tl.constexpr):
    """x: the values themselves. low: the least count."""
    start, left = start_of(n, BLOCK)
    if left >= BLOCK:
        pack_counts_of(x + start, packed + start, invalid, scale, inverse, low, left, BLOCK, True)
    else:
        pack_counts_of(x + start, packed + start, invalid, scale, inverse, low, left, BLOCK, False)


@triton.jit
def unpack_counts_of(packed, x, scale, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at = tl.arange(0, BLOCK)
    count = (tl.load(packed + at) if WHOLE else tl.load(packed + at, at < left, 0)).to(tl.float32)
    tl.store(x + at, (count * scale).to(x.dtype.element_ty), None if WHOLE else at < left)


@triton.jit(do_not_specialize=RUN_TIME)
def unpack_counts(packed, x, scale, n, BLOCK: tl.constexpr):
    start, left = start_of(n, BLOCK)
    if left >= BLOCK:
        unpack_counts_of(packed + start, x + start, scale, left, BLOCK, True)
    else:
        unpack_counts_of(packed + start, x + start, scale, left, BLOCK, False)
