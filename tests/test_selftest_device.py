"""The checks that need a CUDA device, on a stand-in: graphs, streams and devices that are the CPU's."""

import os
import subprocess
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from snnkern.backends import native
from snnkern.selftest import DeviceCase, ahead, suite
from snnkern.selftest import device as checks
from snnkern.selftest.compare import compare

CPU = torch.device('cpu')


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda runs everything at once on the CPU. Yields what was asked of it, and how its graphs replay."""
    asked = SimpleNamespace(current=[], slept=0, replays=True, allocated=[1000] * 100)

    def captured(call, x):
        out = call(x)
        return out, lambda: out.copy_(call(x)) if asked.replays else None

    @contextmanager
    def current(device):
        asked.current.append(device)
        yield

    def sleep(cycles):
        asked.slept += 1

    stream = SimpleNamespace(wait_stream=lambda other: None)
    stand_ins = {
        'Stream': lambda device: stream,
        'current_stream': lambda device: stream,
        'stream': lambda stream: nullcontext(),
        'synchronize': lambda device: None,
        '_sleep': sleep,
        'device': current,
        'device_count': lambda: 2,
        'is_available': lambda: False,  # which asks the number of devices once lightning is imported
        'memory_allocated': lambda device: asked.allocated.pop(),
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(checks, 'captured', captured)
    monkeypatch.setattr(checks, 'cuda', lambda index: CPU)
    traced = torch.compile
    monkeypatch.setattr(torch, 'compile', lambda call, **options: traced(call, backend='aot_eager', **options))
    return asked


def run(name):
    """The check on the stand-in, against the reference."""
    compare(checks.CHECKS[name]('native', CPU, False), checks.CHECKS[name]('reference', CPU, True))


@pytest.mark.parametrize('name', checks.CHECKS)
def test_right(cuda, name):
    run(name)
    assert cuda.slept == (4 if name == 'streams' else 0)
    assert len(cuda.current) == (2 if name == 'devices' else 0)


@pytest.mark.parametrize('name', [name for name in checks.CHECKS if name.startswith('CUDA graph')])
def test_a_graph_that_does_not_follow_its_input(cuda, name):
    cuda.replays = False
    with pytest.raises(AssertionError, match=r'^(replay|step) '):
        run(name)


def test_memory_that_grows(cuda):
    cuda.allocated = list(range(100))
    with pytest.raises(AssertionError, match=r'^bytes more: '):
        run('memory')


def test_results_that_vary(cuda, monkeypatch):
    plain = native.multistep_bwd

    def varying(*arguments):
        grad, *others = plain(*arguments)
        return grad * (1 + 1e-3 * torch.rand(1)), *others

    monkeypatch.setattr(native, 'multistep_bwd', varying)
    with pytest.raises(AssertionError, match=r'^values that differ: '):
        run('same twice')


@pytest.mark.parametrize('name', ['streams', 'devices', 'torch.compile'])
def test_wrong_gradients(cuda, monkeypatch, name):
    plain = native.multistep_bwd
    monkeypatch.setattr(native, 'multistep_bwd', lambda *given: (plain(*given)[0] * 1.001, None, None))
    with pytest.raises(AssertionError, match='gradient of x: '):
        run(name)


def test_capture_warms_up_aside(monkeypatch):
    """Twice on a stream of its own, then once inside the graph; the graph's replay comes out."""
    order = []

    @contextmanager
    def within(what):
        order.append(what)
        yield
        order.append('end')

    stream = SimpleNamespace(wait_stream=lambda other: order.append('wait'))
    graph = SimpleNamespace(replay=lambda: order.append('replay'))
    monkeypatch.setattr(torch.cuda, 'Stream', lambda device: stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: stream)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: within('aside'))
    monkeypatch.setattr(torch.cuda, 'CUDAGraph', lambda: graph)
    monkeypatch.setattr(torch.cuda, 'graph', lambda graph: within('graph'))
    out, replay = checks.captured(lambda x: order.append('call') or x + 1, torch.ones(2))
    assert order == ['wait', 'aside', 'call', 'call', 'end', 'wait', 'graph', 'call', 'end']
    replay()
    assert order[-1] == 'replay'
    assert out.tolist() == [2, 2]


def test_refusals(monkeypatch):
    gpu = torch.device('cuda')
    for name in checks.CHECKS:
        assert DeviceCase(name).refusal(CPU) == 'needs a CUDA device'
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert DeviceCase('devices').refusal(gpu) == 'needs two CUDA devices'
    assert DeviceCase('streams').refusal(gpu) is None
    monkeypatch.setattr(checks, 'find_spec', lambda name: None)
    monkeypatch.setenv('PYTORCH_NO_CUDA_MEMORY_CACHING', '1')
    assert 'caching allocator' in DeviceCase('CUDA graph: multistep').refusal(gpu)
    assert DeviceCase('streams').refusal(gpu) is None
    assert DeviceCase('torch.compile').refusal(gpu).startswith('needs triton')


def test_kernels_are_compiled_in_all_processes(monkeypatch):
    """Each case in one of them, a failing one does not end its process, and CUDA with Triton asks for them."""
    ran = []

    def results(case, backend, device):
        ran.append(repr(case))
        raise RuntimeError(backend)

    for kind in {type(case) for case in suite.cases(True, True)}:
        monkeypatch.setattr(kind, 'results', results)
    for number in range(3):
        ahead.compile_part(number, 3, 1, 'cpu')
    there = [case for case in suite.cases(True, True) if case.refusal(CPU) is None]
    assert sorted(ran) == sorted(map(repr, there))


def test_processes_that_compile(monkeypatch):
    monkeypatch.setattr(ahead, 'CHILD', 'import sys; sys.exit(sys.argv[1:] != ["0", "2", "0", "cpu"])')
    monkeypatch.setattr(os, 'cpu_count', lambda: 2)
    ended, start = [], subprocess.Popen

    def popen(*args, **options):
        ended.append(start(*args, **options))
        return ended[-1]

    monkeypatch.setattr(subprocess, 'Popen', popen)
    ahead.compile_all(CPU, False, lambda what, share: None)
    assert [child.returncode for child in ended] == [0, 1]
