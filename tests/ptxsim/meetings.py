"""Where threads wait for each other: block barriers and warp-wide instructions."""

import numpy as np

from .ops import COLLECTIVES
from .program import Instruction, Kernel
from .state import ALL_LANES, Lanes, ThreadState

RUNNING, AT_BARRIER, AT_COLLECTIVE = 0, 1, 2
NEVER = 1 << 60


class Meetings(ThreadState):
    """Threads, the instruction each is at, and which of them wait.

    `barrier_count` and `collective_count` say how often each block and each warp has met: between two meetings,
    accesses of different threads are in no order.
    """

    def __init__(self, kernel: Kernel, grid, block, block_numbers: list[int] | None) -> None:
        super().__init__(kernel, grid, block, block_numbers)
        self.position = np.zeros(self.count, np.int64)
        self.alive = np.ones(self.count, bool)
        self.waiting = np.zeros(self.count, np.int8)
        self.barrier_id = np.zeros(self.count, np.int64)
        self.barrier_vote = np.zeros(self.count, bool)
        self.barrier_count = np.zeros(self.blocks, np.int64)
        self.collective_count = np.zeros(self.warps, np.int64)

    def arrive(self, ins: Instruction, lanes: Lanes) -> None:
        """Threads reach a block barrier and wait there."""
        vote = 'red' in ins.modifiers
        inputs = ins.operands[1:-1] if vote else ins.operands
        if len(inputs) > 1 and (self.read(inputs[1], 32, lanes) != self.block_size).any():
            self.fail(ins, 'a barrier for a part of the block is not supported')
        self.position[lanes.index] = ins.index
        self.waiting[lanes.index] = AT_BARRIER
        self.barrier_id[lanes.index] = self.read(inputs[0], 32, lanes)
        if vote:
            self.barrier_vote[lanes.index] = self.read(ins.operands[-1], 1, lanes)

    def release_barriers(self) -> bool:
        """Let the blocks go on of which every living thread waits at the same barrier."""
        arrived = self.alive & (self.waiting == AT_BARRIER)
        if not arrived.any():
            return False
        block = self.block_of
        living = np.bincount(block[self.alive], minlength=self.blocks)
        present = np.bincount(block[arrived], minlength=self.blocks)
        low = np.full(self.blocks, NEVER)
        high = np.full(self.blocks, -1)
        np.minimum.at(low, block[arrived], self.barrier_id[arrived])
        np.maximum.at(high, block[arrived], self.barrier_id[arrived])
        complete = (living > 0) & (living == present) & (low == high)
        if not complete.any():
            return False
        released = arrived & complete[block]
        threads = np.nonzero(released)[0]
        for position in np.unique(self.position[threads]):
            ins = self.kernel.code[position]
            if 'red' in ins.modifiers:
                self._barrier_vote(ins, threads[self.position[threads] == position])
        self.waiting[released] = RUNNING
        self.position[released] += 1
        self.barrier_count[complete] += 1
        self.collective_count[np.unique(self.warp_of[released])] += 1
        return True

    def _barrier_vote(self, ins: Instruction, threads: np.ndarray) -> None:
        block = self.block_of[threads]
        yes = np.bincount(block, self.barrier_vote[threads], minlength=self.blocks)[block]
        if 'popc' in ins.modifiers:
            result = yes.astype(np.uint32)
        elif 'and' in ins.modifiers:
            result = yes == np.bincount(block, minlength=self.blocks)[block]
        else:
            result = yes > 0
        self.write(ins.operands[0], result, Lanes.of(threads))

    def collective(self, ins: Instruction, lanes: Lanes, chosen: Lanes) -> int | None:
        """A warp-wide instruction: runs for the warps whose member masks are complete, the rest wait."""
        self.position[lanes.index] = ins.index + 1
        self.position[chosen.index] = ins.index
        together = self._meet(ins, chosen.threads)
        return ins.index + 1 if together and len(chosen) == len(lanes) else None

    def _meet(self, ins: Instruction, arriving: np.ndarray) -> bool:
        """Bring arriving and parked threads together; True if exactly the arriving ones went on."""
        parked = np.nonzero(self.alive & (self.waiting == AT_COLLECTIVE) & (self.position == ins.index))[0]
        threads = np.union1d(arriving, parked) if len(parked) else arriving
        if len(threads) == 0:
            return True
        members = self._member_mask(ins, Lanes.of(threads))
        lane, warp = self.lane_of[threads], self.warp_of[threads]
        outside = (members >> lane & 1) == 0
        if outside.any():
            self.fail(ins, 'thread is not in its own member mask', threads[outside])
        gone = (members & ~self.lanes_by_warp(np.nonzero(self.alive)[0])[warp]) != 0
        if gone.any():
            self.fail(ins, 'member mask names threads that have exited or do not exist', threads[gone])
        complete = (self.lanes_by_warp(threads)[warp] & members) == members
        going = threads[complete]
        self.waiting[threads[~complete]] = AT_COLLECTIVE
        self.waiting[going] = RUNNING
        if len(going):
            COLLECTIVES[ins.operation](self, ins, Lanes.of(going), members[complete])
            self.position[going] = ins.index + 1
            self.collective_count[np.unique(self.warp_of[going])] += 1
        return bool(complete.all()) and len(parked) == 0

    def _member_mask(self, ins: Instruction, lanes: Lanes) -> np.ndarray:
        if 'matrix' in ins.operation:
            return np.full(len(lanes), ALL_LANES, np.int64)
        operand = ins.operands[0] if ins.operation in ('bar', 'barrier') else ins.operands[-1]
        return self.read(operand, 32, lanes).astype(np.int64)

    def lanes_by_warp(self, threads: np.ndarray, chosen: np.ndarray | int = 1) -> np.ndarray:
        """For each warp the bit mask of those lanes that are in `threads` and whose `chosen` bit is 1."""
        masks = np.zeros(self.warps, np.int64)
        np.bitwise_or.at(masks, self.warp_of[threads], chosen << self.lane_of[threads])
        return masks
