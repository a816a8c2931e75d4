"""Facts of our GPU kernels without a GPU: of their machine code on every architecture, and of what launches do."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from benchmarks import emulated, gpu_cases
from benchmarks.gpu_cases import Case, Launch, Part
from benchmarks.gpu_limits import LIMITS, resident

ARCHITECTURES = ('sm_75', 'sm_80', 'sm_90', 'sm_100', 'sm_120')
MAIN = 'sm_90'  # what launches are compiled for
VARIANTS = 'variants over T=1..8'
BLOCK = 128  # threads of a block of our CUDA kernels
# The Triton kernels that are compiled for all architectures; launches of the other cases for MAIN only.
EVERYWHERE = re.compile(
    r'^LIF float32 T=4$|^(LIF|LIF soft|IF) float32 T=16$|^LIF float16 T=16$'
    r'|(moments|poisson) float16|bits float32|2x2 float16 channels'
)
Row = dict[str, Any]


def versions() -> dict[str, str | None]:
    """Of the compilers, whose machine code the table describes; None where one is absent."""
    nvcc = shutil.which('nvcc') or shutil.which('/usr/local/cuda/bin/nvcc')
    said = subprocess.run([nvcc, '--version'], capture_output=True, text=True, check=True).stdout if nvcc else ''
    found = re.search(r'release .*V([\d.]+)', said)
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = None
    return {'nvcc': found[1] if found else None, 'triton': triton}


def readable(name: str) -> str:
    """A kernel's C++ name without namespaces and arguments: forward<float, 4, false, Lif<bool> >."""
    name = re.sub(r'\b(snn|gpu|common)::|\(anonymous namespace\)::|^void ', '', torch._C._demangle(name))
    return name.partition('(')[0]


def machine(facts: Any, arch: str, block: int = BLOCK, dynamic: int = 0) -> Row:
    """A row of one kernel: registers of a thread, threads that a multiprocessor holds, instructions, widths in bits.

    What should be zero is there only if it is not: stack, local (bytes) and spills (instructions). dynamic: bytes of
    shared memory that a launch adds.
    """
    kept = LIMITS[arch].kept  # the assembler adds it where there is any shared memory
    shared = dynamic + facts.shared - (kept if facts.shared >= kept else 0)
    row: Row = {
        'registers': facts.registers,
        'threads': resident(arch, facts.registers, block, shared),
        'size': facts.size - facts.count('NOP'),
        'loads': widths(facts.loads),
        'stores': widths(facts.stores),
    }
    more = {'shared': shared} | {key: getattr(facts, key) for key in ('stack', 'local', 'spills')}
    return row | {key: value for key, value in more.items() if value}


def widths(counts: dict[str, int]) -> str:
    """The widths in bits of accesses, narrowest first."""
    return ' '.join(map(str, sorted(int(re.sub(r'\D', '', width)) for width in counts)))


def native(architectures: tuple[str, ...]) -> Iterator[tuple[str, str, Row]]:
    """Name, architecture and row of every kernel in `_cuda`. Raises FileNotFoundError where it is not built."""
    path = emulated.built()
    if path is None:
        raise FileNotFoundError('snnkern._cuda is not built (no nvcc)')
    for arch in architectures:
        for name, facts in emulated.ptxsim().sass_facts(path, arch).items():
            yield f'native {readable(name)}', arch, machine(facts, arch)


def triton(architectures: tuple[str, ...]) -> Iterator[tuple[str, str, Row]]:
    """The same of the cases of EVERYWHERE: their kernels by case."""
    chosen = [case for case in gpu_cases.cases() if EVERYWHERE.search(case.name)]
    for arch in architectures:
        with on_triton(arch) as taken, mock.patch.object(emulated.ptxsim().GPU, 'launch', unexecuted):
            for case in chosen:
                for name, launches, _ in gpu_cases.measure(case, 'triton', taken):
                    for launch in launches:
                        assert launch.cubin is not None
                        more = f': {launch.run.kernel.name}' if len(launches) > 1 else ''
                        size = launch.run.block_size, launch.run.dynamic_shared
                        row = machine(emulated.facts(launch.cubin), arch, *size)
                        yield name + more, arch, row


def unexecuted(
    gpu: Any, module: Any, name: str, grid: Any, block: int, args: Any, shared: int = 0, **_: Any
) -> SimpleNamespace:
    """In place of the emulator's launch, where only the code counts."""
    return SimpleNamespace(kernel=module.find(name), block_size=block, dynamic_shared=shared, races=[])


def variants(run: Callable[..., Iterator[Part]]) -> dict[str, int]:
    """How many kernels Triton compiles over T = 1..8 in float32, by kernel. run: of a dtype, T, N and 'triton'."""
    with emulated.on_triton(int(MAIN.removeprefix('sm_'))) as driver:
        for T in range(1, 9):
            list(run(torch.float32, T, 64, 'triton'))
        made = {(compiled.metadata.name, compiled.hash) for compiled, _ in driver.runs}
    return dict(sorted(Counter(name.strip('_').removesuffix('_kernel') for name, _ in made).items()))


def of_gpu(gpu: Any, library: Path) -> Callable[[], list[Launch]]:
    """What gives the launches of an emulated GPU since its last call. library: what it was made from."""

    def taken() -> list[Launch]:
        runs = list(gpu.runs)
        gpu.runs.clear()
        texts = emulated.texts(library, 90)
        return [Launch(run, next(text for text in texts if run.kernel.name in text)) for run in runs]

    return taken


def of_driver(driver: Any) -> Callable[[], list[Launch]]:
    """The same of an emulated Triton driver."""

    def taken() -> list[Launch]:
        runs = list(driver.runs)
        driver.runs.clear()
        return [Launch(run, compiled.asm['ptx'], compiled.asm['cubin']) for compiled, run in runs]

    return taken


@contextmanager
def on_native(library: Path) -> Iterator[Callable[[], list[Launch]]]:
    """The native backend on an emulated GPU of sm_90."""
    with emulated.extensions(library) as gpus, emulated.on_gpu(gpus[90]) as gpu:
        yield of_gpu(gpu, library)


@contextmanager
def on_triton(arch: str) -> Iterator[Callable[[], list[Launch]]]:
    """The Triton backend, compiled for `arch`."""
    with emulated.on_triton(int(arch.removeprefix('sm_'))) as driver:
        yield of_driver(driver)


def launches(
    case: Case, backend: str, taken: Callable[[], list[Launch]], static: dict[str, Row], whole: bool = False
) -> dict[str, Row]:
    """A row for each part of a case. static: rows of `native` for MAIN, which have the registers of its kernels; whole:
    see `gpu_cases.facts`."""
    found = {}
    for name, ran, part in gpu_cases.measure(case, backend, taken):
        row = gpu_cases.facts(ran, part, whole)
        if backend == 'native':
            used = [static[f'native {readable(launch.run.kernel.name)}']['registers'] for launch in ran]
        else:
            used = [emulated.facts(launch.cubin).registers for launch in ran if launch.cubin]
        row['registers'] = max(used)
        sizes = [(launch.run.block_size, launch.run.shared_bytes) for launch in ran]
        row['threads'] = min(resident(MAIN, registers, *size) for registers, size in zip(used, sizes, strict=True))
        found[name] = row
    return found
