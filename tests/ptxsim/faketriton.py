"""A Triton driver for machines without a GPU.

`kernel[grid](...)` on CPU tensors compiles for a real NVIDIA target and interprets the resulting PTX.
"""

import struct

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.compiler.compiler import CompiledKernel
from triton.runtime import driver

from .hostmemory import HostBlock, HostMemory, extent
from .machine import Run
from .memory import GPU
from .module import Module
from .ptxtypes import PtxError

DEVICE = {
    'max_shared_mem': 232448,
    'max_num_regs': 65536,
    'multiprocessor_count': 132,
    'warpSize': 32,
    'sm_clock_rate': 1755000,
    'mem_clock_rate': 2619000,
    'mem_bus_width': 5120,
}
_original_init_handles = CompiledKernel._init_handles


def _init_handles(kernel: CompiledKernel) -> None:
    """Tell the driver which kernel the launcher that is about to be made belongs to."""
    if isinstance(driver.active, FakeDriver):
        driver.active.current = kernel
    _original_init_handles(kernel)


CompiledKernel._init_handles = _init_handles


class Utils:
    """What Triton asks of its driver library."""

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple:
        """Module, function, registers, spills and the largest block."""
        return 1, name, 0, 0, 1024

    def get_device_properties(self, device: int) -> dict:
        """Properties of a large NVIDIA GPU."""
        return dict(DEVICE)


class Launcher:
    """Launches one compiled kernel in the interpreter."""

    def __init__(self, source, metadata) -> None:
        self.source, self.metadata = source, metadata
        self.compiled = driver.active.current
        self.module: Module | None = None

    def __call__(self, gx, gy, gz, stream, function, metadata, launch_metadata, enter, leave, *arguments) -> None:
        """Interpret one launch; the parameters are those of Triton's own launchers."""
        active = driver.active  # Triton caches launchers, and a later driver may use this one
        if self.module is None:
            self.module = Module(self.compiled.asm['ptx'])
        kernel = next(iter(self.module.kernels.values()))
        memory, values = HostMemory(), []
        for (name, ptype), value in zip(self.source.signature.items(), arguments, strict=True):
            if ptype != 'constexpr':
                values.append(self._encode(active, memory, name, ptype, value))
        gpu = GPU()
        copies = [(host, host.to_device()) for host in memory.blocks.values()]
        gpu.allocations += [allocation for _, allocation in copies]
        values += self._scratch(gpu, gx * gy * gz, len(kernel.parameters) - len(values))
        block = 32 * self.metadata.num_warps
        run = gpu.launch(
            self.module,
            kernel.name,
            (gx, gy, gz),
            block,
            values,
            shared=self.metadata.shared,
            race=active.race,
            seed=active.seed,
        )
        run.stream = stream
        active.finished(self.compiled, run)
        for host, allocation in copies:
            host.from_device(allocation)
            active.remember(host)

    def _encode(self, active: 'FakeDriver', memory: HostMemory, name: str, ptype: str, value: object) -> object:
        if isinstance(value, torch.Tensor):
            base, size = extent(value)
            block = memory.find(base) or memory.register(base, size, name, True, value)
            block.written[:] = active.written_flags(block)
            return value.data_ptr()
        if ptype in ('fp32', 'fp64'):
            return struct.pack('<f' if ptype == 'fp32' else '<d', value)
        if isinstance(value, bool | int | float):
            return value
        raise PtxError(f'argument {name} of type {ptype} is not supported')

    def _scratch(self, gpu: GPU, programs: int, count: int) -> list:
        """Triton's trailing scratch pointers (global and profiling memory)."""
        sizes = [getattr(self.metadata, f'{kind}_scratch_size', 0) for kind in ('global', 'profile')]
        pointers = [gpu.alloc(size * programs, 'scratch') if size else 0 for size in sizes]
        return (pointers + [0] * count)[:count]


class FakeDriver(DriverBase):
    """The driver: `runs` are the (compiled kernel, Run) of every launch, `races` all data races found.

    race, seed, and the number `stream` of the current stream may be changed between launches.
    Use it as a context manager, or call `uninstall`, to give Triton its previous driver back.
    """

    def __init__(self, arch: int = 90, race: bool = True, seed: int | None = None) -> None:
        self.arch, self.race, self.seed, self.stream = arch, race, seed, 0
        self.utils, self.launcher_cls = Utils(), Launcher
        self.runs: list[tuple[CompiledKernel, Run]] = []
        self.races: list[str] = []
        self.current: CompiledKernel | None = None
        self._unwritten: dict[int, HostBlock] = {}
        self._previous: object = None
        self._installed = False

    def empty(self, *shape, **options) -> torch.Tensor:
        """torch.empty, and reading the result before a kernel wrote it is an error."""
        tensor = torch.empty(*shape, **options)
        base, size = extent(tensor)
        self._unwritten[base] = HostMemory().register(base, size, 'empty', False, tensor)
        return tensor

    def written_flags(self, block: HostBlock) -> object:
        """The flags of a block made by `empty`; True for any other memory."""
        known = self._unwritten.get(block.base)
        return True if known is None or known.size != block.size else known.written

    def remember(self, block: HostBlock) -> None:
        """Keep what a launch wrote of a block made by `empty`; forget the block once all of it is."""
        known = self._unwritten.get(block.base)
        if known is not None and known.size == block.size:
            known.written[:] = block.written
            if block.written.all():
                del self._unwritten[block.base]

    def finished(self, compiled: CompiledKernel, run: Run) -> None:
        """Record a launch."""
        self.runs.append((compiled, run))
        self.races += run.races

    def install(self) -> 'FakeDriver':
        """Make this Triton's driver."""
        if not self._installed:
            self._previous = driver._active  # None: Triton has not looked for a GPU yet
            self._installed = True
        driver.set_active(self)
        return self

    def uninstall(self) -> None:
        """Give Triton its previous driver back."""
        if self._installed:
            driver.set_active(self._previous)
            self._installed = False

    def __enter__(self) -> 'FakeDriver':
        return self if self._installed else self.install()

    def __exit__(self, *exception: object) -> None:
        self.uninstall()

    @classmethod
    def is_active(cls) -> bool:
        """Never chosen unless installed."""
        return False

    def map_python_to_cpp_type(self, ptype: str) -> str:
        """Types need no translation."""
        return ptype

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return GPUTarget('cuda', self.arch, 32)

    def get_active_torch_device(self) -> torch.device:
        """Where tensors live."""
        return torch.device('cpu')

    def get_current_device(self) -> int:
        """The target number, so that Triton's per-device caches keep targets apart."""
        return self.arch

    def set_current_device(self, device: int) -> None:
        """There is only one."""

    def get_current_stream(self, device: int) -> int:
        """The stream that launches go to; runs have it as `stream`."""
        return self.stream

    def get_device_interface(self) -> object:
        """torch's interface to the device."""
        return torch.cpu

    def get_benchmarker(self) -> object:
        """A benchmark that runs the function once and reports 1 ms: times mean nothing here."""

        def once(function, **options) -> list[float]:
            function()
            return [1.0, 1.0, 1.0]

        return once

    def get_empty_cache_for_benchmark(self) -> torch.Tensor:
        """Nothing to clear."""
        return torch.empty(0)


def install_triton(arch: int = 90, race: bool = True, seed: int | None = None) -> FakeDriver:
    """Make Triton compile for sm_<arch> and interpret every launch; returns the driver.

    race: look for data races; seed: run warps in a random order. Requires Triton and torch.
    """
    return FakeDriver(arch, race, seed).install()
