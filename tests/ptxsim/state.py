"""The threads of a launch: who they are, their registers, and how operands are read and written."""

import struct
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from .arithmetic import bf16_from_float, float_from_bf16
from .operands import FloatBits, Immediate, Memory, Negated, Register, Sink, Special, Symbol
from .program import Instruction, Kernel
from .ptxtypes import FLOAT, SIGNED, UNSIGNED, WIDTH, PtxError

ALL_LANES = 0xFFFFFFFF
AXES = 'xyz'


class Lanes:
    """A set of threads: `threads` are their numbers, `index` selects them in a per-thread array.

    `index` is a full slice when every thread of the launch takes part, which spares numpy a copy.
    """

    __slots__ = ('index', 'threads')

    def __init__(self, index: slice | np.ndarray, threads: np.ndarray) -> None:
        self.index, self.threads = index, threads

    @classmethod
    def of(cls, threads: np.ndarray) -> 'Lanes':
        """The lanes of an array of thread numbers."""
        return cls(threads, threads)

    def __len__(self) -> int:
        return len(self.threads)

    def where(self, mask: np.ndarray) -> 'Lanes':
        """The lanes for which `mask` is true."""
        return self if mask.all() else Lanes.of(self.threads[mask])


def shape3(value: int | Sequence[int]) -> tuple[int, int, int]:
    """A grid or block shape with all three axes."""
    values = tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),)
    return (*values, 1, 1, 1)[:3]


