"""Packed spikes in Triton: eight neighbours are one byte of bits, compared as whole numbers."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

RUN_TIME = ('one', 'n', 'scale', 'inverse', 'low')  # nothing is compiled for a value


@triton.jit
def places(n, BLOCK: tl.constexpr):
    """The values of this program as [BLOCK / 8, 8], whether they exist, and the bytes of their rows."""
    row = tl.program_id(0).to(tl.int64) * (BLOCK // 8) + tl.arange(0, BLOCK // 8)
    at = row[:, None] * 8 + tl.arange(0, 8)[None, :]
    return at, at < n.to(tl.int64), row, row * 8 < n


@triton.jit(do_not_specialize=RUN_TIME)
def pack_bits(x, packed, invalid, one, n, BLOCK: tl.constexpr):
    """x: whole numbers of the width of the values; one: a spike as such a number."""
    at, inside, row, there = places(n, BLOCK)
    value = tl.load(x + at, inside, 0)
    spike = value == one.to(value.dtype)
    byte = tl.sum(spike.to(tl.int32) << tl.arange(0, 8)[None, :], 1)
    tl.store(packed + row, byte.to(tl.uint8), there)
    if invalid is not None:
        other = tl.max((~(spike | (value == 0))).to(tl.int32).reshape([BLOCK]), 0)
        tl.atomic_or(invalid, 1, mask=other != 0)


@triton.jit(do_not_specialize=RUN_TIME)
def unpack_bits(packed, x, one, n, BLOCK: tl.constexpr):
    at, inside, row, there = places(n, BLOCK)
    byte = tl.load(packed + row, there, 0).to(tl.int32)
    spike = (byte[:, None] >> tl.arange(0, 8)[None, :]) & 1
    tl.store(x + at, tl.where(spike != 0, one, 0).to(x.dtype.element_ty), inside)


@triton.jit(do_not_specialize=RUN_TIME)
def pack_counts(x, packed, invalid, scale, inverse, low, n, BLOCK: tl.constexpr):
    """x: the values themselves. low: the least count."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n.to(tl.int64)
    value = tl.load(x + at, inside, 0.0)
    near = value.to(tl.float32) * inverse
    near = tl.where(near > low, near, low)  # a NaN, too
    count = tl.minimum(near, low + 255.0) + 12582912.0 - 12582912.0  # to the nearest whole number
    tl.store(packed + at, count.to(tl.int32).to(packed.dtype.element_ty), inside)
    if invalid is not None:
        BITS: tl.constexpr = tl.int32 if value.dtype.primitive_bitwidth == 32 else tl.int16
        worth = (count * scale).to(value.dtype)
        other = tl.max((worth.to(BITS, bitcast=True) != value.to(BITS, bitcast=True)).to(tl.int32), 0)
        tl.atomic_or(invalid, 1, mask=other != 0)


@triton.jit(do_not_specialize=RUN_TIME)
def unpack_counts(packed, x, scale, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n.to(tl.int64)
    count = tl.load(packed + at, inside, 0).to(tl.float32)
    tl.store(x + at, (count * scale).to(x.dtype.element_ty), inside)
