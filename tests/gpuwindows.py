"""Tensors too large for any memory, of which only the end of each row exists: the library's own host code launches the
kernels, and the emulator runs their last blocks."""

import ctypes
import struct
from math import prod
from types import SimpleNamespace

import ptxsim
import torch
from ptxsim.memory import Allocation

from snnkern.backends import layout

NOWHERE = 1 << 48  # addresses that no process has


class Huge:
    """Rows of `size` values, the last `tail` of which exist, and memory of other sizes in proportion."""

    def __init__(self, size: int, tail: int) -> None:
        self.size, self.tail = size, tail
        self.device = ptxsim.GPU()
        self.parts: dict[int, list[Allocation]] = {}
        self.keep: list[torch.Tensor] = []
        self.next = NOWHERE
        self.scratch = lambda flat: flat  # gives memory that kernels share among themselves its windows
        self.runs: list = []

    def addresses(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """[count] that is nothing but addresses."""
        begin, self.next = self.next, self.next + -(-count * dtype.itemsize // 4096 + 1) * 4096
        return torch.frombuffer((ctypes.c_uint8 * (count * dtype.itemsize)).from_address(begin), dtype=dtype)

    def window(self, t: torch.Tensor, begin: int, count: int, written: bool = False) -> Allocation:
        """`count` values of t from the place `begin` on."""
        made = Allocation(t.data_ptr() + begin * t.itemsize, count * t.itemsize, f'{tuple(t.shape)}', written)
        self.device.allocations.append(made)
        self.parts.setdefault(t.data_ptr(), []).append(made)
        return made

    def rows(self, t: torch.Tensor) -> torch.Tensor:
        """t with the end of each row (of the one row of a vector) unwritten, and 16 bytes at its beginning."""
        rows = t.shape[0] if t.dim() > 1 else 1
        each = t.numel() // rows
        count = -(-each * self.tail // self.size)
        for row in range(rows):
            self.window(t, (row + 1) * each - count, count)
            self.device.allocations.append(Allocation(t.data_ptr() + row * each * t.itemsize, 16, 'first', True))
        return t

    def new(self, x: torch.Tensor, steps: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """As layout.new_like."""
        memory = self.addresses(x.numel() // x.shape[0] * steps, dtype or x.dtype)
        return self.rows(memory.as_strided((steps, *x.shape[1:]), layout.strides_of(x)))

    def put(self, small: torch.Tensor, samples: int | None = None) -> torch.Tensor:
        """[T, samples, ...] in the layout of small [T, 1, ...], the ends of rows; no samples: small itself."""
        if samples is None:
            self.device.allocations.append(made := Allocation(small.data_ptr(), small.nbytes, 'small', True))
            made.fill(small.numpy())
            self.keep.append(small)
            return small
        T, _, *shape = small.shape
        each = prod(shape)
        memory = self.addresses(T * samples * each, small.dtype)
        x = self.rows(memory.as_strided((T, samples, *shape), (samples * each, each, *small.stride()[2:])))
        flat = small.as_strided((T, each), (each, 1))
        for part, row in zip(self.parts[x.data_ptr()], flat, strict=True):
            part.fill(row.view(torch.uint8).numpy())
        return x

    def get(self, t: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        """The end of each row, in the shape [rows, ...] and layout of `like` [.., ...]."""
        found = [torch.from_numpy(part.read('uint8')).view(t.dtype) for part in self.parts[t.data_ptr()]]
        rows = torch.stack(found)
        return rows if like is None else rows.as_strided((len(found), *like.shape[1:]), layout.strides_of(like))

    def run(self, module, kernel: str, grid: tuple, block, values: list, shared: int):
        """The last block along x, for each along y."""
        last = [(y + 1) * grid[0] - 1 for y in range(grid[1])]
        run = self.device.launch(module, kernel, grid, block, values, shared=shared, blocks=last)
        assert run.races == []
        self.runs.append((grid, run))
        return run

    def launch(self, gpu):
        """In place of the emulated GPU's own."""

        def _launch(name, grid, block, arguments, shared):
            module = gpu.kernels[name]
            sizes = [p.size for p in module.kernels[name].parameters]
            raw = [ctypes.string_at(arguments[i], size) for i, size in enumerate(sizes)]
            return self.run(module, name, grid, block, raw, shared)

        return _launch

    def call(self):
        """In place of a Triton launcher's __call__."""

        def call(launcher, gx, gy, gz, stream, function, metadata, launch_metadata, enter, leave, *arguments):
            values = []
            for (_, kind), value in zip(launcher.source.signature.items(), arguments, strict=True):
                if isinstance(value, torch.Tensor):
                    values.append(value.data_ptr())
                elif kind != 'constexpr':
                    values.append(struct.pack('<f', value) if kind == 'fp32' else value)
            module = ptxsim.Module(launcher.compiled.asm['ptx'])
            (kernel,) = module.kernels.values()
            values += [0] * (len(kernel.parameters) - len(values))
            meta = launcher.metadata
            self.run(module, kernel.name, (gx, gy, gz), 32 * meta.num_warps, values, meta.shared)

        return call

    @property
    def torch(self) -> SimpleNamespace:
        """In place of torch, where the library asks it for memory."""

        def empty(size, dtype, device):
            flat = self.addresses(prod(size) if isinstance(size, tuple) else max(1, size), dtype)
            return self.rows(flat.view(size)) if isinstance(size, tuple) else self.scratch(flat)

        return SimpleNamespace(**{**vars(torch), 'empty': empty})
