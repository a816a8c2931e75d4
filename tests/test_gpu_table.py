"""benchmarks/gpu_static.json: the facts of all GPU kernels, none of which may get worse unseen."""

import json
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import gpu_cases, gpu_facts, gpu_limits, gpu_sass, gpu_static, gpu_tables

TABLE = json.loads(gpu_static.FILE.read_text())
ROOT = Path(__file__).parents[1]
BUILT = find_spec('snnkern._cuda') is not None
needs_cuda = pytest.mark.skipif(not BUILT, reason='snnkern._cuda is not built (no nvcc)')
needs_triton = pytest.mark.skipif(find_spec('triton') is None, reason='triton is not installed')
EXHAUSTIVE = (pytest.mark.slow, pytest.mark.exhaustive)


def same_compiler(name):
    """Whether machine code may be compared with the table's. In CI it must be possible."""
    found, wanted = gpu_facts.versions()[name], TABLE['versions'][name]
    if found != wanted and os.environ.get('CI'):
        pytest.fail(f'the table is of {name} {wanted}, here is {found}: {gpu_static.REFRESH}')
    return found == wanted


def verify(old, new, only=None):
    """Nothing is worse; what is better is printed."""
    worse, better = gpu_static.compare(old, new, only)
    assert new.keys() <= old.keys(), f'not in the table, refresh it: {gpu_static.REFRESH}'
    if better:
        print('\n'.join([*better, f'better than the table; refresh it: {gpu_static.REFRESH}']))
    assert worse == []


def test_occupancy():
    """Examples of NVIDIA's CUDA C++ Best Practices Guide (10.1: 64K registers, 2048 threads) and of its Programming
    Guide (hardware multithreading: 512 threads of 64 registers, and of one more)."""
    assert gpu_limits.resident('sm_80', 37, 128) == 0.75 * 2048
    assert gpu_limits.resident('sm_80', 37, 320) == 0.625 * 2048
    assert gpu_limits.resident('sm_80', 32, 256) == 2048
    assert gpu_limits.resident('sm_80', 64, 512) == 2 * 512
    assert gpu_limits.resident('sm_80', 65, 512) == 512
    assert gpu_limits.resident('sm_75', 32, 32) == 16 * 32  # blocks bind
    assert gpu_limits.resident('sm_90', 32, 128, 227 << 10) == 128  # shared memory binds


def test_bounds():
    """By hand: 8 bytes at 3.35 TB/s, 32 instructions on 132 multiprocessors of 4 schedulers at 1.755 GHz."""
    work = gpu_limits.Work(4, 4, 32, 0, 1024, 16)
    found = gpu_limits.bounds(work, 'h100')
    assert found['bandwidth'] == pytest.approx(8e9 / 3.35e12)
    assert found['issue'] == pytest.approx(1e9 / (132 * 4 * 1.755e9))
    assert found['latency'] == pytest.approx(4e9 * 700e-9 / (132 * 1024 * 16))
    assert gpu_limits.binding(work, 'h100') == ('bandwidth', found['bandwidth'])


def test_worse_and_better():
    old = {'a': {'registers': 40, 'threads': 1024, 'sass': 10.0, 'bytes': 8.5, 'loads': '32 128', 'narrowest': 16}}
    assert gpu_static.compare(old, {'a': {**old['a'], 'sass': 10.1}}) == ([], [])
    for key, value in {
        'registers': 41,
        'threads': 896,
        'sass': 10.3,
        'bytes': 8.4,
        'loads': '16 128',
        'spills': 1,
    }.items():
        worse, better = gpu_static.compare(old, {'a': {**old['a'], key: value}})
        assert (len(worse), better) == (1, [])
        assert worse[0].startswith(f'a: {key} {old["a"].get(key, 0)} -> {value}')
    for key, value in {'registers': 39, 'threads': 1152, 'sass': 9.9, 'loads': '128'}.items():
        worse, better = gpu_static.compare(old, {'a': {**old['a'], key: value}})
        assert (worse, len(better)) == ([], 1)
    table = {'kernels': gpu_static.grouped([('a', arch, {'registers': 1}) for arch in gpu_facts.ARCHITECTURES])}
    table |= {'launches': old, gpu_facts.VARIANTS: {'LIF': {'forward': 2}}}
    new = {'kernels': {}, 'launches': {'b': {}, **old}, gpu_facts.VARIANTS: {'LIF': {'forward': 3}}}
    worse, better = gpu_static.differences(table, new)
    assert (worse, better) == (['LIF: forward 2 -> 3', 'a is gone'], ['b is new'])


def test_nothing_in_local_memory():
    """No kernel spills or has a stack, on any architecture."""
    assert len(TABLE['kernels']) > 150
    assert [name for name, row in TABLE['kernels'].items() if row.keys() & {'stack', 'local', 'spills'}] == []


# Poisson reads x for each four steps; Triton's lateral pool is two kernels, of which each reads x; and Triton kernels
# read their last block whole, which counts with 4097 neurons.
MORE_THAN_LEAST = re.compile('poisson|triton lateral pool|triton .*N=4097')


def test_least_bytes():
    """No launch moves more than must move, within 5 %; those that do are named."""
    rows = {name: row['over_least'] for name, row in TABLE['launches'].items() if row['over_least']}
    assert len(rows) > 100
    for name, ratio in rows.items():
        assert ratio >= 1, name
        assert ratio <= (2 if MORE_THAN_LEAST.search(name) else 1.05), name


def test_aligned_accesses():
    """Neurons whose number is a multiple of a vector's are moved by 16 bytes at a time."""
    rows = {name: row for name, row in TABLE['launches'].items() if re.search(r'\b(LIF|IF)\b', name)}
    assert len(rows) > 80
    for name, row in rows.items():
        assert row['narrowest'] == 16 or 'N=4097' in name, name


