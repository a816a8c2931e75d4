"""Runs the host code of an nvcc-built library on a machine without a GPU.

The library's own launch code runs unchanged against a stand-in CUDA runtime, and each launch interprets the
PTX embedded in the library. Pointers are host pointers of registered tensors and arrays, or of the library's
cudaMalloc. The library must be built with `-cudart shared` and contain PTX.
"""

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from . import toolchain
from .hostmemory import HostMemory, extent
from .machine import Run
from .memory import GPU
from .module import Module
from .ptxtypes import PtxError

LAUNCH_FAILURE = 719
FREED, ALLOCATED, FILLED = range(3)
LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    *[ctypes.c_uint] * 6,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_void_p,
)
MEMORY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_numbers = itertools.count()


def best_kernels(texts: list[str], arch: int | None) -> dict[str, Module]:
    """For each kernel the module with the highest target not above `arch` (None: the highest of all)."""
    chosen: dict[str, Module] = {}
    for module in (Module(text) for text in texts):
        for name in module.kernels:
            fits = arch is None or module.target <= arch
            if fits and (name not in chosen or chosen[name].target < module.target):
                chosen[name] = module
    if not chosen:
        raise PtxError(f'no embedded PTX for sm_{arch} or below')
    return chosen


class FakeGPU:
    """A compiled library, loaded so that its kernel launches are interpreted.

    lib: the library (ctypes.CDLL), or None for an extension module; module: the extension module, or None;
    runs: the `Run` of every launch, with its `device` and `stream`; error: the exception of the latest failed launch;
    automatic: let pointers into any live CPU tensor through, registered or not; race, seed: passed to every launch, and
    may be changed between launches (seed: a random order of warps); devices: how many the runtime pretends to have.

    A launch that fails makes the CUDA call return error 719. Raises ToolError if a program or the PTX is
    missing.
    """

    def __init__(
        self,
        library: str | os.PathLike,
        ptx: list[str] | None = None,
        arch: int | None = None,
        automatic: bool = False,
        race: bool = True,
        seed: int | None = None,
        module_name: str | None = None,
        devices: int = 1,
    ) -> None:
        path = Path(library).resolve()
        self.kernels = best_kernels(ptx or toolchain.embedded_ptx(path), arch)
        self.arch = arch or max(m.target for m in self.kernels.values())
        self.automatic, self.race, self.seed = automatic, race, seed
        self.memory, self.device = HostMemory(), GPU()
        self.runs: list[Run] = []
        self.error: Exception | None = None
        self.module: ModuleType | None = None
        self.lib: ctypes.CDLL | None = None
        self._replaced: list[tuple[ModuleType, str, ModuleType]] = []
        self._previous: ModuleType | None = None
        with tempfile.TemporaryDirectory(prefix='ptxsim-') as folder:  # what is loaded needs no file
            patched, runtime = toolchain.with_fake_cudart(path, Path(folder))
            self._connect(runtime, devices)
            if module_name:
                self._load_module(module_name, path, patched)
            else:
                self.lib = ctypes.CDLL(str(patched), os.RTLD_NOW | os.RTLD_DEEPBIND)

    @classmethod
    def extension(cls, name: str, path: str | os.PathLike | None = None, **options) -> 'FakeGPU':
        """An extension module (pybind11 or other), loaded under its own name to replace the real one.

        name: its full name, e.g. 'package._cuda'; path: its file, found by import machinery if None; options:
        those of the constructor. Modules that already hold the real extension as an attribute get the
        replacement; names imported out of it (`from package._cuda import f`) before this call keep calling
        the real one.
        """
        if path is None:
            spec = importlib.util.find_spec(name)
            if spec is None or not spec.origin:
                raise PtxError(f'extension module {name} not found')
            path = spec.origin
        return cls(path, module_name=name, **options)

    def _connect(self, runtime: Path, devices: int) -> None:
        self.runtime = ctypes.CDLL(str(runtime), os.RTLD_NOW | os.RTLD_LOCAL)
        self._callbacks = LAUNCH(self._on_launch), MEMORY(self._on_memory)
        self.runtime.fake_set(*self._callbacks)
        self.runtime.fake_set_capability(self.arch)
        self.devices = devices

    def _load_module(self, name: str, path: Path, patched: Path) -> None:
        """Import the patched copy of an extension and put it in the place of the real module.

        It is created under a name of its own, because pybind11 hands out one module object a name; only the
        last part of the name decides which initialisation function is called.
        """
        alias = f'ptxsim_{next(_numbers)}.{name}'
        loader = importlib.machinery.ExtensionFileLoader(alias, str(patched))
        spec = importlib.util.spec_from_file_location(alias, str(patched), loader=loader)
        flags = sys.getdlopenflags()
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
        try:
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
        finally:
            sys.setdlopenflags(flags)
        module.__name__, module.__package__ = name, name.rpartition('.')[0]
        module.__spec__ = importlib.util.spec_from_file_location(name, str(path))
        original = sys.modules.get(name)
        self.module, self._previous = module, original
        sys.modules[name] = module
        self._replace(name, original, module)

    def _replace(self, name: str, original: ModuleType | None, module: ModuleType) -> None:
        """Put the module where the original is an attribute, and on its parent package."""
        parent, _, child = name.rpartition('.')
        for holder in list(sys.modules.values()):
            attributes = vars(holder) if isinstance(holder, ModuleType) else {}
            for key, value in list(attributes.items()):
                if original is not None and value is original:
                    self._replaced.append((holder, key, original))
                    setattr(holder, key, module)
        if parent in sys.modules and not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, module)

    def close(self) -> None:
        """Put a replaced extension module back. The patched copy stays loaded until the process ends."""
        for holder, key, original in self._replaced:
            setattr(holder, key, original)
        self._replaced.clear()
        if self.module is not None:
            name = self.module.__name__
            if self._previous is not None:
                sys.modules[name] = self._previous
            elif sys.modules.get(name) is self.module:
                del sys.modules[name]
                parent, _, child = name.rpartition('.')
                if getattr(sys.modules.get(parent), child, None) is self.module:
                    delattr(sys.modules[parent], child)
            self.module = None
        self.memory.blocks.clear()

    def __enter__(self) -> 'FakeGPU':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def races(self) -> list[str]:
        """The data races of all launches so far."""
        return [race for run in self.runs for race in run.races]

    @property
    def devices(self) -> int:
        """How many devices the runtime has; they share the memory."""
        return self.runtime.fake_devices()

    @devices.setter
    def devices(self, count: int) -> None:
        self.runtime.fake_set_devices(count)

    @property
    def current_device(self) -> int:
        """The calling thread's device."""
        return self.runtime.fake_current_device()

    def fail_next(self, function: str, error: int) -> None:
        """Make the next call of a CUDA function, such as 'cudaLaunchKernel', do nothing and return an error.

        Launches are calls of cudaLaunchKernel, however the host code spells them. `track` raises PtxError if the call
        does not come. Raises PtxError for a function that the runtime does not have.
        """
        if not function.startswith('cuda') or not hasattr(self.runtime, function):
            raise PtxError(f'the stand-in runtime has no function {function}')
        self.runtime.fake_fail_next(function.encode(), error)

    def register(self, array: object, name: str = '', written: bool = True) -> ctypes.c_void_p:
        """Let kernels access a CPU tensor's storage or a numpy array; returns its data pointer.

        written=False: reading it before a kernel or cudaMemset wrote it is an error.
        """
        base, size = extent(array)
        self.memory.register(base, size, name, written, array)
        pointer = array.ctypes.data if hasattr(array, 'ctypes') else array.data_ptr()
        return ctypes.c_void_p(pointer)

    def forget(self) -> None:
        """Drop all registered memory."""
        self.memory.blocks.clear()

    @contextlib.contextmanager
    def track(
        self, *arrays: object, unwritten: tuple = (), automatic: bool | None = None, allow_races: bool = False
    ) -> Iterator['FakeGPU']:
        """Register arrays for the duration of a block, and raise what went wrong in it.

        unwritten: outputs, which kernels must not read before writing them; automatic: see the class.
        Raises PtxError if a launch failed, if a call of `fail_next` did not come or, unless allow_races, if one raced.
        """
        before, first, previous = dict(self.memory.blocks), len(self.runs), self.automatic
        self.error = None
        self.runtime.fake_forget_failures()
        self.automatic = previous if automatic is None else automatic
        for group, written in ((arrays, True), (unwritten, False)):
            for array in group:
                self.register(array, written=written)
        try:
            yield self
        except Exception as raised:
            if self.error is not None:
                raise self.error from raised
            raise
        finally:
            self.memory.blocks = before
            self.automatic = previous
        if self.error is not None:
            raise self.error
        races = [race for run in self.runs[first:] for race in run.races]
        if races and not allow_races:
            raise PtxError(races[0])
        if count := self.runtime.fake_forget_failures():
            raise PtxError(f'{count} calls that were to fail did not come')

    def _on_memory(self, pointer: int, size: int, event: int) -> None:
        if event == ALLOCATED:
            self.memory.register(pointer, size, 'cudaMalloc', False)
        elif event == FILLED:
            self.memory.mark_written(pointer, size)
        else:
            self.memory.forget(pointer)

    def _on_launch(self, name: bytes, gx, gy, gz, bx, by, bz, arguments, shared: int, device: int, stream) -> int:
        try:
            run = self._launch(name.decode(), (gx, gy, gz), (bx, by, bz), arguments, shared)
        except Exception as error:  # must not escape into C: the caller sees error 719
            self.error = error
            return LAUNCH_FAILURE
        run.device, run.stream = device, stream or 0
        self.runs.append(run)
        return 0

    def _launch(self, name: str, grid: tuple, block: tuple, arguments, shared: int) -> Run:
        if name not in self.kernels:
            raise PtxError(f'the library has no PTX for kernel {name}')
        module = self.kernels[name]
        parameters = module.kernels[name].parameters
        raw = [ctypes.string_at(arguments[i], p.size) for i, p in enumerate(parameters)]
        blocks = list(self.memory.blocks.values())
        if self.automatic:
            blocks += self.memory.discover(raw)
        copies = [(host, host.to_device()) for host in blocks]
        self.device.allocations += [allocation for _, allocation in copies]
        try:
            run = self.device.launch(module, name, grid, block, raw, shared=shared, race=self.race, seed=self.seed)
        finally:
            mine = {id(allocation) for _, allocation in copies}
            self.device.allocations = [a for a in self.device.allocations if id(a) not in mine]
        for host, allocation in copies:
            host.from_device(allocation)
        return run
