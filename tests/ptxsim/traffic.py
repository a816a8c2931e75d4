"""Counts what a kernel moves: the bytes, 32-byte sectors and shared-memory passes of each instruction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .program import Instruction

if TYPE_CHECKING:
    from .machine import Run

SECTOR_SHIFT = 5
ADDRESS_BITS = 44
BANKS = 32
WORD_BITS = 24


@dataclass(slots=True)
class Access:
    """Totals of one static load, store or atomic instruction.

    width: bytes a thread moves at once; requests: warps that executed it; lanes: threads that did; sectors:
    32-byte sectors, counted per warp; waves: passes through the shared-memory banks (requests if free of
    conflicts).
    """

    name: str
    text: str
    space: str
    kind: str
    width: int
    requests: int = 0
    lanes: int = 0
    bytes: int = 0
    sectors: int = 0
    waves: int = 0


@dataclass(slots=True)
class Traffic:
    """Totals of one memory space: bytes loaded, stored and atomically updated.

    sectors: 32-byte sectors moved; ideal: the fewest sectors that hold those bytes; min_width: the narrowest
    load or store in bytes a thread (0 if there was none); waves: shared-memory passes.
    """

    load: int = 0
    store: int = 0
    atomic: int = 0
    sectors: int = 0
    ideal: int = 0
    min_width: int = 0
    waves: int = 0

    @property
    def sector_ratio(self) -> float:
        """Sectors moved over the ideal: 1.0 is fully coalesced."""
        return self.sectors / max(self.ideal, 1)


class TrafficCounter:
    """The accesses of one run, by instruction index."""

    def __init__(self, run: 'Run') -> None:
        self.run = run
        self.accesses: dict[int, Access] = {}

    def record(
        self, ins: Instruction, threads: np.ndarray, addresses: np.ndarray, size: int, space: str, kind: str
    ) -> None:
        """Add one execution of `ins`."""
        access = self.accesses.get(ins.index)
        if access is None:
            name = '.'.join([ins.operation, *ins.modifiers, *ins.types])
            access = self.accesses[ins.index] = Access(name, ins.text, space, kind, size)
        warps = self.run.warp_of[threads]
        access.requests += count_unique(warps)
        access.lanes += len(threads)
        access.bytes += len(threads) * size
        if space == 'shared':
            access.waves += self._waves(threads, warps, addresses, size)
        else:
            access.sectors += sectors(warps, addresses, size)

    def _waves(self, threads: np.ndarray, warps: np.ndarray, addresses: np.ndarray, size: int) -> int:
        """Bank passes: per warp, the largest number of distinct 4-byte words in one bank.

        Accesses of 8 and 16 bytes are served in two and four groups of lanes.
        """
        words = max(1, size // 4)
        groups = self.run.lane_of[threads] // (32 // words)
        word = (addresses >> 2)[:, None] + np.arange(words)
        bank = ((warps * 8 + groups)[:, None] * BANKS) + (word % BANKS)
        words_of_bank = np.unique((bank << WORD_BITS) + word)
        banks, counts = np.unique(words_of_bank >> WORD_BITS, return_counts=True)
        first = np.unique(banks // BANKS, return_index=True)[1]
        return int(np.maximum.reduceat(counts, first).sum()) if len(first) else 0

    def total(self, space: str = 'global') -> Traffic:
        """The sums over all instructions of one space."""
        traffic = Traffic()
        widths = []
        for access in self.accesses.values():
            if access.space != space:
                continue
            setattr(traffic, access.kind, getattr(traffic, access.kind) + access.bytes)
            traffic.sectors += access.sectors
            traffic.ideal += -(-access.bytes // 32)
            traffic.waves += access.waves
            if access.kind != 'atomic':
                widths.append(access.width)
        traffic.min_width = min(widths, default=0)
        return traffic


def count_unique(values: np.ndarray) -> int:
    """The number of distinct values; fast where they are sorted."""
    if len(values) == 0:
        return 0
    steps = np.diff(values)
    if (steps >= 0).all():
        return int(np.count_nonzero(steps)) + 1
    return len(np.unique(values))


def sectors(warps: np.ndarray, addresses: np.ndarray, size: int) -> int:
    """The number of distinct (warp, 32-byte sector) pairs."""
    mask = (1 << ADDRESS_BITS) - 1
    prefix = warps << ADDRESS_BITS
    first = prefix + ((addresses >> SECTOR_SHIFT) & mask)
    if size <= 32:  # aligned to its size, so it stays within one sector
        return count_unique(first)
    last = prefix + (((addresses + size - 1) >> SECTOR_SHIFT) & mask)
    return count_unique(np.concatenate([first, last]))
