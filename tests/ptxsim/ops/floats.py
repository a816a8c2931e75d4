"""Floating-point arithmetic. Integer forms of the shared names are passed on to `integers`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import (
    bf16_from_float,
    divide_f32,
    exact_product,
    exact_sum,
    float_from_bf16,
    flush_subnormals,
    fused_multiply_add,
    fused_multiply_add_f64,
    odd_f32,
    relu,
    round_to_f16,
    round_to_f32,
    saturate,
    sqrt_f32,
)
from ..program import Instruction
from ..ptxtypes import FLOAT, PACKED, UNSIGNED, WIDTH, is_float
from ..state import Lanes
from . import integers
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

ROUNDINGS = ('rn', 'rz', 'rm', 'rp')
NOT_NATIVE = frozenset(['ftz', 'sat', 'rz', 'rm', 'rp'])


def rounding(ins: Instruction) -> str:
    """The rounding mode of an instruction; nearest even by default."""
    return ins.choose(*ROUNDINGS) or 'rn'


def unpack(bits: np.ndarray, ptype: str) -> tuple[np.ndarray, np.ndarray]:
    """Bits of a two-element type to its lower and upper element (bfloat16 as float32)."""
    element = PACKED[ptype]
    width = WIDTH[element]
    wide = bits.dtype.type
    parts = [(bits >> wide(shift)).astype(UNSIGNED[width]) for shift in (0, width)]
    if element == 'bf16':
        return float_from_bf16(parts[0]), float_from_bf16(parts[1])
    return parts[0].view(FLOAT[element]), parts[1].view(FLOAT[element])


def pack(low: np.ndarray, high: np.ndarray, ptype: str) -> np.ndarray:
    """Two elements to the bits of a two-element type; float32 elements of bf16x2 are rounded."""
    element = PACKED[ptype]
    width = WIDTH[element]
    wide = UNSIGNED[2 * width]
    if element == 'bf16':
        low, high = bf16_from_float(low), bf16_from_float(high)
    else:
        low = np.ascontiguousarray(low, FLOAT[element]).view(UNSIGNED[width])
        high = np.ascontiguousarray(high, FLOAT[element]).view(UNSIGNED[width])
    return low.astype(wide) | (high.astype(wide) << wide(width))


def finish(ins: Instruction, exact: np.ndarray, ptype: str) -> np.ndarray:
    """Round an exact or round-to-odd double to f32, f16 or bf16 (held as float32) as the modifiers say."""
    if ptype == 'f32':
        result = round_to_f32(exact, rounding(ins))
    elif ptype == 'f16':
        result = round_to_f16(exact, 'rn')
    else:
        result = float_from_bf16(bf16_from_float(odd_f32(exact)))
    if 'ftz' in ins.modifiers:
        result = flush_subnormals(result)
    if 'sat' in ins.modifiers:
        result = saturate(result)
    return relu(result) if 'relu' in ins.modifiers else result


def elementwise(run: 'Run', ins: Instruction, lanes: Lanes, exact: Callable, double: Callable) -> None:
    """Apply a function to all source operands.

    exact: takes narrow operands, returns an exact or round-to-odd double; double: takes f64 operands.
    """
    ptype, sources = ins.types[-1], ins.operands[1:]
    if ptype in PACKED:
        pairs = [unpack(run.read(s, WIDTH[ptype], lanes), ptype) for s in sources]
        halves = [_narrow(ins, [p[side] for p in pairs], PACKED[ptype], exact) for side in (0, 1)]
        run.write(ins.operands[0], pack(*halves, ptype), lanes)
    elif ptype == 'f64':
        run.write(ins.operands[0], double(*[run.value(s, 'f64', lanes) for s in sources]), lanes)
    else:
        result = _narrow(ins, [run.value(s, ptype, lanes) for s in sources], ptype, exact)
        run.write(ins.operands[0], result, lanes, ptype)


def _narrow(ins: Instruction, values: list[np.ndarray], ptype: str, exact: Callable) -> np.ndarray:
    if 'ftz' in ins.modifiers:
        values = [flush_subnormals(v) for v in values]
    return finish(ins, exact(*values), ptype)


def mixed(run: 'Run', ins: Instruction, lanes: Lanes, exact: Callable) -> None:
    """add/sub/fma.f32.f16: narrow operands, float32 last operand and result (sm_100 and later)."""
    narrow = [run.value(s, ins.types[1], lanes) for s in ins.operands[1:-1]]
    last = run.value(ins.operands[-1], 'f32', lanes)
    run.write(ins.operands[0], finish(ins, exact(*narrow, last), 'f32'), lanes)


def binary(run: 'Run', ins: Instruction, lanes: Lanes, native: Callable, exact: Callable, integer: Callable) -> None:
    """add, sub and mul: numpy's own operation where it rounds as PTX does, the exact one elsewhere."""
    ptype = ins.types[-1]
    if len(ins.types) == 2:
        mixed(run, ins, lanes, exact)
    elif ptype == 'f32' and NOT_NATIVE.isdisjoint(ins.modifiers):
        a, b = (run.value(s, 'f32', lanes) for s in ins.operands[1:])
        run.write(ins.operands[0], native(a, b), lanes)
    elif is_float(ptype) or ptype in PACKED:
        elementwise(run, ins, lanes, exact, native)
    else:
        integer(run, ins, lanes)


