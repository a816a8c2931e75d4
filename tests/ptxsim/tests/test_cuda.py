"""nvcc's PTX of the sample kernels: values, races, traffic, large offsets, contraction."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ptxsim import GPU, Module, PtxError

from .conftest import KERNELS
from .lif import DTYPES, Case, packed_reference, run_cuda, unpack

ARCHES = [75, 90]


@pytest.fixture(params=ARCHES)
def module(request: pytest.FixtureRequest, compile_ptx) -> Module:
    """The sample kernels for one target."""
    return Module(compile_ptx('lif_api.cu', request.param))


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize(('steps', 'neurons'), [(4, 4096), (7, 8384), (1, 8)])
def test_forward_and_backward(module: Module, dtype: torch.dtype, steps: int, neurons: int) -> None:
    wrong, forward, backward = run_cuda(module, Case(dtype, steps, neurons))
    assert wrong == []
    assert forward.races + backward.races == []
    elements = steps * neurons * dtype.itemsize
    for run, copies in ((forward, 3 + 2 / steps), (backward, 5)):
        traffic = run.traffic()
        assert (traffic.load + traffic.store) / elements == pytest.approx(copies)
        assert traffic.min_width == 16
        assert traffic.sector_ratio < 1.01


@pytest.mark.parametrize('seed', [1, 2])
def test_random_warp_order(compile_ptx, seed: int) -> None:
    wrong, *_ = run_cuda(Module(compile_ptx('lif_api.cu', 90)), Case(torch.float32, 4, 4096), seed=seed)
    assert wrong == []


@pytest.mark.parametrize('n', [1, 31, 32, 33, 1000])
def test_ballot_packing(module: Module, n: int) -> None:
    x = np.random.default_rng(1).normal(0.7, 1, (5, n)).astype(np.float32)
    gpu = GPU()
    source, target = gpu.put(x, 'x'), gpu.alloc(5 * ((n + 31) // 32) * 4, 'out')
    run = gpu.launch(module, 'lif_pack', -(-n // 128), 128, [source, target, 0.5, 1.0, 5, n])
    assert np.array_equal(unpack(gpu.get(target, np.uint8, (5, -1)), n), packed_reference(x))
    assert run.races == []


def test_misaligned_vector_base(compile_ptx) -> None:
    gpu, steps, n = GPU(), 2, 512
    x, v = gpu.put(np.zeros(steps * n, np.float32), 'x', misalign=4), gpu.put(np.zeros(n, np.float32), 'v')
    s, h = gpu.alloc(steps * n * 4, 's'), gpu.alloc(steps * n * 4, 'h')
    with pytest.raises(PtxError, match='misaligned 16-byte access'):
        gpu.launch(Module(compile_ptx('lif_api.cu', 90)), 'lif_fwdIf', 1, 128, [x, v, s, h, 0.5, 1.0, steps, n])


@pytest.mark.parametrize('block', [0, 3 * 2**21 - 1, 2**22 - 1, 2**22])
def test_offsets_past_32_bits(compile_ptx, block: int) -> None:
    """Arrays of 36 GB exist only as the windows that the one block that runs may touch."""
    module, steps, n = Module(compile_ptx('lif_api.cu', 90)), 3, 3 * 2**30
    gpu, first, base = GPU(), block * 512, 0x7F10_0000_0000
    x = np.random.default_rng(block).normal(0.7, 1, (steps, 512)).astype(np.float32)
    bases = [base + (k << 40) for k in range(4)]
    windows = {}
    for name, start, rows in zip('xvsh', bases, (steps, 1, steps, steps), strict=True):
        for t in range(rows):
            windows[name, t] = gpu.window(start + (t * n + first) * 4, 2048, f'{name}[{t}]', name == 'v')
    for t in range(steps):
        windows['x', t].fill(x[t])
    gpu.launch(module, 'lif_fwdIf', n // 512, 128, [*bases, 0.5, 1.0, steps, n], blocks=[block])
    spikes = np.array([windows['s', t].read(np.float32) for t in range(steps)])
    assert np.array_equal(spikes, packed_reference(x))


def test_contraction_matches_the_host_bit_for_bit(compile_ptx, tmp_path: Path) -> None:
    compiler = shutil.which('gcc') or shutil.which('cc')
    if not compiler:
        pytest.skip('no C compiler')
    library = tmp_path / 'host.so'
    flags = ['-O2', '-ffp-contract=off', '-fPIC', '-shared', '-o', str(library)]
    subprocess.run([compiler, *flags, str(KERNELS / 'lif_host.c'), '-lm'], check=True)
    host = ctypes.CDLL(str(library))
    steps, n, decay = 8, 1 << 14, 0.3
    x = Case(torch.float32, steps, n).x.numpy()
    results = {}
    for name, options in (('fused', []), ('plain', ['-fmad=false'])):
        gpu = GPU()
        s, h = gpu.alloc(x.nbytes), gpu.alloc(x.nbytes)
        arguments = [gpu.put(x), gpu.put(np.zeros(n, np.float32)), s, h, decay, 1.0, steps, n]
        module = Module(compile_ptx('lif_api.cu', 90, *options))
        gpu.launch(module, 'lif_fwdIf', n // 512, 128, arguments, race=False)
        expected = np.zeros((2, steps, n), np.float32)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, expected[0], expected[1])]
        numbers = [ctypes.c_float(decay), ctypes.c_float(1.0), steps, ctypes.c_long(n)]
        getattr(host, f'forward_{name}')(*pointers, *numbers)
        results[name] = gpu.get(h, np.float32, x.shape)
        assert np.array_equal(results[name], expected[0])
        assert np.array_equal(gpu.get(s, np.float32, x.shape), expected[1])
    assert 0.2 < (results['fused'] != results['plain']).mean() < 0.5
