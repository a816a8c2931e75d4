"""cvt: conversions between all scalar types."""

from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import (
    bf16_from_float,
    flush_subnormals,
    force_odd,
    odd_f32,
    relu,
    round_to_f16,
    round_to_f32,
    saturate,
)
from ..program import Instruction
from ..ptxtypes import PACKED, SIGNED, UNSIGNED, WIDTH, integer_dtype, integer_range, is_float, is_signed
from ..state import Lanes
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

TO_INTEGER = {'rni': np.rint, 'rzi': np.trunc, 'rmi': np.floor, 'rpi': np.ceil}


@op('cvt')
def cvt(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a converted from the second type to the first."""
    target, source = ins.types
    if target in PACKED:
        run.write(ins.operands[0], pair(run, ins, lanes), lanes)
        return
    values = run.value(ins.operands[1], source, lanes)
    if 'ftz' in ins.modifiers and source == 'f32':
        values = flush_subnormals(values)
    if not is_float(target):
        convert = float_to_integer if is_float(source) else integer_to_integer
        run.write(ins.operands[0], convert(ins, values, target), lanes)
    else:
        exact = values if is_float(source) else integer_to_double(values, target)
        run.write(ins.operands[0], to_float(ins, exact, target), lanes)


def pair(run: 'Run', ins: Instruction, lanes: Lanes) -> np.ndarray:
    """cvt.f16x2/bf16x2.f32 d, a, b: a becomes the upper element."""
    mode = ins.choose('rn', 'rz') or 'rn'
    high, low = (run.value(o, ins.types[1], lanes) for o in ins.operands[1:3])
    if 'relu' in ins.modifiers:
        high, low = relu(high), relu(low)
    if ins.types[0] == 'f16x2':
        high, low = (round_to_f16(v, mode).view(np.uint16) for v in (high, low))
    else:
        high, low = (bf16_from_float(v, mode) for v in (high, low))
    return (high.astype(np.uint32) << np.uint32(16)) | low.astype(np.uint32)


def float_to_integer(ins: Instruction, values: np.ndarray, target: str) -> np.ndarray:
    """Round to an integer value, clamp to the target's range; NaN becomes 0."""
    rounded = TO_INTEGER[ins.choose(*TO_INTEGER) or 'rzi'](values.astype(np.float64))
    lowest, highest = integer_range(target)
    low, high = rounded <= lowest, rounded >= highest
    inside = np.where(low | high | np.isnan(rounded), 0, rounded)
    result = inside.astype(np.uint64 if target == 'u64' else np.int64).astype(integer_dtype(target))
    result[low] = lowest
    result[high] = highest
    return result


def integer_to_integer(ins: Instruction, values: np.ndarray, target: str) -> np.ndarray:
    """Truncate, or extend by the sign of the source; clamp if `.sat`."""
    dtype = integer_dtype(target)
    if 'sat' in ins.modifiers:
        lowest, highest = integer_range(target)
        return np.clip(values.astype(object), lowest, highest).astype(dtype)
    width = WIDTH[target]
    extended = values.astype((SIGNED if values.dtype.kind == 'i' else UNSIGNED)[width])
    return extended.view(SIGNED[width]) if is_signed(target) else extended.view(UNSIGNED[width])


def integer_to_double(values: np.ndarray, target: str) -> np.ndarray:
    """An integer as a double, rounded to odd if it must be rounded again."""
    exact = values.astype(np.longdouble)
    nearest = exact.astype(np.float64)
    if target == 'f64':
        return nearest
    return force_odd(nearest, (exact - nearest.astype(np.longdouble)).astype(np.float64))


def to_float(ins: Instruction, values: np.ndarray, target: str) -> np.ndarray:
    """Round a float to a floating type; bfloat16 comes back as bit patterns."""
    whole = ins.choose(*TO_INTEGER)
    mode = ins.choose('rn', 'rz', 'rm', 'rp') or 'rn'
    if whole:
        values = TO_INTEGER[whole](values)
    if 'sat' in ins.modifiers:
        values = saturate(values)
    if 'relu' in ins.modifiers:
        values = relu(values)
    if target == 'f64':
        return values.astype(np.float64)
    if target == 'f16':
        return round_to_f16(values, mode)
    if target == 'bf16':
        narrow = odd_f32(values) if values.dtype == np.float64 else values.astype(np.float32)
        return bf16_from_float(narrow, mode)
    result = round_to_f32(values, mode) if values.dtype == np.float64 else values.astype(np.float32)
    return flush_subnormals(result) if 'ftz' in ins.modifiers else result
