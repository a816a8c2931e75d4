"""Device memory: allocations that know which bytes were ever written, and the checks on each access."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .module import Module
from .program import Instruction
from .ptxtypes import GLOBAL_BASE, LOCAL_BASE, SHARED_BASE
from .races import RaceTracker, Shadow
from .traffic import TrafficCounter

if TYPE_CHECKING:
    from .machine import Run

PAGE = 512


class Allocation:
    """`size` bytes of device memory at address `base`.

    The buffer begins at the 16-byte boundary at or below `base`, so that an aligned address is an aligned
    offset. `written` has one flag per byte of the buffer: reading a byte whose flag is off is an error.
    """

    def __init__(self, base: int, size: int, name: str = '', written: bool = False) -> None:
        self.base, self.size, self.name = base, size, name
        self.origin = base - base % 16
        length = -(-(max(size, 1) + base % 16) // 16) * 16
        self.buffer = np.zeros(length, np.uint8)
        self.written = np.full(length, written)
        self.shadow: Shadow | None = None

    @property
    def payload(self) -> slice:
        """The part of the buffer that belongs to the allocation."""
        start = self.base - self.origin
        return slice(start, start + self.size)

    @property
    def data(self) -> np.ndarray:
        """The bytes of the allocation (uint8, a view)."""
        return self.buffer[self.payload]

    def fill(self, values: np.ndarray) -> None:
        """Copy an array in, from the first byte on, and mark those bytes as written."""
        raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.data[: raw.size] = raw
        self.written[self.payload][: raw.size] = True

    def read(self, dtype: type, shape: tuple | None = None) -> np.ndarray:
        """A copy of the contents as an array of `dtype`."""
        values = self.data.copy().view(dtype)
        return values if shape is None else values.reshape(shape)

    def elements(self, dtype: type) -> np.ndarray:
        """The whole buffer as elements of `dtype`; index with buffer offset // itemsize."""
        return self.buffer.view(dtype)


@dataclass(slots=True)
class Piece:
    """The part of one access that fell into one allocation.

    `lanes` are positions within the accessing threads, `offsets` byte offsets in the allocation's buffer.
    """

    allocation: Allocation
    lanes: np.ndarray
    offsets: np.ndarray


class MemorySystem:
    """Bounds, alignment, initialisation and race checks of one kernel run, and its traffic counters."""

    def __init__(
        self, run: 'Run', allocations: list[Allocation], shared_size: int, local_size: int, race: bool
    ) -> None:
        self.run, self.allocations = run, allocations
        self.shared_size, self.local_size = shared_size, local_size
        self.shared = Allocation(0, shared_size * run.blocks, 'shared')
        self.local = Allocation(0, local_size * run.count, 'local')
        self.traffic = TrafficCounter(run)
        self.tracker = RaceTracker(run) if race else None
        if race:
            for allocation in [*allocations, self.shared]:
                allocation.shadow = Shadow(allocation.buffer.size)

    def locate(
        self, ins: Instruction, threads: np.ndarray, addresses: np.ndarray, size: int, space: str, store: bool
    ) -> list[Piece]:
        """Split an access of `size` bytes a thread by allocation. Raises PtxError if any part is invalid."""
        misaligned = (addresses % size) != 0
        if misaligned.any():
            self.run.fail(ins, f'misaligned {size}-byte access', threads[misaligned])
        if space == 'shared':
            return [self._in_shared(ins, threads, addresses, size)]
        if space == 'local':
            return [self._in_local(ins, threads, addresses, size)]
        pieces: list[Piece] = []
        left = np.arange(len(threads))
        if space == 'generic':
            left = self._take_windows(pieces, threads, addresses, size)
        while len(left):
            allocation = self._find(ins, threads[left[:1]], int(addresses[left[0]]), size, store)
            offsets = addresses[left] - allocation.base
            inside = (offsets >= 0) & (offsets + size <= allocation.size)
            lift = allocation.base - allocation.origin
            pieces.append(Piece(allocation, left[inside], offsets[inside] + lift))
            left = left[~inside]
        return pieces

    def _in_shared(self, ins: Instruction, threads: np.ndarray, addresses: np.ndarray, size: int) -> Piece:
        inside = (addresses >= 0) & (addresses + size <= self.shared_size)
        if not inside.all():
            offset = int(addresses[~inside][0])
            message = f'shared access out of bounds (offset {offset}, size {self.shared_size})'
            self.run.fail(ins, message, threads[~inside])
        offsets = addresses + self.run.block_of[threads] * self.shared_size
        return Piece(self.shared, np.arange(len(threads)), offsets)

    def _in_local(self, ins: Instruction, threads: np.ndarray, addresses: np.ndarray, size: int) -> Piece:
        inside = (addresses >= 0) & (addresses + size <= self.local_size)
        if not inside.all():
            self.run.fail(ins, 'local access out of bounds', threads[~inside])
        return Piece(self.local, np.arange(len(threads)), addresses + threads * self.local_size)

    def _take_windows(self, pieces: list[Piece], threads: np.ndarray, addresses: np.ndarray, size: int) -> np.ndarray:
        """Take generic addresses inside the shared and local windows; returns the lanes that are left."""
        shared = addresses - SHARED_BASE
        in_shared = (shared >= 0) & (shared + size <= self.shared_size)
        local = addresses - LOCAL_BASE
        in_local = (local >= 0) & (local + size <= self.local_size)
        if in_shared.any():
            lanes = np.nonzero(in_shared)[0]
            offsets = shared[lanes] + self.run.block_of[threads[lanes]] * self.shared_size
            pieces.append(Piece(self.shared, lanes, offsets))
        if in_local.any():
            lanes = np.nonzero(in_local)[0]
            pieces.append(Piece(self.local, lanes, local[lanes] + threads[lanes] * self.local_size))
        return np.nonzero(~in_shared & ~in_local)[0]

    def _find(self, ins: Instruction, thread: np.ndarray, address: int, size: int, store: bool) -> Allocation:
        for allocation in self.allocations:
            if allocation.base <= address and address + size <= allocation.base + allocation.size:
                return allocation
        verb = 'write' if store else 'read'
        message = f'out-of-bounds {verb} of {size} bytes at {address:#x}'
        if self.allocations:
            near = min(
                self.allocations,
                key=lambda a: min(abs(address - a.base), abs(address - a.base - a.size)),
            )
            message += f' (nearest: {near.name or "?"}, offset {address - near.base} of {near.size})'
        return self.run.fail(ins, message, thread)

    def touch(
        self,
        ins: Instruction,
        piece: Piece,
        threads: np.ndarray,
        size: int,
        kind: str,
        values: np.ndarray | None = None,
    ) -> None:
        """Check initialisation and races of one piece.

        `threads` are those of the whole access, `kind` is 'read', 'write' or 'atomic', and `values` (lanes x
        size bytes) what is written: two threads may write the same value to one place.
        """
        allocation = piece.allocation
        if allocation is self.local:
            return
        who = threads[piece.lanes]
        if kind != 'write':
            self._check_written(ins, piece, who, size)
        where = None
        if kind != 'read':
            where = byte_offsets(piece.offsets, size)
            allocation.written[where] = True
        if self.tracker and allocation.shadow:
            where = byte_offsets(piece.offsets, size) if where is None else where
            self.tracker.check(ins, allocation, np.repeat(who, size), where, kind, values)

    def _check_written(self, ins: Instruction, piece: Piece, threads: np.ndarray, size: int) -> None:
        allocation, offsets = piece.allocation, piece.offsets
        low, high = int(offsets.min()), int(offsets.max()) + size
        if high - low <= 8 * size * len(offsets) and allocation.written[low:high].all():
            return
        missing = ~allocation.written[byte_offsets(offsets, size)].reshape(-1, size).all(1)
        if missing.any():
            offset = int(offsets[missing][0]) - (allocation.base - allocation.origin)
            message = f'read of memory never written in {allocation.name}, offset {offset}'
            self.run.fail(ins, message, threads[missing])


