"""benchmarks.gpu runs on a CPU, its arithmetic is right, what needs CUDA is called rightly; no speed is tested."""

import importlib
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[1]
CPU = torch.device('cpu')


@pytest.fixture
def gpu(monkeypatch):
    """The module benchmarks.gpu, whose inputs are tiny."""
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module('benchmarks.gpu')
    monkeypatch.setattr(module, 'neurons', lambda *given: 256)
    monkeypatch.setattr(module, 'SMALL', 64)
    return module


@pytest.fixture
def timing(gpu):
    return importlib.import_module('benchmarks.gpu_timing')


def test_on_a_cpu(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, 'DTYPES', (torch.float32, torch.bfloat16))
    out = tmp_path / 'gpu.json'
    assert gpu.main(['--device', 'cpu', '--quick', '--rounds', '1', '--json', str(out)]) == 0
    document = json.loads(out.read_text())
    assert document['failed'] == {}
    assert {r['direction'] for r in document['rows']} == {'inference', 'training', 'backward'}
    ours = [r for r in document['rows'] if r['provider'] == 'snnkern native']
    assert len(ours) == 2 * 2 * 3
    assert all(r['gb_per_s'] > 0 and r['copy_share'] > 0 and r['host_us'] > 0 for r in document['rows'])
    for r in ours:
        assert r['gb_per_s'] == pytest.approx(r['bytes'] / r['seconds']['median'] * 1e-9)
    assert {document['left out'][name] for name in ('graphs', 'streams', 'devices')} == {'needs a CUDA device'}
    assert 'left out: graphs: needs a CUDA device' in capsys.readouterr().out


@pytest.mark.parametrize(('T', 'kept'), [(1, 0), (16, 0), (17, 4), (32, 4)])
def test_bytes(timing, T, kept):
    """README's table, without states."""
    of = {name: timing.Case(name, T, 10, torch.float32).traffic / 10 for name in timing.DIRECTIONS}
    assert of == {'inference': 8 * T, 'training': 8 * T + kept, 'backward': 12 * T + kept}
    half = timing.Case('backward', T, 10, torch.float16).traffic / 10
    assert half == 6 * T + 4 * (-(-T // 8) - 1)


def test_inputs_are_beyond_the_cache(timing, monkeypatch):
    about = SimpleNamespace(L2_cache_size=50 << 20)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: about)
    for dtype in (torch.float32, torch.float16):
        N = timing.neurons(16, dtype, torch.device('cuda'), False)
        assert 399 << 20 < 16 * N * dtype.itemsize <= 400 << 20
        assert N % 1024 == 0


def test_wrong_is_not_timed(gpu, monkeypatch):
    native = gpu.ours('native')
    monkeypatch.setattr(gpu, 'ours', lambda name: (lambda x: 1 - native(x)) if name == 'native' else native)
    arguments = gpu.parse(['--device', 'cpu', '--quick', '--rounds', '1'])
    monkeypatch.setattr(gpu, 'DTYPES', (torch.float32,))
    document = gpu.measure(arguments)
    assert {name.partition(',')[0] for name in document['failed']} == {'snnkern native'}
    assert 'snnkern native' not in {r['provider'] for r in document['rows']}
    monkeypatch.setattr(gpu, 'measure', lambda arguments: document)
    assert gpu.main(['--device', 'cpu']) == 1


def test_a_rival_in_half_precision_may_flip_few_neurons(gpu, timing):
    case = timing.Case('inference', 4, 1000, torch.float16)
    rival = gpu.Provider('rival', lambda: None)
    for share, allowed in ((0.01, True), (0.05, False)):

        def run(x, share=share):
            s = gpu.ours('native')(x)
            s[0, : int(1000 * share)] = 1 - s[0, : int(1000 * share)]
            return s

        assert (gpu.wrong(rival, case, run, *case.inputs(CPU)) is None) == allowed


def test_no_such_device(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert gpu.main([]) == 2
    assert 'sees no CUDA device' in capsys.readouterr().err


@pytest.fixture
def order(monkeypatch):
    """What was asked of torch.cuda, in order."""
    asked = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            asked.append('record')

        def synchronize(self):
            asked.append('synchronize')

        def elapsed_time(self, end):
            return 6.0

    class Stream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            asked.append('wait')

    def within(stream):
        asked.append('stream')
        return nullcontext()

    current = Stream()
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, '_sleep', lambda cycles: asked.append('sleep'))
    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: current)
    monkeypatch.setattr(torch.cuda, 'stream', within)
    return asked


def test_sample_of_a_gpu(timing, order):
    """The host is ahead: the GPU waits first, and events stand around the calls alone."""
    seconds, host = timing.gpu_sample(lambda: order.append('call'), 3)
    assert order == ['sleep', 'record', 'call', 'call', 'call', 'record', 'synchronize']
    assert seconds == pytest.approx(2e-3)
    assert 0 < host < 1
    assert timing.clock(torch.device('cuda')) is timing.gpu_sample


def test_streams_begin_and_end_with_the_current_one(timing, order):
    timing.at_once([lambda: order.append('a'), lambda: order.append('b')], CPU)()
    assert order == ['wait', 'stream', 'a', 'wait', 'stream', 'b', 'wait', 'wait']


def test_small_calls(gpu, timing, order, monkeypatch):
    """As graphs, where a replay is a call, and on streams."""
    captured = importlib.import_module('snnkern.selftest.device')
    monkeypatch.setattr(captured, 'captured', lambda call, x: (call(x), lambda: call(x)))
    rows = gpu.launches(CPU, 1)
    assert [(r['what'], r['how']) for r in rows] == [
        (what, how) for what in ('inference', 'forward and backward') for how in ('eager', 'graph')
    ]
    assert [r['streams'] for r in gpu.streams(CPU, 1)] == [1, 2, 4] * 2
    monkeypatch.setattr(torch.cuda, 'device', lambda index: nullcontext())
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert {r['device'] for r in gpu.devices(CPU, 1)} == {'cpu:0', 'cpu:1'}
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(RuntimeError, match='two CUDA devices'):
        gpu.devices(CPU, 1)
    document = {'rows': [], 'graphs': rows}
    assert [title for title, *_ in gpu.tables(document)][1:] == ['graphs']
