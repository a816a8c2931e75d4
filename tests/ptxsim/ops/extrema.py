"""Minimum, maximum and sign of floating-point numbers and integers."""

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import flush_subnormals, maximum, minimum
from ..program import Instruction
from ..ptxtypes import FLOAT, PACKED, UNSIGNED, WIDTH, is_float
from ..state import Lanes
from .floats import elementwise, pack, unpack
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run


def extremum(run: 'Run', ins: Instruction, lanes: Lanes, choose: Callable, integer: Callable) -> None:
    """min and max of two operands, of float32 also of three (sm_100 and later)."""
    ptype = ins.types[-1]
    if len(ins.operands) != 3 and (len(ins.operands), ptype) != (4, 'f32'):
        run.fail(ins, 'min and max of so many operands are not supported')
    if not is_float(ptype) and ptype not in PACKED:
        a, b = (run.value(s, ptype, lanes) for s in ins.operands[1:])
        run.write(ins.operands[0], integer(a, b), lanes)
        return

    def pick(*values: np.ndarray) -> np.ndarray:
        return reduce(partial(choose, propagate_nan='NaN' in ins.modifiers), values)

    elementwise(run, ins, lanes, pick, pick)


@op('min')
def min_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = the smaller of a and b."""
    extremum(run, ins, lanes, minimum, np.minimum)


@op('max')
def max_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = the larger of a and b."""
    extremum(run, ins, lanes, maximum, np.maximum)


def sign_bits(ptype: str) -> np.unsignedinteger:
    """The sign bits of a floating type, as a mask over its bits."""
    width = WIDTH[ptype]
    mask = 1 << (width - 1)
    if ptype in PACKED:
        mask |= 1 << (width // 2 - 1)
    return UNSIGNED[width](mask)


def flushed_bits(run: 'Run', ins: Instruction, lanes: Lanes) -> np.ndarray:
    """The source's bits, subnormals flushed where the instruction says so."""
    ptype = ins.types[-1]
    bits = run.read(ins.operands[1], WIDTH[ptype], lanes)
    if 'ftz' not in ins.modifiers:
        return bits
    if ptype in PACKED:
        return pack(*(flush_subnormals(v) for v in unpack(bits, ptype)), ptype)
    return flush_subnormals(bits.view(FLOAT[ptype])).view(bits.dtype)


@op('neg')
def neg(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = -a."""
    ptype = ins.types[-1]
    if ptype[0] == 's':
        run.write(ins.operands[0], -run.value(ins.operands[1], ptype, lanes), lanes)
    else:
        run.write(ins.operands[0], flushed_bits(run, ins, lanes) ^ sign_bits(ptype), lanes)


@op('abs')
def abs_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = absolute value of a."""
    ptype = ins.types[-1]
    if ptype[0] == 's':
        run.write(ins.operands[0], np.abs(run.value(ins.operands[1], ptype, lanes)), lanes)
    else:
        run.write(ins.operands[0], flushed_bits(run, ins, lanes) & ~sign_bits(ptype), lanes)


@op('copysign')
def copysign(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = b with the sign of a."""
    sign, size = (run.value(s, ins.types[-1], lanes) for s in ins.operands[1:])
    run.write(ins.operands[0], np.copysign(size, sign), lanes)
