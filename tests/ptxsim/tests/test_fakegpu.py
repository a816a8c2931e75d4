"""Compiled libraries and extension modules, their own host code running against the interpreter."""

import ctypes
import importlib.util
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from ptxsim import FakeGPU, PtxError, ToolError
from ptxsim.toolchain import fake_cudart, patchelf, run_program

from .conftest import KERNELS, compile_with_nvcc
from .lif import ALPHA, DTYPES, THRESHOLD, Case, numbers, pack, packed_reference, unpack

REAL = ctypes.c_float


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize(('steps', 'neurons'), [(4, 1000), (3, 4104)])
def test_library(gpu: FakeGPU, dtype: torch.dtype, steps: int, neurons: int) -> None:
    case, kind, n = Case(dtype, steps, neurons), DTYPES.index(dtype), ctypes.c_longlong(neurons)
    v, gd = case.v0.clone(), torch.zeros(1)
    s, h, gx = (torch.empty(steps, neurons, dtype=dtype) for _ in range(3))
    assert gpu.lib.k_device_count() == 1

    def pointers(*tensors: torch.Tensor) -> list[ctypes.c_void_p]:
        return [ctypes.c_void_p(t.data_ptr()) for t in tensors]

    with gpu.track(case.x, v, case.v0, case.gs, gd, unwritten=(s, h, gx)):
        scalars = [REAL(case.decay), REAL(THRESHOLD)]
        assert gpu.lib.k_fwd(kind, *pointers(case.x, v, s, h), *scalars, steps, n, None) == 0
        inputs = pointers(case.gs, h, case.x, case.v0, gx, gd)
        assert gpu.lib.k_bwd(kind, *inputs, *scalars, REAL(ALPHA), steps, n, None) == 0
    assert case.wrong(numbers(s), numbers(h), numbers(v), numbers(gx), gd.item()) == []
    assert len(gpu.runs) == 2
    assert gpu.races == []


def test_failures_become_cuda_errors_and_exceptions(gpu: FakeGPU) -> None:
    x, small = torch.zeros(4, 64), torch.zeros(4, 1, dtype=torch.int32)
    gpu.register(x)
    gpu.register(small)
    assert pack(gpu, x, small, 64) == 719
    assert 'out-of-bounds write' in str(gpu.error)
    with pytest.raises(PtxError, match='out-of-bounds write'), gpu.track(x, small):
        pack(gpu, x, small, 64)
    gpu.forget()
    assert pack(gpu, x, small, 32) == 719
    assert 'out-of-bounds' in str(gpu.error)


def test_numpy_arrays_and_unwritten_inputs(gpu: FakeGPU) -> None:
    x = np.random.default_rng(0).normal(0.7, 1, (4, 33)).astype(np.float32)
    out = np.zeros((4, 2), np.uint32)
    with gpu.track(x, out):
        assert pack(gpu, x, out, 33) == 0
    assert np.array_equal(unpack(out, 33), packed_reference(x))
    with pytest.raises(PtxError, match='never written'), gpu.track(out, unwritten=(x,)):
        pack(gpu, x, out, 33)


def test_automatic_mode_finds_tensors(gpu: FakeGPU) -> None:
    x, out = torch.randn(4, 64), torch.zeros(4, 2, dtype=torch.int32)
    assert pack(gpu, x, out, 64) == 719
    with gpu.track(automatic=True):
        assert pack(gpu, x, out, 64) == 0
    assert np.array_equal(unpack(out.numpy(), 64), packed_reference(x.numpy()))
    assert gpu.memory.blocks == {}


def test_own_device_memory_and_variables(gpu: FakeGPU) -> None:
    assert [gpu.lib.k_count() for _ in range(3)] == [1, 2, 3], gpu.error


def test_dynamic_shared_memory_limit(sample_library: Path) -> None:
    gpu = FakeGPU(sample_library)
    out = torch.zeros(64)
    with gpu.track(out):
        pointer = ctypes.c_void_p(out.data_ptr())
        assert gpu.lib.k_large_shared(pointer, 60000, 0) == 1
        assert gpu.lib.k_large_shared(pointer, 60000, 1) == 0
    assert out.tolist() == [1.0] * 64