def test_page():
    """docs/gpu.md shows what the two files hold."""
    text = (ROOT / 'docs' / 'gpu.md').read_text()
    assert gpu_tables.both(gpu_tables.load()) in text, gpu_static.REFRESH


@cache
def machine_code(arch):
    rows = {name: row for name, _, row in gpu_facts.native((arch,))}
    if not rows and not os.environ.get('CI'):  # SNNKERN_CUDA_ARCHS, or an older nvcc
        pytest.skip(f'snnkern._cuda holds no code for {arch}')
    return rows


MARKS = {gpu_facts.MAIN: (), 'sm_75': (pytest.mark.slow,)}  # a library takes half a minute to be disassembled
SOME = [pytest.param(arch, marks=MARKS.get(arch, EXHAUSTIVE)) for arch in gpu_facts.ARCHITECTURES]


@needs_cuda
@pytest.mark.parametrize('arch', SOME)
def test_machine_code_of_cuda(arch):
    """Registers, resident threads, size, widths and memory of each kernel of `_cuda`."""
    if not same_compiler('nvcc'):
        pytest.skip(f'the table is of nvcc {TABLE["versions"]["nvcc"]}')
    old = gpu_static.split(TABLE['kernels'], arch)
    found = machine_code(arch)
    assert {name for name in old if name.startswith('native')} == found.keys(), gpu_static.REFRESH
    verify(old, found)


@needs_triton
@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize('arch', gpu_facts.ARCHITECTURES)
def test_machine_code_of_triton(arch):
    if not same_compiler('triton'):
        pytest.skip(f'the table is of Triton {TABLE["versions"]["triton"]}')
    verify(gpu_static.split(TABLE['kernels'], arch), {name: row for name, _, row in gpu_facts.triton((arch,))})


def verify_launches(case, backend, taken, compiler):
    static = gpu_static.split(TABLE['kernels'], gpu_facts.MAIN)
    found = gpu_facts.launches(case, backend, taken, static)
    assert found
    verify(TABLE['launches'], found, None if same_compiler(compiler) else gpu_static.LASTING)


def marked(often, in_ci):
    """The cases: some always, some in CI, the rest only with all tests."""
    for case in gpu_cases.cases():
        seldom = pytest.mark.slow if re.search(in_ci, case.name) else EXHAUSTIVE
        yield pytest.param(case, id=case.name, marks=() if re.fullmatch(often, case.name) else seldom)


@needs_cuda
@pytest.mark.parametrize('case', [*marked('LIF float(32 T=4|16 T=16)', 'IF float16 T=16|LIF float32|bits float32')])
def test_launches_of_cuda(gpu, library, case):
    verify_launches(case, 'native', gpu_facts.of_gpu(gpu, library), 'nvcc')


@needs_triton
@pytest.mark.parametrize(
    'case', [*marked('LIF float32 T=16|moments float16', 'LIF float16 T=4|bits float32|poisson float32')]
)
def test_launches_of_triton(driver, case):
    verify_launches(case, 'triton', gpu_facts.of_driver(driver), 'triton')


@needs_cuda
def test_estimate_of_executed_instructions(gpu, library):
    """Of loads, which the emulator counts exactly, it is right; markers change the machine code little. The kernels of
    common neurons switch loads off by predicates, which the estimate counts as issued: one that runs the others."""
    (case,) = (case for case in gpu_cases.cases() if case.name == 'LIF float16 T=16 N=4097')
    for _, launches, _ in gpu_cases.measure(case, 'native', gpu_facts.of_gpu(gpu, library)):
        for run, ptx, _ in launches:
            accesses = run.memory.traffic.accesses.values()
            loads = sum(a.requests for a in accesses if (a.space, a.kind) == ('global', 'load'))
            assert gpu_sass.executed(ptx, run).loads == loads
            assert 0.9 < gpu_sass.distortion(ptx, run.kernel) < 1.15


LOOP = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 p, .param .u32 n) {
  .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .pred %p<2>; .reg .f32 %f<9>;
  ld.param.u64 %rd1, [p]; ld.param.u32 %r1, [n]; cvta.to.global.u64 %rd2, %rd1;
  mov.u32 %r2, %tid.x; mul.wide.u32 %rd3, %r2, 4; add.s64 %rd4, %rd2, %rd3;
  ld.global.f32 %f1, [%rd4];
  ld.global.f32 %f2, [%rd4+128];
  mov.u32 %r3, 0;
$L: // a comment; and another
  add.f32 %f1, %f1, %f2;
  ld.global.f32 %f2, [%rd4+256];
  add.u32 %r3, %r3, 1;
  setp.lt.u32 %p1, %r3, %r1;
  @%p1 bra $L;
  st.global.f32 [%rd4], %f1;
  ret;
}
"""


def test_executed_of_a_loop():
    """n turns are n times the loop; the load of the turn before counts as under way with the one that it waits for."""
    import numpy as np
    from ptxsim import GPU, Module

    found = {}
    for turns in (10, 20, 30):
        gpu = GPU()
        run = gpu.launch(Module(LOOP), 'k', 1, 32, [gpu.put(np.ones(96, np.float32), 'p'), turns])
        found[turns] = gpu_sass.executed(LOOP, run)
    assert [one.loads for one in found.values()] == [12, 22, 32]
    assert found[30].instructions - found[20].instructions == found[20].instructions - found[10].instructions
    assert 40 <= found[20].instructions - found[10].instructions <= 80
    assert (found[10].loads_in_flight, found[10].bytes_in_flight) == (2, 8)
