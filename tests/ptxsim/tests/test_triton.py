"""Triton kernels on CPU tensors, compiled for several targets and interpreted."""

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest
import torch

from ptxsim import PtxError, install_triton

from .conftest import HERE
from .lif import ALPHA, DTYPES, THRESHOLD, Case, numbers

triton = pytest.importorskip('triton')

BLOCK = 512


def run_triton(driver, kernels, case: Case) -> list[str]:
    """Run forward and backward; the names of wrong results."""
    steps, n, dtype = case.steps, case.neurons, case.dtype
    v, gd = case.v0.clone(), torch.zeros(1)
    s, h, gx = (driver.empty(steps, n, dtype=dtype) for _ in range(3))
    grid = (triton.cdiv(n, BLOCK),)
    sizes = {'STEPS': steps, 'BLOCK': BLOCK}
    kernels.lif_fwd[grid](case.x, v, s, h, n, case.decay, THRESHOLD, **sizes)
    kernels.lif_bwd[grid](case.gs, h, case.x, case.v0, gx, gd, n, case.decay, THRESHOLD, ALPHA, **sizes)
    return case.wrong(numbers(s), numbers(h), numbers(v), numbers(gx), gd.item())


ARCHES = (75, 80, 90, 100, 120)
TURNS = [(arch, DTYPES[i % len(DTYPES)]) for i, arch in enumerate(ARCHES)]
OTHERS = [pytest.param(*p, marks=pytest.mark.slow) for p in itertools.product(ARCHES, DTYPES) if p not in TURNS]


@pytest.mark.parametrize(('arch', 'dtype'), [*TURNS, *OTHERS], ids=str)
def test_values_races_and_traffic(arch: int, dtype: torch.dtype) -> None:
    from . import triton_lif

    with install_triton(arch) as driver:
        for steps, n in ((4, 4096), (4, 1040), (3, 1001), (1, 8)):
            assert run_triton(driver, triton_lif, Case(dtype, steps, n)) == [], (steps, n)
            forward, backward = (run for _, run in driver.runs[-2:])
            if n % 16 == 0:
                traffic = forward.traffic()
                assert traffic.min_width == 4 * dtype.itemsize
                assert traffic.sector_ratio == 1.0
                assert backward.traffic().sector_ratio < 1.01
            elif n == 1001:
                assert forward.traffic().min_width < 4 * dtype.itemsize
        assert driver.races == []


def variant(folder: Path, name: str, old: str, new: str) -> object:
    """The sample module with one piece of text replaced."""
    source = (HERE / 'triton_lif.py').read_text()
    assert old in source
    path = folder / f'{name}.py'
    path.write_text(source.replace(old, new))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SPIKE_STORE = 'tl.store(s + t * n + i, tl.where(f, 1.0, 0.0).to(s.dtype.element_ty), mask=k)'
ATOMIC = 'tl.atomic_add(gd, tl.sum(acc, 0))'
FAULTS = {
    'unmasked_store': (SPIKE_STORE, SPIKE_STORE.replace(', mask=k', ''), 'out-of-bounds write'),
    'wrong_stride': ('x + t * n + i', 'x + t * n + i * 2', 'out-of-bounds read'),
    'store_for_atomic': (ATOMIC, 'tl.store(gd, tl.load(gd) + tl.sum(acc, 0))', 'race'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_seeded_faults_are_caught(name: str, tmp_path: Path) -> None:
    old, new, symptom = FAULTS[name]
    kernels = variant(tmp_path, f'triton_{name}', old, new)
    with install_triton(90) as driver:
        if symptom == 'race':
            run_triton(driver, kernels, Case(torch.float32, 3, 1001))
            assert driver.races
        else:
            with pytest.raises(PtxError, match=symptom):
                run_triton(driver, kernels, Case(torch.float32, 3, 1001))


def test_unwritten_memory_is_noticed() -> None:
    from . import triton_lif

    case = Case(torch.float32, 2, 512)
    with install_triton(90) as driver:
        v, s, h = driver.empty(512), torch.empty(2, 512), torch.empty(2, 512)
        with pytest.raises(PtxError, match='never written in v'):
            triton_lif.lif_fwd[(1,)](case.x, v, s, h, 512, 0.5, 1.0, STEPS=2, BLOCK=BLOCK)


def test_streams_and_the_order_of_warps() -> None:
    from . import triton_lif

    case, steps = Case(torch.float32, 3, 1040), []
    with install_triton(90) as driver:
        for seed in (None, 1, 2, 1):
            driver.seed, driver.stream = seed, len(steps)
            assert run_triton(driver, triton_lif, case) == []
            assert [run.stream for _, run in driver.runs[-2:]] == [len(steps)] * 2
            steps.append(driver.runs[-1][1].steps)
    assert steps[0] < min(steps[1:])
    assert steps[1] == steps[3] != steps[2]