@op('add')
def add(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a + b."""
    binary(run, ins, lanes, np.add, exact_sum, integers.add)


@op('sub')
def sub(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a - b."""
    binary(run, ins, lanes, np.subtract, lambda a, b: exact_sum(a, -b), integers.sub)


@op('mul')
def mul(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a * b."""
    binary(run, ins, lanes, np.multiply, exact_product, integers.mul)


@op('fma')
def fma(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a * b + c, rounded once."""
    if len(ins.types) == 2:
        mixed(run, ins, lanes, fused_multiply_add)
    else:
        elementwise(run, ins, lanes, fused_multiply_add, fused_multiply_add_f64)


@op('mad')
def mad(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a * b + c; the floating forms are fma."""
    if is_float(ins.types[-1]):
        fma(run, ins, lanes)
    else:
        integers.mad(run, ins, lanes)


def unary(run: 'Run', ins: Instruction, lanes: Lanes, function: Callable) -> None:
    """A function of one operand, computed in double precision and rounded.

    Approximate forms are therefore exact to the last bit or so; hardware is allowed about 2 ulp.
    """

    def double(values: np.ndarray) -> np.ndarray:
        result = function(values)
        if 'approx' in ins.modifiers and 'ftz' in ins.modifiers:  # these f64 forms keep the upper word only
            return (result.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)
        return result

    elementwise(run, ins, lanes, lambda x: function(x.astype(np.float64)), double)


def rounded_root(run: 'Run', ins: Instruction, lanes: Lanes, narrow: Callable, double: Callable) -> None:
    """div, rcp and sqrt: `narrow(*float32, mode)` is correctly rounded in any mode."""
    sources = ins.operands[1:]
    if ins.types[-1] == 'f64':
        run.write(ins.operands[0], double(*[run.value(s, 'f64', lanes) for s in sources]), lanes)
        return
    values = [run.value(s, 'f32', lanes) for s in sources]
    flush = 'ftz' in ins.modifiers
    if flush:
        values = [flush_subnormals(v) for v in values]
    result = narrow(*values, rounding(ins))
    run.write(ins.operands[0], flush_subnormals(result) if flush else result, lanes)


@op('div')
def div(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a / b."""
    if is_float(ins.types[-1]):
        rounded_root(run, ins, lanes, divide_f32, np.divide)
    else:
        integers.div(run, ins, lanes)


@op('rcp')
def rcp(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = 1 / a."""
    if 'approx' in ins.modifiers:
        unary(run, ins, lanes, np.reciprocal)
    else:
        rounded_root(run, ins, lanes, lambda a, mode: divide_f32(np.ones_like(a), a, mode), np.reciprocal)


@op('sqrt')
def sqrt(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = square root of a."""
    rounded_root(run, ins, lanes, sqrt_f32, np.sqrt)


@op('rsqrt')
def rsqrt(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = 1 / square root of a."""
    unary(run, ins, lanes, lambda a: 1 / np.sqrt(a))


@op('ex2')
def ex2(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = 2 to the power a."""
    unary(run, ins, lanes, np.exp2)


@op('lg2')
def lg2(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = base-2 logarithm of a."""
    unary(run, ins, lanes, np.log2)


@op('sin')
def sin(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = sine of a."""
    unary(run, ins, lanes, np.sin)


@op('cos')
def cos(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = cosine of a."""
    unary(run, ins, lanes, np.cos)


@op('tanh')
def tanh(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = hyperbolic tangent of a."""
    unary(run, ins, lanes, np.tanh)