class ThreadState:
    """All threads of a launch side by side: every per-thread quantity is one numpy array.

    `count` threads in `blocks` blocks of `block_size`; `block_of`, `warp_of`, `lane_of` and `linear` (number
    within the block) describe each thread; `warp_start` is the number of the first thread of its warp.
    """

    def __init__(self, kernel: Kernel, grid, block, block_numbers: list[int] | None) -> None:
        self.kernel = kernel
        self.grid, self.block = shape3(grid), shape3(block)
        self._check_block()
        self.block_size = int(np.prod(self.block))
        if block_numbers is None:
            self.block_numbers = np.arange(int(np.prod(self.grid)))
        else:
            self.block_numbers = np.asarray(block_numbers, np.int64)
        self.blocks = len(self.block_numbers)
        self.count = self.block_size * self.blocks
        warps_per_block = -(-self.block_size // 32)
        self.warps = self.blocks * warps_per_block
        self.linear = np.tile(np.arange(self.block_size), self.blocks)
        self.block_of = np.repeat(np.arange(self.blocks), self.block_size)
        self.lane_of = self.linear & 31
        self.warp_of = self.block_of * warps_per_block + (self.linear >> 5)
        self.warp_start = self.block_of * self.block_size + (self.linear & ~31)
        self.registers = {
            name: np.zeros(self.count, UNSIGNED[width]) for name, width in kernel.registers.items() if width in UNSIGNED
        }
        self.symbols: dict[str, int] = {}
        self.dynamic_shared = self.shared_bytes = self.steps = 0

    def _check_block(self) -> None:
        kernel = self.kernel
        if kernel.required_block and kernel.required_block != self.block:
            raise PtxError(f'{kernel.name} needs blocks of {kernel.required_block}, got {self.block}')
        if kernel.largest_block and int(np.prod(self.block)) > kernel.largest_block:
            raise PtxError(f'{kernel.name} allows {kernel.largest_block} threads a block, got {self.block}')

    def name_thread(self, thread: int) -> str:
        """A thread in words."""
        return f'block {int(self.block_numbers[self.block_of[thread]])} thread {int(self.linear[thread])}'

    def fail(self, ins: Instruction, message: str, threads: np.ndarray | None = None) -> NoReturn:
        """Raise a PtxError that names the instruction and the threads."""
        where = ''
        if threads is not None and len(threads):
            more = f' and {len(threads) - 1} more' if len(threads) > 1 else ''
            where = f' [{self.name_thread(threads[0])}{more}]'
        raise PtxError(f'{message}{where} at {self.kernel.name}:{ins.index}: {ins.text}')

    def read(self, operand: object, width: int, lanes: Lanes) -> np.ndarray:
        """An operand's bits, as unsigned integers of `width` (predicates: bool)."""
        kind = type(operand)
        dtype = UNSIGNED[width]
        if kind is Register:
            bits = self._register(operand)[lanes.index]
            return bits if bits.dtype == dtype else bits.astype(dtype)
        if kind is Special:
            return self.special(operand.name, lanes.threads).astype(dtype)
        if kind is Negated:
            return ~self.read(operand.operand, width, lanes)
        return np.full(len(lanes), self._constant(operand, width), dtype)

    def _register(self, operand: Register) -> np.ndarray:
        try:
            return self.registers[operand.name]
        except KeyError:
            raise PtxError(f'register {operand.name} of {self.kernel.name} has a type that is not modelled') from None

    def _constant(self, operand: object, width: int) -> int:
        if type(operand) is Immediate:
            return bool(operand.value) if width == 1 else operand.value & ((1 << width) - 1)
        if type(operand) is FloatBits:
            if operand.width == 32 and width == 64:
                value = struct.unpack('<f', struct.pack('<I', operand.bits))[0]
                return struct.unpack('<Q', struct.pack('<d', value))[0]
            return operand.bits & ((1 << width) - 1)
        if type(operand) is Symbol:
            return self.address_of(operand.name) & ((1 << width) - 1)
        raise PtxError(f'operand {operand} is not supported in {self.kernel.name}')

    def value(self, operand: object, ptype: str, lanes: Lanes) -> np.ndarray:
        """An operand as numbers of a PTX type (bfloat16 as float32)."""
        bits = self.read(operand, WIDTH[ptype], lanes)
        if ptype in FLOAT:
            return bits.view(FLOAT[ptype])
        if ptype == 'bf16':
            return float_from_bf16(bits)
        if ptype[0] == 's':
            return bits.view(SIGNED[WIDTH[ptype]])
        return bits

    def write(self, operand: object, values: np.ndarray, lanes: Lanes, ptype: str | None = None) -> None:
        """Store numbers or bits in a register; signed values are extended, `ptype` 'bf16' rounds floats."""
        if type(operand) is Sink:
            return
        if type(operand) is not Register:
            raise PtxError(f'destination {operand} is not supported in {self.kernel.name}')
        register = self._register(operand)
        kind = values.dtype.kind
        if kind == 'f':
            if ptype == 'bf16':
                values = bf16_from_float(values)
            else:
                values = np.ascontiguousarray(values).view(UNSIGNED[values.dtype.itemsize * 8])
        if values.dtype != register.dtype:
            size = register.dtype.itemsize
            if kind == 'i' and register.dtype != np.bool_ and values.dtype.itemsize < size:
                values = values.astype(SIGNED[size * 8])
            values = values.astype(register.dtype)
        register[lanes.index] = values

    def address_of(self, name: str) -> int:
        """The address of a variable or parameter. Raises PtxError for an unknown name."""
        try:
            return self.symbols[name]
        except KeyError:
            raise PtxError(f'unknown or unsupported symbol {name} in {self.kernel.name}') from None

    def addresses(self, operand: Memory, lanes: Lanes) -> np.ndarray:
        """The byte address each lane accesses (int64); 32-bit address registers wrap at 32 bits."""
        base = operand.base
        if type(base) is Register:
            result = self.read(base, 64, lanes).view(np.int64) + operand.offset
            return result & ALL_LANES if self.registers[base.name].dtype == np.uint32 else result
        start = base.value if type(base) is Immediate else self.address_of(base.name)
        return np.full(len(lanes), start + operand.offset, np.int64)

    def special(self, name: str, threads: np.ndarray) -> np.ndarray:
        """A hardware register of each thread. Clocks count interpreter steps; there is one multiprocessor."""
        word, _, axis = name[1:].partition('.')
        if axis:
            return self._coordinate(word, AXES.index(axis), threads)
        lane = self.lane_of[threads]
        if word.startswith('lanemask'):
            return self._lane_mask(word[-2:], lane)
        if word == 'laneid':
            return lane
        if word == 'warpid':
            return self.linear[threads] >> 5
        values = {
            'clock': self.steps,
            'clock64': self.steps,
            'smid': 0,
            'nsmid': 1,
            'dynamic_smem_size': self.dynamic_shared,
            'total_smem_size': self.shared_bytes,
        }
        return np.full(len(threads), values[word])

    def _coordinate(self, word: str, axis: int, threads: np.ndarray) -> np.ndarray:
        if word in ('ntid', 'nctaid'):
            return np.full(len(threads), (self.block if word == 'ntid' else self.grid)[axis])
        if word == 'tid':
            number, shape = self.linear[threads], self.block
        else:
            number, shape = self.block_numbers[self.block_of[threads]], self.grid
        if axis == 0:
            return number % shape[0]
        if axis == 1:
            return number // shape[0] % shape[1]
        return number // (shape[0] * shape[1])

    @staticmethod
    def _lane_mask(relation: str, lane: np.ndarray) -> np.ndarray:
        below, upto = (1 << lane) - 1, (2 << lane) - 1
        masks = {
            'lt': below,
            'le': upto,
            'eq': 1 << lane,
            'gt': ALL_LANES & ~upto,
            'ge': ALL_LANES & ~below,
        }
        return masks[relation]