def test_choice_of_target(sample_library: Path) -> None:
    assert {m.target for m in FakeGPU(sample_library).kernels.values()} == {90}
    assert {m.target for m in FakeGPU(sample_library, arch=89).kernels.values()} == {75}
    with pytest.raises(PtxError, match='no embedded PTX for sm_70'):
        FakeGPU(sample_library, arch=70)


@pytest.mark.parametrize('major', [12, 13])
def test_stand_in_runtime_versions(major: int) -> None:
    runtime = fake_cudart(major)
    assert run_program([patchelf(), '--print-soname', str(runtime)]).strip() == f'libcudart.so.{major}'


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, sample_library: Path, tmp_path: Path) -> None:
    monkeypatch.setenv('PTXSIM_CUDA_TOOLS', str(tmp_path))
    with pytest.raises(ToolError, match=r'cuobjdump not found in PTXSIM_CUDA_TOOLS'):
        FakeGPU(sample_library)


@pytest.fixture(scope='module')
def package(tmp_path_factory: pytest.TempPathFactory, sample_object: Path) -> Path:
    """A package `samplelib` with a pybind11 extension `_cuda` and a Python function that calls it."""
    pybind11 = pytest.importorskip('pybind11')
    root = tmp_path_factory.mktemp('package')
    folder = root / 'samplelib'
    folder.mkdir()
    includes = [f'-I{path}' for path in (pybind11.get_include(), sysconfig.get_path('include'))]
    host = root / 'extension.o'
    flags = ['-O0', '-Xcompiler', '-fPIC', *includes]
    compile_with_nvcc([*flags, '-c', str(KERNELS / 'extension.cpp'), '-o', str(host)])
    extension = folder / f'_cuda{sysconfig.get_config_var("EXT_SUFFIX")}'
    compile_with_nvcc(['-shared', '-cudart', 'shared', str(host), str(sample_object), '-o', str(extension)])
    (folder / '__init__.py').write_text(
        'import torch\n'
        'from . import _cuda\n\n'
        'def pack(x):\n'
        '    steps, n = x.shape\n'
        '    out = torch.empty(steps, (n + 31) // 32, dtype=torch.int32)\n'
        '    _cuda.pack(x.data_ptr(), out.data_ptr(), 0.5, 1.0, steps, n, 0)\n'
        '    return out\n'
    )
    return root


def test_extension_module(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    try:
        import samplelib
    except ImportError as error:
        pytest.skip(f'the extension does not load: {error}')
    real = samplelib._cuda
    assert real.device_count() < 1 or torch.cuda.is_available()
    x = torch.randn(5, 70)
    with FakeGPU.extension('samplelib._cuda') as gpu:
        assert samplelib._cuda is gpu.module is sys.modules['samplelib._cuda'] is not real
        assert samplelib._cuda.device_count() == 1
        with gpu.track(x, automatic=True):
            packed = samplelib.pack(x)
        assert np.array_equal(unpack(packed.numpy(), 70), packed_reference(x.numpy()))
        assert len(gpu.runs) == 1
        assert gpu.races == []
        out = torch.zeros(5, 2, dtype=torch.int32)
        with pytest.raises(PtxError, match='out-of-bounds write'), gpu.track(x, out):
            samplelib._cuda.pack(x.data_ptr(), out.data_ptr(), 0.5, 1.0, 5, 70, 0)
    assert samplelib._cuda is real is sys.modules['samplelib._cuda']


def test_extension_that_was_never_imported(package: Path) -> None:
    path = next((package / 'samplelib').glob('_cuda*.so'))
    with FakeGPU.extension('lonely_cuda._cuda', path) as gpu:
        x, out = torch.randn(5, 32), torch.zeros(5, 1, dtype=torch.int32)
        with gpu.track(x, out):
            gpu.module.pack(x.data_ptr(), out.data_ptr(), 0.5, 1.0, 5, 32, 0)
        assert np.array_equal(unpack(out.numpy(), 32), packed_reference(x.numpy()))
    assert 'lonely_cuda._cuda' not in sys.modules
    assert importlib.util.find_spec('lonely_cuda') is None
