"""Moves, address conversions, and instructions without an effect the interpreter models."""

from typing import TYPE_CHECKING

import numpy as np

from ..operands import Vector
from ..program import Instruction
from ..ptxtypes import GLOBAL_BASE, LOCAL_BASE, SHARED_BASE, UNSIGNED, WIDTH
from ..state import Lanes
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

WINDOWS = {'shared': SHARED_BASE, 'local': LOCAL_BASE}


@op('mov')
def mov(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a, packing {a, b, ...} into d or unpacking a into {d, e, ...}, lowest first."""
    width = WIDTH[ins.types[-1] if ins.types else 'b32']
    target, source = ins.operands
    if isinstance(target, Vector):
        _unpack(run, target, run.read(source, width, lanes), lanes)
    elif isinstance(source, Vector):
        run.write(target, _pack(run, source, width, lanes), lanes)
    else:
        run.write(target, run.read(source, width, lanes), lanes)


def _unpack(run: 'Run', target: Vector, bits: np.ndarray, lanes: Lanes) -> None:
    width = bits.dtype.itemsize * 8 // len(target.items)
    for index, item in enumerate(target.items):
        run.write(item, (bits >> bits.dtype.type(width * index)).astype(UNSIGNED[width]), lanes)


def _pack(run: 'Run', source: Vector, width: int, lanes: Lanes) -> np.ndarray:
    part, dtype = width // len(source.items), UNSIGNED[width]
    result = np.zeros(len(lanes), dtype)
    for index, item in enumerate(source.items):
        result |= run.read(item, part, lanes).astype(dtype) << dtype(part * index)
    return result


@op('cvta')
def cvta(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """A generic address from one of a memory space, or back (`.to`)."""
    address = run.read(ins.operands[1], 64, lanes)
    base = np.uint64(WINDOWS.get(ins.space, 0))
    run.write(ins.operands[0], address - base if 'to' in ins.modifiers else address + base, lanes)


@op('isspacep')
def isspacep(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """p = whether a generic address lies in a memory space's window."""
    address = run.read(ins.operands[1], 64, lanes).view(np.int64)
    bounds = {
        'shared': (SHARED_BASE, LOCAL_BASE),
        'local': (LOCAL_BASE, GLOBAL_BASE),
        'global': (GLOBAL_BASE, 1 << 62),
    }
    low, high = bounds[ins.space]
    run.write(ins.operands[0], (address >= low) & (address < high), lanes)


@op('createpolicy')
def createpolicy(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """A cache policy: nothing the interpreter models."""
    run.write(ins.operands[0], np.zeros(len(lanes), np.uint64), lanes)


@op(
    'membar',
    'fence',
    'prefetch',
    'prefetchu',
    'discard',
    'applypriority',
    'griddepcontrol',
    'nanosleep',
    'pmevent',
)
def no_effect(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """Ordering, prefetching and timing: memory is always up to date here."""


@op('trap')
def trap(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """A failed assertion in the kernel."""
    run.fail(ins, 'trap (assert failed)', lanes.threads)


@op('activemask')
def activemask(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = the lanes of this warp that execute the instruction together."""
    mask = run.lanes_by_warp(lanes.threads)[run.warp_of[lanes.threads]]
    run.write(ins.operands[0], mask.astype(np.uint32), lanes)