def byte_offsets(offsets: np.ndarray, size: int) -> np.ndarray:
    """The offset of every byte of an access, lane by lane."""
    return (offsets[:, None] + np.arange(size)).reshape(-1)


class GPU:
    """A device: allocations and kernel launches.

    >>> gpu = GPU()
    >>> x = gpu.put(np.ones(64, np.float32), 'x')
    >>> y = gpu.alloc(256, 'y')
    >>> run = gpu.launch(Module(ptx), 'scale', grid=1, block=64, args=[x, y, 64])
    >>> gpu.get(y, np.float32)
    """

    def __init__(self) -> None:
        self.allocations: list[Allocation] = []
        self.next_address = GLOBAL_BASE
        self._variables: dict[tuple[int, str], tuple[object, Allocation]] = {}

    def alloc(self, size: int, name: str = '', written: bool = False, misalign: int = 0) -> Allocation:
        """`size` bytes that were never written, `misalign` bytes past a 512-byte boundary."""
        allocation = Allocation(self.next_address + misalign, size, name, written)
        self.next_address += -(-(size + misalign) // PAGE) * PAGE + 8 * PAGE
        self.allocations.append(allocation)
        return allocation

    def put(self, array: np.ndarray, name: str = '', misalign: int = 0) -> Allocation:
        """An allocation that holds a copy of a numpy array."""
        allocation = self.alloc(array.nbytes, name, True, misalign)
        allocation.fill(array)
        return allocation

    def window(self, base: int, size: int, name: str = '', written: bool = False) -> Allocation:
        """An allocation at a chosen address: a part of an array too large to hold as a whole."""
        self.allocations.append(Allocation(base, size, name, written))
        return self.allocations[-1]

    def get(self, allocation: Allocation, dtype: type, shape: tuple | None = None) -> np.ndarray:
        """A copy of an allocation's contents."""
        return allocation.read(dtype, shape)

    def variables(self, module: Module) -> dict[str, int]:
        """Addresses of a module's global variables; they keep their contents from launch to launch."""
        for name, data in module.globals.items():
            if (id(module), name) not in self._variables:
                self._variables[id(module), name] = module, self.put(data, name)
        return {name: self._variables[id(module), name][1].base for name in module.globals}

    def launch(
        self,
        module: Module,
        kernel: str,
        grid: int | tuple,
        block: int | tuple,
        args: list,
        shared: int = 0,
        race: bool = True,
        seed: int | None = None,
        blocks: list[int] | None = None,
        max_steps: int = 50_000_000,
    ) -> 'Run':
        """Run a kernel to its end and return the `Run` (races, traffic, counts).

        kernel: its name, or a part of it that is unique in the module.
        args: Allocations, ints, floats, or bytes (the raw parameter).
        shared: bytes of dynamic shared memory. race: look for data races.
        seed: a random order of warps instead of lock-step. blocks: run only these block numbers.
        Raises PtxError on any illegal access, deadlock or instruction that is not modelled.
        """
        from .machine import Run

        found = module.find(kernel)
        run = Run(self, module, found, grid, block, args, shared, race, seed, blocks, max_steps)
        return run.execute()
