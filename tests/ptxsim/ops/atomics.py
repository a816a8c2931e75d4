"""atom and red."""

from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import bf16_from_float, float_from_bf16
from ..operands import items_of
from ..program import Instruction
from ..ptxtypes import FLOAT, PACKED, SIGNED, UNSIGNED, WIDTH, is_signed
from ..state import Lanes
from .floats import pack, unpack
from .loadstore import counted_space, expect_operands
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

COMBINE = {
    'add': np.add,
    'and': np.bitwise_and,
    'or': np.bitwise_or,
    'xor': np.bitwise_xor,
    'inc': lambda x, y: np.where(x >= y, x.dtype.type(0), x + x.dtype.type(1)),
    'dec': lambda x, y: np.where((x == 0) | (x > y), y, x - x.dtype.type(1)),
}
OPERATIONS = (*COMBINE, 'min', 'max', 'exch', 'cas')


def combine(name: str, ptype: str, old: np.ndarray, a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """The new bits of memory from the old ones and the operands' bits."""
    if name == 'exch':
        return a
    if name == 'cas':
        return np.where(old == a, b, old)
    if ptype in PACKED:
        halves = zip(unpack(old, ptype), unpack(a, ptype), strict=True)
        return pack(*[_numbers(name, x, y) for x, y in halves], ptype)
    if ptype == 'bf16':
        return bf16_from_float(_numbers(name, float_from_bf16(old), float_from_bf16(a)))
    dtype = FLOAT.get(ptype) or (SIGNED if is_signed(ptype) else UNSIGNED)[WIDTH[ptype]]
    return _numbers(name, old.view(dtype), a.view(dtype)).view(old.dtype)


def _numbers(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if name in ('min', 'max'):
        return (np.fmin if name == 'min' else np.fmax)(x, y)
    return COMBINE[name](x, y)


def turns(offsets: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Lanes in groups that never meet at one address; several lanes of an address take turns in `order`."""
    by_place = order[np.argsort(offsets[order], kind='stable')]
    place = offsets[by_place]
    new = np.concatenate([[True], place[1:] != place[:-1]])
    starts = np.nonzero(new)[0]
    rank = np.arange(len(place)) - np.repeat(starts, np.diff([*starts, len(place)]))
    by_rank = by_place[np.argsort(rank, kind='stable')]
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


@op('atom', 'red')
def atomic(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = memory; memory = memory op a. `red` has no d. Lanes act in order, or at random if seeded."""
    name, ptype = ins.choose(*OPERATIONS), ins.types[-1]
    returns = ins.operation == 'atom'
    expect_operands(run, ins, 2 + returns + (name == 'cas'))
    memory, threads = run.memory, lanes.threads
    place, first, *second = ins.operands[returns:]
    width = WIDTH[ptype]
    step = width // 8
    size = step * ins.vector
    addresses = run.addresses(place, lanes)
    a = [run.read(o, width, lanes) for o in items_of(first)]
    b = run.read(second[0], width, lanes) if name == 'cas' else None
    old = [np.zeros(len(lanes), UNSIGNED[width]) for _ in a]
    for piece in memory.locate(ins, threads, addresses, size, ins.space, True):
        memory.touch(ins, piece, threads, size, 'atomic')
        elements = piece.allocation.elements(UNSIGNED[width])
        count = len(piece.lanes)
        order = np.arange(count) if run.random is None else run.random.permutation(count)
        for group in turns(piece.offsets, order):
            chosen, target = piece.lanes[group], piece.offsets[group] // step
            for index, operand in enumerate(a):
                before = elements[target + index]
                old[index][chosen] = before
                other = None if b is None else b[chosen]
                elements[target + index] = combine(name, ptype, before, operand[chosen], other)
    memory.traffic.record(ins, threads, addresses, size, counted_space(ins.space), 'atomic')
    if returns:
        for item, bits in zip(items_of(ins.operands[0]), old, strict=True):
            run.write(item, bits.view(SIGNED[width]) if is_signed(ptype) else bits, lanes)
