"""`snnkern selftest`: it passes on right kernels, names what is wrong with faulty ones, and runs on emulated GPUs."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import snnkern
from snnkern import backends, selftest
from snnkern.backends import native
from snnkern.cli import app
from snnkern.neurons import AXES
from snnkern.selftest import Recurrence, Settings, run, suite
from snnkern.selftest.device import CHECKS, DeviceCase

ROOT = Path(__file__).parents[1]
NAMES = {
    **{name: getattr(snnkern, name) for name in snnkern.__all__},
    **{n: getattr(selftest, n) for n in selftest.__all__},
}


def one_of_each(quick=True, compiles=False, most=40):
    """The first case of each op and dtype, of few elements."""
    found = {}
    for case in suite.cases(quick, compiles):
        N = case.case.N if isinstance(case, Recurrence) else getattr(case, 'n', 1)
        if 0 < N <= most:
            found.setdefault((case.op, case.dtype), case)
    return list(found.values())


@pytest.fixture
def few(monkeypatch):
    """The suite is `one_of_each`."""
    chosen = one_of_each()
    monkeypatch.setattr(suite, 'cases', lambda *options: chosen)
    return chosen


def command(*words):
    return CliRunner().invoke(app, ['selftest', '--device', 'cpu', *words])


def test_passes_and_says_so(few, tmp_path):
    done = command('--out', str(tmp_path / 'report.json'))
    assert done.exit_code == 0, done.output
    assert 'PASSED' in done.stdout
    assert 'not run: CUDA graph (native): needs a CUDA device' in done.stdout
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['failures'] == []
    assert report['machine']['torch'] == torch.__version__
    assert {row['op'] for row in report['table']} == {case.op for case in few if not isinstance(case, DeviceCase)}
    assert all(row['passed'] == row['cases'] > 0 for row in report['table'])


def flipped(forward):
    def wrong(*arguments):
        s, *others = forward(*arguments)
        if s.numel():
            s.view(-1)[-1] = 1 - s.view(-1)[-1]
        return s, *others

    return wrong


def scaled(at):
    """One of the results is a thousandth too large."""

    def fault(function):
        def wrong(*arguments):
            results = list(function(*arguments))
            if results[at] is not None:
                results[at] = results[at] * 1.01
            return tuple(results)

        return wrong

    return fault


def last_byte(function):
    def wrong(*arguments):
        data = function(*arguments)
        if data is not None and data.numel():
            data[-1] = 1 - data[-1]
        return data

    return wrong


def raising(function):
    def wrong(*arguments):
        raise RuntimeError('an illegal memory access was encountered')

    return wrong


FAULTS = [
    ('multistep_fwd', flipped, 'multistep', 'spikes: 1 of'),
    ('multistep_fwd', scaled(1), 'multistep', 'last state: '),
    ('multistep_fwd', scaled(4), 'coefficients', 'checkpoints: '),
    ('multistep_fwd', raising, 'layouts', 'RuntimeError: an illegal memory access'),
    ('multistep_bwd', scaled(0), 'multistep', 'gradient of x: '),
    ('multistep_bwd', scaled(1), 'layouts', 'gradient of the state: '),
    ('multistep_bwd', scaled(2), 'coefficients', 'gradients of coefficients: '),
    ('moments', scaled(1), 'moments', 'variance'),
    ('poisson', last_byte, 'poisson', 'spikes: '),
    ('pack_spikes', last_byte, 'pack_spikes', 'data: '),
    ('unpack_spikes', last_byte, 'pack_spikes', 'unpacked: '),
    ('pool2d_fwd', flipped, 'max_pool2d', 'outputs: '),
    ('pool2d_fwd', scaled(1), 'lateral_pool2d', 'last counts: '),
    ('pool2d_bwd', scaled(0), 'spike_max_pool2d', 'gradient of x: '),
]


@pytest.mark.parametrize(('function', 'fault', 'op', 'error'), FAULTS)
def test_a_planted_fault_is_named(few, monkeypatch, function, fault, op, error):
    planted = fault(getattr(native, function))
    if function == 'moments':
        planted = lambda *given, plain=native.moments: plain(*given) * torch.tensor([[1.0], [1.001]])  # noqa: E731
    monkeypatch.setattr(native, function, planted)
    done = command('--json')
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report['passed']
    found = [failure for failure in report['failures'] if failure['op'] == op and error in failure['error']]
    assert found, [(failure['op'], failure['error'][:80]) for failure in report['failures']]
    words: dict = {}
    with pytest.raises((AssertionError, RuntimeError)):  # the line of the report runs that case again
        exec(found[0]['reproduce'], words)
    monkeypatch.undo()
    exec(found[0]['reproduce'], words)


def test_table_shows_what_failed(few, monkeypatch):
    monkeypatch.setattr(native, 'multistep_fwd', flipped(native.multistep_fwd))
    done = command('--backend', 'native')
    assert done.exit_code == 1
    assert 'FAILED multistep (native, float32): spikes: 1 of ' in done.stdout
    assert 'from snnkern import *; from snnkern.selftest import *; check(Recurrence(' in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith('FAILED: ')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--device', 'gpu'], "device must be cpu, cuda or cuda:N, got 'gpu'"),
        (['--device', 'meta'], "device must be cpu, cuda or cuda:N, got 'meta'"),
        (
            ['--device', 'cpu', '--backend', 'reference'],
            "backend 'reference' on cpu is what the others are compared with",
        ),
        (['--device', 'cpu', '--backend', 'cuda'], "backend must be one of native, triton, reference, got 'cuda'"),
        (['--device', 'cpu', '--backend', 'triton'], "backend 'triton' cannot run on cpu: Triton kernels run on cuda"),
    ],
)
def test_bad_arguments(words, message):
    done = CliRunner().invoke(app, ['selftest', *words])
    assert done.exit_code == 2
    assert message in ' '.join(done.stderr.replace('│', ' ').split())


def test_no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    done = CliRunner().invoke(app, ['selftest', '--device', 'cuda:1'])
    assert done.exit_code == 2
    assert 'sees no CUDA device' in ' '.join(done.stderr.replace('│', ' ').split())


def test_a_binary_of_another_version(monkeypatch):
    def load():
        raise RuntimeError('snnkern._cpu must have API version (1, 1), got (0, 9): rebuild it')

    monkeypatch.setitem(native.DEVICES, 'cpu', native.Device(load, lambda x: (1,)))
    done = command()
    assert done.exit_code == 1
    assert done.stderr.startswith('error: snnkern._cpu must have API version (1, 1), got (0, 9): rebuild it')


def test_absent_index(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(ValueError, match='device cuda:1: there is 1 CUDA device'):
        Settings('cuda:1')


def test_cases_are_python():
    """What the report prints of a case makes it again."""
    for quick, compiles in ((False, False), (True, True)):
        for case in suite.cases(quick, compiles):
            assert repr(eval(repr(case), dict(NAMES))) == repr(case)


@pytest.mark.parametrize('compiles', [False, True])
def test_every_kind_is_there(compiles):
    chosen = suite.cases(False, compiles)
    neurons = [case.case.neuron for case in chosen if isinstance(case, Recurrence)]
    kinds = {type(part) for neuron in neurons for part in neuron.parts}
    assert kinds == {kind for kinds in AXES.values() for kind in kinds} - {snnkern.Custom}
    assert {case.needs for case in chosen} == {*backends.OPS} - {backends.CUSTOM}
    assert {case.name for case in chosen if isinstance(case, DeviceCase)} == set(CHECKS)
    for op in {case.op for case in chosen if not isinstance(case, DeviceCase)}:
        dtypes = {case.dtype for case in chosen if case.op == op}
        assert torch.float32 in dtypes
        assert dtypes == set(suite.DTYPES) or compiles, op


def test_a_broken_device_ends_the_run(few, monkeypatch):
    from snnkern.selftest import run as program

    module = sys.modules[program.__module__]
    monkeypatch.setattr(native, 'multistep_fwd', raising(native.multistep_fwd))
    monkeypatch.setattr(module, 'alive', lambda device: False)
    report = run(Settings('cpu'))
    assert len(report['failures']) == 1
    assert 'no longer answers' in report['failures'][0]['error']


@pytest.mark.slow
def test_command_line():
    """The whole quick run in a process of its own: one JSON document."""
    words = [sys.executable, '-m', 'snnkern', 'selftest', '--quick', '--json', '--device', 'cpu']
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)['passed']


@pytest.mark.skipif(find_spec('snnkern._cuda') is None, reason='snnkern._cuda is not built (no nvcc)')
class TestEmulated:
    """The same runner on emulated GPUs: what a first user with a GPU runs."""

    @pytest.mark.slow
    def test_cuda(self, gpu, monkeypatch):
        chosen = one_of_each()
        monkeypatch.setattr(suite, 'cases', lambda *options: chosen)
        report = run(Settings('cpu', ('native',)))
        assert report['failures'] == []
        assert len(gpu.runs) > len(chosen)

    def test_fault_of_a_cuda_kernel(self, gpu, monkeypatch):
        """A wrong grid: the last block never runs, and the poison that it should have overwritten is found."""
        case = Recurrence(selftest.Case(snnkern.Neuron(), T=2, N=33))
        monkeypatch.setattr(suite, 'cases', lambda *options: [case])
        plain = native.multistep_fwd
        monkeypatch.setattr(native, 'multistep_fwd', lambda x, *rest: flipped(plain)(x, *rest))
        assert [failure['op'] for failure in run(Settings('cpu', ('native',)))['failures']] == ['multistep']
        assert gpu.runs

    @pytest.mark.slow
    def test_triton(self, driver, monkeypatch):
        pytest.importorskip('triton')
        kinds = {'multistep', 'coefficients', 'layouts', 'moments', 'max_pool2d', 'poisson', 'pack_spikes'}
        chosen = [c for c in one_of_each(compiles=True) if c.op in kinds and c.dtype == torch.float32]
        monkeypatch.setattr(suite, 'cases', lambda *options: chosen)
        report = run(Settings('cpu', ('triton',)))
        assert report['failures'] == []
        assert driver.runs
