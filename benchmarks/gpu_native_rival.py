"""SpikingJelly's CUDA kernels of LIF and IF, compiled from its own kernels.cuh without its PyTorch operators.

What is ours is a file that names the instantiations which their operators launch on contiguous tensors, and the
launches (grid, block and arguments as in their native.cu). Of native_layout.cuh only the layout of contiguous tensors
is taken: the rest of it allocates torch tensors. The half type is torch's own, as in theirs.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import emulated
from benchmarks.gpu_cases import Launch, Part
from benchmarks.gpu_facts import MAIN, Row
from benchmarks.gpu_limits import resident

FLAGS = ['-O3', '--fmad=false', '-std=c++20', f'-arch={MAIN}']  # the first two are those of their setup.py
ELEMENTS = {torch.float32: 'float', torch.float16: 'c10::Half'}
LAYOUT = re.compile(r'struct SjLinearOffsets \{.*?\n\};.*?struct SjLinearLayout \{.*?\n\};', re.S)
ATAN, BLOCK = 1, 256
NUMBERS: dict[str, list[Any]] = {'lif': [2.0, 1], 'if': []}  # tau and decay_input


def inputs(dtype: torch.dtype, T: int, n: int) -> dict[str, torch.Tensor]:
    """x, v0, and for backward h and the gradients of spikes and of the last potential."""
    g = torch.Generator().manual_seed(42)
    x = (torch.randint(-5, 17, (T, n), generator=g) / 10).to(dtype)
    h, gs = torch.rand(T, n, generator=g) * 1.5, torch.randn(T, n, generator=g).to(dtype)
    return {'x': x, 'v': torch.rand(n, generator=g), 'h': h, 'gs': gs, 'gv': torch.randn(n, generator=g)}


class Native:
    """Their kernels of both neurons. source: the unpacked source release; folder: where to compile.

    Raises RuntimeError with nvcc's message where it does not compile.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.launches: list[Launch] = []
        self.ptx, self.cubin = {}, {}
        for kind, name in (('lif', 'lif'), ('if', 'if_')):
            ops = folder / 'ops'
            (ops / name).mkdir(parents=True)
            for file in ('_cuda.cuh', 'cuda_surrogate.cuh', f'{name}/kernels.cuh'):
                shutil.copy(source / 'ops' / file, ops / file)
            found = LAYOUT.search((source / 'ops' / 'native_layout.cuh').read_text())
            if found is None:
                raise RuntimeError(f'{source}/ops/native_layout.cuh holds no SjLinearLayout')
            (ops / 'native_layout.cuh').write_text(f'#pragma once\n#include <cstdint>\n{found[0]}\n')
            (ops / name / 'instances.cu').write_text(instances(kind))
            self.ptx[kind] = compiled(ops / name / 'instances.cu', 'ptx').read_text()
            self.cubin[kind] = compiled(ops / name / 'instances.cu', 'cubin')

    def run(self, kind: str, dtype: torch.dtype, T: int, n: int, backend: str) -> Iterator[Part]:
        """Both directions, and LIF's backward as it is launched from 2^21 neurons on: two a thread."""
        kind, t, e = kind.lower(), inputs(dtype, T, n), dtype.itemsize
        gpu = emulated.ptxsim().GPU()
        put = {name: gpu.put(value.numpy(), name) for name, value in t.items()}
        sizes = {'s': e * T * n, 'last': 4 * n, 'charged': 4 * T * n, 'gx': e * T * n, 'gv0': 4 * n}
        made = {name: gpu.alloc(size, name) for name, size in sizes.items()}
        charge = NUMBERS[kind]
        forth = [put['x'], put['v'], made['s'], made['last'], made['charged'], T, n, *charge, 1.0, 0.0, 0, 0, b'\0']
        self._launch(gpu, kind, f'{kind}_forward', dtype, BLOCK, n, forth)
        yield Part('forward', T * n, None)
        back = [put['gs'], put['gv'], put['h'], made['gx'], made['gv0'], T, n, *charge, 1.0, 0.0, 0, 0, 2.0, 0, b'\0']
        widths = (1, 2) if kind == 'lif' else (1,)
        for width in widths:
            self._launch(gpu, kind, f'{kind}_backward', dtype, BLOCK // width, n, back, width)
            yield Part('backward' if width == 1 else 'backward of many', T * n, None)

    def _launch(
        self, gpu: Any, kind: str, kernel: str, dtype: torch.dtype, block: int, n: int, arguments: list, width: int = 1
    ) -> None:
        module = emulated.ptxsim().Module(self.ptx[kind])
        element = 'f' if dtype == torch.float32 else 'N3c104HalfE'
        tags = f'Li{ATAN}ELi{width}E' if kernel == 'lif_backward' else f'Li{ATAN}E' if 'backward' in kernel else ''
        (name,) = (name for name in module.kernels if f'{kernel}I{element}{tags}' in name)
        run = gpu.launch(module, name, grid=-(-n // BLOCK), block=block, args=arguments)
        self.launches.append(Launch(run, self.ptx[kind]))

    def taken(self) -> list[Launch]:
        """The launches since the last call."""
        found, self.launches = self.launches, []
        return found

    def machine(self, launches: list[Launch]) -> Row:
        """Registers and resident threads of a part's one launch."""
        (launch,) = launches
        kind = 'lif' if 'lif' in launch.run.kernel.name else 'if'
        facts = emulated.ptxsim().sass_facts(str(self.cubin[kind]))[launch.run.kernel.name]
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        return {
            'registers': facts.registers,
            'threads': resident(MAIN, facts.registers, launch.run.block_size, facts.shared),
        }


def instances(kind: str) -> str:
    """The kernels that their operators launch on contiguous tensors, for ATan."""
    lines = ['#include <c10/util/Half.h>', '#include "kernels.cuh"', '__attribute__((used)) static void* kept[] = {']
    for element in ELEMENTS.values():
        lines.append(f'(void*){kind}_forward<{element}, SjLinearLayout>,')
        for width in (', 1', ', 2') if kind == 'lif' else ('',):
            lines.append(f'(void*){kind}_backward<{element}, {ATAN}{width}, SjLinearLayout>,')
    return '\n'.join([*lines, '};', ''])


def compiled(source: Path, kind: str) -> Path:
    """`source` as 'ptx' or 'cubin'. Raises RuntimeError with nvcc's message."""
    nvcc = shutil.which('nvcc') or '/usr/local/cuda/bin/nvcc'
    target = source.with_suffix(f'.{kind}')
    includes = ['-I', str(Path(torch.__file__).parent / 'include')]
    command = [nvcc, *FLAGS, f'-{kind}', *includes, str(source), '-o', str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed:\n{done.stderr[-3000:]}')
    return target
