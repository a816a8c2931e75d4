"""ld, st and cp.async."""

from typing import TYPE_CHECKING

import numpy as np

from ..operands import Immediate, items_of
from ..program import Instruction
from ..ptxtypes import SIGNED, UNSIGNED, WIDTH, is_signed
from ..state import Lanes
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run


def expect_operands(run: 'Run', ins: Instruction, *counts: int) -> None:
    """Check the number of operands; a cache policy comes on top."""
    policy = 'L2::cache_hint' in ins.modifiers
    if len(ins.operands) - policy not in counts:
        run.fail(ins, 'this number of operands is not supported')


def counted_space(space: str) -> str:
    """The space under which an access is counted."""
    return 'global' if space == 'generic' else space


@op('ld', 'ldu')
def load(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = memory at the address, one to eight elements a thread."""
    expect_operands(run, ins, 2)
    addresses = run.addresses(ins.operands[1], lanes)
    width = WIDTH[ins.types[-1]]
    size = width // 8 * ins.vector
    if ins.space == 'param':
        values = _parameter(run, ins, lanes, addresses, size).view(UNSIGNED[width])
    else:
        values = _gather(run, ins, lanes, addresses, width)
    for index, item in enumerate(items_of(ins.operands[0])):
        column = values[:, index]
        run.write(item, column.view(SIGNED[width]) if is_signed(ins.types[-1]) else column, lanes)


def _parameter(run: 'Run', ins: Instruction, lanes: Lanes, addresses: np.ndarray, size: int) -> np.ndarray:
    block = run.parameters
    if (addresses < 0).any() or (addresses + size > len(block)).any():
        run.fail(ins, 'parameter access out of bounds', lanes.threads)
    if (addresses == addresses[0]).all():
        return np.tile(block[addresses[0] : addresses[0] + size], (len(lanes), 1))
    return block[addresses[:, None] + np.arange(size)]


def _gather(run: 'Run', ins: Instruction, lanes: Lanes, addresses: np.ndarray, width: int) -> np.ndarray:
    """A (lanes, elements) array of what the lanes load."""
    memory, threads = run.memory, lanes.threads
    step = width // 8
    size = step * ins.vector
    space = 'global' if ins.space == 'const' else ins.space
    values = np.empty((len(lanes), ins.vector), UNSIGNED[width], order='F')
    for piece in memory.locate(ins, threads, addresses, size, space, False):
        memory.touch(ins, piece, threads, size, 'read')
        elements = piece.allocation.elements(UNSIGNED[width])
        first = piece.offsets // step
        for index in range(ins.vector):
            values[piece.lanes, index] = elements[first + index]
    if ins.space not in ('local', 'const'):
        memory.traffic.record(ins, threads, addresses, size, counted_space(space), 'load')
    return values


@op('st')
def store(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """Memory at the address = a, one to eight elements a thread."""
    expect_operands(run, ins, 2)
    memory, threads = run.memory, lanes.threads
    addresses = run.addresses(ins.operands[0], lanes)
    width = WIDTH[ins.types[-1]]
    step = width // 8
    size = step * ins.vector
    values = np.stack([run.read(o, width, lanes) for o in items_of(ins.operands[1])], 1)
    for piece in memory.locate(ins, threads, addresses, size, ins.space, True):
        chosen = values[piece.lanes]
        memory.touch(ins, piece, threads, size, 'write', np.ascontiguousarray(chosen).view(np.uint8))
        elements = piece.allocation.elements(UNSIGNED[width])
        first = piece.offsets // step
        for index in range(ins.vector):
            elements[first + index] = chosen[:, index]
    if ins.space != 'local':
        memory.traffic.record(ins, threads, addresses, size, counted_space(ins.space), 'store')


@op('cp')
def copy_async(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """cp.async: the copy is done at once, so a missing wait is not noticed."""
    if ins.choose('commit_group', 'wait_group', 'wait_all'):
        return
    expect_operands(run, ins, 3, 4)
    memory, threads = run.memory, lanes.threads
    size = ins.operands[2].value
    target, source = (run.addresses(o, lanes) for o in ins.operands[:2])
    used = np.full(len(lanes), size)
    if len(ins.operands) - ('L2::cache_hint' in ins.modifiers) == 4:
        used = _source_size(run, ins, lanes, size)
    data = np.zeros((len(lanes), size), np.uint8)
    for amount in np.unique(used[used > 0]):
        _copy_in(run, ins, data, np.nonzero(used == amount)[0], threads, source, int(amount))
    for piece in memory.locate(ins, threads, target, size, 'shared', True):
        memory.touch(ins, piece, threads, size, 'write', data[piece.lanes])
        piece.allocation.buffer[piece.offsets[:, None] + np.arange(size)] = data[piece.lanes]


def _source_size(run: 'Run', ins: Instruction, lanes: Lanes, size: int) -> np.ndarray:
    """How many bytes each lane reads; the rest of the destination is filled with zeros."""
    operand = ins.operands[3]
    if not isinstance(operand, Immediate) and run.registers[operand.name].dtype == np.bool_:
        return np.where(run.read(operand, 1, lanes), 0, size)
    return np.minimum(run.read(operand, 32, lanes).astype(np.int64), size)


def _copy_in(run: 'Run', ins: Instruction, data, chosen, threads, source, amount: int) -> None:
    memory = run.memory
    reading = threads[chosen]
    misaligned = source[chosen] % data.shape[1] != 0
    if misaligned.any():
        run.fail(ins, f'misaligned {data.shape[1]}-byte access', reading[misaligned])
    step = 1 if amount & (amount - 1) else amount
    for start in range(0, amount, step):
        for piece in memory.locate(ins, reading, source[chosen] + start, step, 'global', False):
            memory.touch(ins, piece, reading, step, 'read')
            columns = np.arange(step)
            raw = piece.allocation.buffer[piece.offsets[:, None] + columns]
            data[chosen[piece.lanes][:, None], start + columns] = raw
    memory.traffic.record(ins, reading, source[chosen], amount, 'global', 'load')
