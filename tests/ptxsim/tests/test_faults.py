"""Seeded faults in the CUDA sample: each must be noticed, and the original must pass."""

from pathlib import Path

import pytest
import torch

from ptxsim import Module, PtxError

from .conftest import KERNELS
from .lif import Case, run_cuda

VECTOR = 'template <class T, int V> struct alignas(sizeof(T)*V) Vec'
SHUFFLE = '__shfl_xor_sync(0xffffffffu'
GUARD = 'lane < (int)(blockDim.x >> 5) ? part[lane] : 0.f'
FAULTS = {
    'original': ('', '', ''),
    'no barrier': ('  __syncthreads();\n', '', 'race'),
    'early return': ('if (i < n) {\n    using', 'if (i >= n) return; {\n    using', 'shfl.sync'),
    'plain add': ('atomicAdd(gdecay, acc)', '*gdecay += acc', 'race'),
    'no bounds check': ('if (i >= n) return;', '', 'out-of-bounds'),
    'half reduction': ('int o = 16', 'int o = 8', 'gd'),
    'wrong gradient': ('(1.f - decay)', '(1.f + decay)', 'gx'),
    'missing store': ('*reinterpret_cast<P*>(v + i) = vv;', '', 'v'),
    'uninitialised shared': (GUARD, 'part[lane]', 'never written'),
    'unaligned vector': (VECTOR, 'template <class T, int V> struct Vec', 'narrow'),
    'wrong stride': ('x + t * n + i)', 'x + i * steps + t * V)', 's'),
    'half mask': (SHUFFLE, '__shfl_xor_sync(0xffffu', 'own member mask'),
}


def symptoms(module: Module, case: Case) -> list[str]:
    """Everything that looks wrong about a run."""
    try:
        wrong, forward, backward = run_cuda(module, case)
    except PtxError as error:
        return [str(error)]
    races = ['race'] if forward.races + backward.races else []
    narrow = ['narrow'] if forward.traffic().min_width < 16 else []
    return wrong + races + narrow


@pytest.mark.parametrize('name', FAULTS)
def test_seeded_fault(name: str, compile_ptx, tmp_path: Path) -> None:
    old, new, expected = FAULTS[name]
    source = (KERNELS / 'lif.cuh').read_text()
    assert old in source
    (tmp_path / 'lif.cuh').write_text(source.replace(old, new) if old else source)
    (tmp_path / 'lif_api.cu').write_text((KERNELS / 'lif_api.cu').read_text())
    module = Module(compile_ptx(tmp_path / 'lif_api.cu', 90))
    found = [s for n, d in ((1000, torch.float32), (4104, torch.bfloat16)) for s in symptoms(module, Case(d, 4, n))]
    if name == 'original':
        assert found == []
    else:
        assert any(expected == s or (len(expected) > 2 and expected in s) for s in found), found
