"""Data-race detection: remembers for each byte who touched it last, and between which barriers."""

from typing import TYPE_CHECKING

import numpy as np

from .program import Instruction

if TYPE_CHECKING:
    from .machine import Run
    from .memory import Allocation

SHIFT = np.int64(32)
LOW = np.int64((1 << 32) - 1)
REPORT_LIMIT = 20


class Shadow:
    """The last accesses to each byte of an allocation.

    Threads are stored plus one, 0 for "nobody"; a negative reader means several readers. Times combine the
    block's barrier count (upper half) and the warp's collective count (lower half).
    """

    def __init__(self, size: int) -> None:
        self.writer = np.zeros(size, np.int64)
        self.write_time = np.zeros(size, np.int64)
        self.atomic = np.zeros(size, bool)
        self.reader = np.zeros(size, np.int64)
        self.read_time = np.zeros(size, np.int64)


class RaceTracker:
    """Finds pairs of accesses, at least one of them a plain write, that no barrier orders.

    Accesses are ordered by: the same thread; a block barrier between them; a warp collective (including
    __syncwarp) between them. Different blocks are never ordered. Reports go to the run's `races`.
    """

    def __init__(self, run: 'Run') -> None:
        self.run = run

    def check(
        self,
        ins: Instruction,
        allocation: 'Allocation',
        threads: np.ndarray,
        where: np.ndarray,
        kind: str,
        values: np.ndarray | None,
    ) -> None:
        """Compare one access (one entry per byte) with the earlier ones, then record it."""
        run, shadow = self.run, allocation.shadow
        block, warp = run.block_of[threads], run.warp_of[threads]
        now = (run.barrier_count[block] << SHIFT) + run.collective_count[warp]
        writer = shadow.writer[where]
        bad = self._unordered(writer, shadow.write_time[where], threads, block, warp, now)
        if kind == 'atomic':
            bad &= ~shadow.atomic[where]
        if kind != 'read':
            reader = shadow.reader[where]
            bad |= self._unordered(reader, shadow.read_time[where], threads, block, warp, now)
        if kind == 'write':
            self._same_instruction(bad, where, values)
        if bad.any() and len(run.races) < REPORT_LIMIT:
            self._report(ins, allocation, threads, where, kind, int(np.nonzero(bad)[0][0]))
        if kind == 'read':
            several = self._unordered(shadow.reader[where], shadow.read_time[where], threads, block, warp, now)
            self._record_read(shadow, threads, where, now, several)
        else:
            shadow.writer[where] = threads + 1
            shadow.write_time[where] = now
            shadow.atomic[where] = kind == 'atomic'

    def _unordered(self, previous, time, threads, block, warp, now) -> np.ndarray:
        """Which earlier accesses (by `previous` at `time`) are not ordered before the present one."""
        other = np.abs(previous) - 1
        same_thread = (other == threads) & (previous > 0)
        same_block = self.run.block_of[other] == block
        same_warp = self.run.warp_of[other] == warp
        by_barrier = same_block & ((time >> SHIFT) < (now >> SHIFT))
        by_collective = same_warp & ((time & LOW) < (now & LOW))
        return (previous != 0) & ~(same_thread | by_barrier | by_collective)

    @staticmethod
    def _same_instruction(bad: np.ndarray, where: np.ndarray, values: np.ndarray) -> None:
        """Mark bytes to which several threads write different values in one instruction."""
        order = np.argsort(where, kind='stable')
        place = where[order]
        equal = np.nonzero(place[1:] == place[:-1])[0]
        if len(equal):
            written = values.reshape(-1)[order]
            different = equal[written[equal] != written[equal + 1]]
            bad[order[different]] = True

    @staticmethod
    def _record_read(shadow: Shadow, threads, where, now, several: np.ndarray) -> None:
        """Remember a read; `several` marks bytes whose earlier reader is not ordered before this one."""
        shadow.reader[where] = threads + 1
        several |= shadow.reader[where] != threads + 1
        shared = where[several]
        shadow.reader[shared] = -np.abs(shadow.reader[shared])
        shadow.read_time[where] = now

    def _report(self, ins: Instruction, allocation, threads, where, kind: str, at: int) -> None:
        run, shadow = self.run, allocation.shadow
        place, thread = where[at], threads[at]
        other = int(abs(shadow.writer[place] or shadow.reader[place])) - 1
        verb = 'read' if kind == 'read' else 'write'
        against = f'against {run.name_thread(other)}' if other >= 0 else 'in one instruction'
        offset = int(place) - (allocation.base - allocation.origin)
        run.races.append(
            f'race on {allocation.name}+{offset}: {verb} by {run.name_thread(thread)} {against} '
            f'at {ins.index}: {ins.text}'
        )
