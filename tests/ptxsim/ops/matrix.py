"""ldmatrix and stmatrix of 8x8 matrices of 16-bit elements in shared memory."""

from typing import TYPE_CHECKING

import numpy as np

from ..memory import Piece
from ..operands import Memory, items_of
from ..program import Instruction
from ..state import Lanes
from .registry import collective

if TYPE_CHECKING:
    from ..machine import Run

ROW_BYTES = 16


def _rows(
    run: 'Run', ins: Instruction, lanes: Lanes, memory: Memory, store: bool
) -> tuple[Piece, np.ndarray, np.ndarray]:
    """Lane 8m+r holds the address of row r of matrix m.

    Returns the piece of shared memory, the threads that give addresses, and each thread's row offset.
    """
    matrices = int(ins.choose('x1', 'x2', 'x4')[1])
    giving = run.lane_of[lanes.threads] < 8 * matrices
    threads = lanes.threads[giving]
    addresses = run.addresses(memory, lanes)[giving]
    (piece,) = run.memory.locate(ins, threads, addresses, ROW_BYTES, 'shared', store)
    offsets = np.zeros(run.count, np.int64)
    offsets[threads] = piece.offsets
    kind = 'store' if store else 'load'
    run.memory.traffic.record(ins, threads, addresses, ROW_BYTES, 'shared', kind)
    return piece, threads, offsets


def _places(run: 'Run', ins: Instruction, lanes: Lanes, offsets: np.ndarray, matrix: int) -> list[np.ndarray]:
    """Where each lane's lower and upper element of one matrix lie, in 2-byte units."""
    lane = run.lane_of[lanes.threads]
    first = run.warp_start[lanes.threads] + 8 * matrix
    across, down = 2 * (lane % 4), lane // 4
    if 'trans' in ins.modifiers:
        return [offsets[first + across + half] // 2 + down for half in (0, 1)]
    return [offsets[first + down] // 2 + across + half for half in (0, 1)]


@collective('ldmatrix')
def ldmatrix(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """Each destination register gets two neighbouring elements of one matrix."""
    piece, threads, offsets = _rows(run, ins, lanes, ins.operands[1], False)
    run.memory.touch(ins, piece, threads, ROW_BYTES, 'read')
    elements = piece.allocation.elements(np.uint16)
    for matrix, item in enumerate(items_of(ins.operands[0])):
        low, high = (elements[p].astype(np.uint32) for p in _places(run, ins, lanes, offsets, matrix))
        run.write(item, low | (high << np.uint32(16)), lanes)


@collective('stmatrix')
def stmatrix(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """Each source register gives two neighbouring elements of one matrix."""
    piece, threads, offsets = _rows(run, ins, lanes, ins.operands[0], True)
    elements = piece.allocation.elements(np.uint16)
    for matrix, item in enumerate(items_of(ins.operands[1])):
        bits = run.read(item, 32, lanes)
        for half, place in enumerate(_places(run, ins, lanes, offsets, matrix)):
            elements[place] = (bits >> np.uint32(16 * half)).astype(np.uint16)
    written = np.zeros(len(threads) * ROW_BYTES, np.uint8)
    run.memory.touch(ins, piece, threads, ROW_BYTES, 'write', written)
