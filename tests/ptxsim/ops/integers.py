"""Integer arithmetic, shifts, bit fields and bit counting."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import multiply_high
from ..program import Instruction
from ..ptxtypes import SIGNED, UNSIGNED, WIDTH, is_signed
from ..state import Lanes
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

U64 = np.uint64


def sources(run: 'Run', ins: Instruction, lanes: Lanes) -> list[np.ndarray]:
    """All source operands as numbers of the instruction's type."""
    return [run.value(s, ins.types[-1], lanes) for s in ins.operands[1:]]


def add(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a + b, wrapping."""
    a, b = sources(run, ins, lanes)
    run.write(ins.operands[0], a + b, lanes)


def sub(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a - b, wrapping."""
    a, b = sources(run, ins, lanes)
    run.write(ins.operands[0], a - b, lanes)


def product(run: 'Run', ins: Instruction, lanes: Lanes) -> np.ndarray:
    """The low, high or wide product of the first two sources."""
    ptype = ins.types[-1]
    a, b = (run.value(s, ptype, lanes) for s in ins.operands[1:3])
    if 'wide' in ins.modifiers:
        wide = (SIGNED if is_signed(ptype) else UNSIGNED)[2 * WIDTH[ptype]]
        return a.astype(wide) * b.astype(wide)
    return multiply_high(a, b) if 'hi' in ins.modifiers else a * b


def mul(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a * b: .lo, .hi or .wide."""
    run.write(ins.operands[0], product(run, ins, lanes), lanes)


def mad(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a * b + c: .lo, .hi or .wide."""
    result = product(run, ins, lanes)
    addend = run.read(ins.operands[3], result.dtype.itemsize * 8, lanes).view(result.dtype)
    run.write(ins.operands[0], result + addend, lanes)


def _nonzero(divisor: np.ndarray) -> np.ndarray:
    return np.where(divisor == 0, divisor.dtype.type(1), divisor)


def div(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a / b, truncated. Division by zero, undefined in PTX, gives a."""
    a, b = sources(run, ins, lanes)
    b = _nonzero(b)
    quotient = a // b
    if is_signed(ins.types[-1]):
        quotient = quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))
    run.write(ins.operands[0], quotient.astype(a.dtype), lanes)


@op('rem')
def rem(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = remainder of a / b with the sign of a. Division by zero gives 0."""
    a, b = sources(run, ins, lanes)
    run.write(ins.operands[0], np.fmod(a, _nonzero(b)), lanes)


def logic(run: 'Run', ins: Instruction, lanes: Lanes, function: Callable) -> None:
    """A bitwise function of all sources."""
    width = WIDTH[ins.types[-1]]
    run.write(ins.operands[0], function(*[run.read(s, width, lanes) for s in ins.operands[1:]]), lanes)


@op('and')
def and_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a & b."""
    logic(run, ins, lanes, np.bitwise_and)


@op('or')
def or_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a | b."""
    logic(run, ins, lanes, np.bitwise_or)


@op('xor')
def xor(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a ^ b."""
    logic(run, ins, lanes, np.bitwise_xor)


@op('not')
def not_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = ~a."""
    logic(run, ins, lanes, np.invert)


@op('cnot')
def cnot(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = 1 if a is 0, else 0."""
    logic(run, ins, lanes, lambda a: (a == 0).astype(a.dtype))


@op('lop3')
def lop3(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """Any bitwise function of a, b and c, given as a truth table of 8 bits."""
    a, b, c = (run.read(s, 32, lanes) for s in ins.operands[1:4])
    table = ins.operands[4].value
    result = np.zeros_like(a)
    for row in range(8):
        if table >> row & 1:
            result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
    run.write(ins.operands[0], result, lanes)


def _shift_amount(run: 'Run', ins: Instruction, lanes: Lanes, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The shift clamped below the width, and where it reaches the width."""
    amount = run.read(ins.operands[2], 32, lanes)
    return np.minimum(amount, np.uint32(width - 1)), amount >= width


@op('shl')
def shl(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a << b; shifts by the width or more give 0."""
    width = WIDTH[ins.types[-1]]
    a = run.read(ins.operands[1], width, lanes)
    amount, all_out = _shift_amount(run, ins, lanes, width)
    run.write(ins.operands[0], np.where(all_out, a.dtype.type(0), a << amount.astype(a.dtype)), lanes)


@op('shr')
def shr(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a >> b; signed types fill with the sign, others with 0."""
    width = WIDTH[ins.types[-1]]
    a = run.value(ins.operands[1], ins.types[-1], lanes)
    amount, all_out = _shift_amount(run, ins, lanes, width)
    result = a >> amount.astype(a.dtype)
    if not is_signed(ins.types[-1]):
        result = np.where(all_out, a.dtype.type(0), result)
    run.write(ins.operands[0], result, lanes)


@op('shf')
def shf(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """Funnel shift of the 64-bit value b:a."""
    low, high, amount = (run.read(s, 32, lanes).astype(U64) for s in ins.operands[1:4])
    amount = amount & U64(31) if 'wrap' in ins.modifiers else np.minimum(amount, U64(32))
    value = (high << U64(32)) | low
    result = (value << amount) >> U64(32) if 'l' in ins.modifiers else value >> amount
    run.write(ins.operands[0], result.astype(np.uint32), lanes)


def low_mask(count: np.ndarray) -> np.ndarray:
    """A 64-bit mask of the lowest `count` bits (0 to 64 and more)."""
    count = count.astype(U64)
    partial = (U64(1) << np.minimum(count, U64(63))) - U64(1)
    return np.where(count >= 64, ~U64(0), partial)


def _field(run: 'Run', lanes: Lanes, position: object, length: object) -> tuple[np.ndarray, np.ndarray]:
    return tuple(run.read(o, 32, lanes).astype(np.int64) & 255 for o in (position, length))


@op('bfe')
def bfe(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = the bit field of a at position b of length c; signed types extend the field's sign."""
    ptype = ins.types[-1]
    width = WIDTH[ptype]
    a = run.read(ins.operands[1], width, lanes).astype(U64)
    position, length = _field(run, lanes, *ins.operands[2:4])
    present = np.clip(width - position, 0, length)
    result = np.where(position < width, a >> np.minimum(position, 63).astype(U64), U64(0)) & low_mask(present)
    if is_signed(ptype):
        top = np.minimum(position + length - 1, width - 1)
        negative = (length > 0) & ((a >> np.maximum(top, 0).astype(U64)) & U64(1)).astype(bool)
        result = np.where(negative, result | ~low_mask(present), result)
    run.write(ins.operands[0], result.astype(UNSIGNED[width]), lanes)


@op('bfi')
def bfi(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = b with the lowest d bits of a put at position c."""
    width = WIDTH[ins.types[-1]]
    a, b = (run.read(s, width, lanes).astype(U64) for s in ins.operands[1:3])
    position, length = _field(run, lanes, *ins.operands[3:5])
    inside = position < width
    shift = np.minimum(position, 63).astype(U64)
    mask = np.where(inside, low_mask(length) << shift, U64(0))
    run.write(ins.operands[0], ((b & ~mask) | ((a << shift) & mask)).astype(UNSIGNED[width]), lanes)


@op('prmt')
def prmt(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = four bytes picked from b:a; bit 3 of a selector replicates the byte's sign."""
    a, b, selectors = (run.read(s, 32, lanes).astype(U64) for s in ins.operands[1:4])
    value = (b << U64(32)) | a
    result = np.zeros(len(lanes), U64)
    for place in range(4):
        selector = (selectors >> U64(4 * place)) & U64(15)
        byte = (value >> ((selector & U64(7)) * U64(8))) & U64(255)
        sign = np.where(byte & U64(128), U64(255), U64(0))
        byte = np.where(selector & U64(8), sign, byte)
        result |= byte << U64(8 * place)
    run.write(ins.operands[0], result.astype(np.uint32), lanes)


def bit_length(bits: np.ndarray) -> np.ndarray:
    """The position of the highest set bit plus one; 0 for 0."""
    bits = bits.astype(U64)
    length = np.zeros(bits.shape, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        large = bits >= (U64(1) << U64(step))
        length += np.where(large, step, 0)
        bits = np.where(large, bits >> U64(step), bits)
    return length + (bits > 0)


def _bit_matrix(bits: np.ndarray) -> np.ndarray:
    """One row of single bits per value, lowest bit first."""
    raw = np.ascontiguousarray(bits).view(np.uint8).reshape(len(bits), -1)
    return np.unpackbits(raw, axis=1, bitorder='little')


@op('popc')
def popc(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = number of set bits of a."""
    a = run.read(ins.operands[1], WIDTH[ins.types[-1]], lanes)
    run.write(ins.operands[0], _bit_matrix(a).sum(1).astype(np.uint32), lanes)


@op('clz')
def clz(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = number of leading zero bits of a."""
    width = WIDTH[ins.types[-1]]
    length = bit_length(run.read(ins.operands[1], width, lanes))
    run.write(ins.operands[0], (width - length).astype(np.uint32), lanes)


@op('brev')
def brev(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a with its bits in reverse order."""
    a = run.read(ins.operands[1], WIDTH[ins.types[-1]], lanes)
    reverse = np.packbits(_bit_matrix(a)[:, ::-1], axis=1, bitorder='little')
    run.write(ins.operands[0], np.ascontiguousarray(reverse).view(a.dtype).reshape(-1), lanes)


@op('bfind')
def bfind(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = position of the highest bit that differs from the sign; all ones if there is none."""
    ptype = ins.types[-1]
    a = run.read(ins.operands[1], WIDTH[ptype], lanes)
    if is_signed(ptype):
        a = np.where(a.view(SIGNED[WIDTH[ptype]]) < 0, ~a, a)
    run.write(ins.operands[0], (bit_length(a) - 1).astype(np.uint32), lanes)
