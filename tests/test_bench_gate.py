"""`snnkern bench` times only what is right and fits; how fast anything is, is not tested."""

import json
import subprocess
import time
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

import snnkern
from benchmarks import adapters, measure, networks, registry, run, training
from benchmarks.environment import pinned_environment
from benchmarks.registry import BOTH, COPY, NATIVE, OPS, Provider
from benchmarks.subjects import INFERENCE

LIF = OPS['lif']
CASE = LIF.case(4, 256, torch.float32, BOTH)
EAGER = [p for p in LIF.providers if not p.compiled]


def test_all_is_measured() -> None:
    result = measure.measure(CASE, EAGER, rounds=2)
    assert result.failed == {}
    assert {*result.timings, *result.skipped} == {*(p.name for p in EAGER), COPY}
    assert all(t.least <= t.low <= t.median <= t.high for t in result.timings.values())
    rows = {row['provider']: row for row in result.as_dict()['rows']}
    assert all(row['peak_bytes'] is None or row['peak_bytes'] < 2**30 for row in rows.values())
    assert rows[COPY]['copy_share'] == 1
    assert rows[NATIVE]['ours']
    assert CASE.traffic == 4 * 256 * 4 * 5
    assert CASE.footprint == 4 * 256 * 4 * 4


def test_wrong_is_not_timed() -> None:
    half = Provider('wrong', lambda: lambda x: registry.torch_loop(x) * 0.5)
    absent = Provider('absent', lambda: None, needs=('no_such_module',))
    breaks = Provider('breaks', lambda: lambda x: x.no_such_method())
    ours = Provider('snnkern broken', breaks.make, ours=True)
    result = measure.measure(CASE, [half, absent, breaks, ours], rounds=1)
    assert 'values differ' in result.failed['wrong']
    assert result.failed['snnkern broken'].startswith('fails: ')
    assert result.skipped.keys() == {'absent', 'breaks'}
    assert result.skipped['absent'] == 'no_such_module is not installed'
    assert result.timings == {}, 'a copy of nobody is none'
    said = run.wrong({'cases': [result.as_dict()]})
    assert len(said) == 1, 'a rival that is wrong is not our error'
    assert 'snnkern broken' in said[0]


def test_gradients_are_close_where_no_spike_flips() -> None:
    spikes, grad = torch.zeros(4, 1000), torch.randn(4, 1000)
    assert measure.check((spikes, grad), (spikes, grad), flips=0.01) is None
    assert measure.check((spikes, grad * 1.005), (spikes, grad), flips=0.01) is not None


@pytest.mark.parametrize(('changed', 'passes'), [(0, True), (1, True), (40, False)])
def test_flips_are_few(changed: int, passes: bool) -> None:
    spikes, grad = torch.zeros(4, 1000), torch.randn(4, 1000)
    other = spikes.clone()
    other[2, :changed] = 1
    found = measure.check((other, grad), (spikes, grad), flips=0.01)
    assert (found is None) == passes
    assert measure.check((spikes, -grad), (spikes, grad), flips=0.01) is not None


def test_half_precision_is_widened() -> None:
    """A loop with potentials of bfloat16 would fail the gate; so do rivals that are not widened."""
    case = LIF.case(16, 2048, torch.bfloat16, BOTH)
    loop = next(p for p in EAGER if p.name == 'torch loop')
    rounded = Provider('rounded', loop.make)
    result = measure.measure(case, [loop, rounded], rounds=1)
    assert loop.name in result.timings
    assert 'rounded' in result.failed


def test_what_is_too_large_or_too_slow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, 'free_bytes', lambda: 1000)
    assert 'the gate would need' in measure.measure(CASE, EAGER, rounds=1).skipped['everybody']
    monkeypatch.setattr(measure, 'GATE', 0)
    loop = next(p for p in EAGER if p.name == 'torch loop')
    assert 'GiB' in measure.measure(CASE, [loop], rounds=1).skipped['torch loop']
    monkeypatch.undo()
    slow = Provider('slow', lambda: lambda x: time.sleep(0.3) or registry.torch_loop(x))
    assert 'one call takes' in measure.measure(CASE, [slow], rounds=1).skipped['slow']
    with pytest.raises(TimeoutError), measure.within(0.05):
        time.sleep(1)
    compiled = next(p for p in LIF.providers if p.compiled)
    assert 'no torch.compile' in measure.measure(CASE, [compiled], rounds=1).skipped[compiled.name]


LATER = [pytest.param(op.name, marks=pytest.mark.slow) for op in registry.RIVALS]


@pytest.mark.parametrize('name', [*(op.name for op in registry.LAYERS), *LATER])
@pytest.mark.filterwarnings('default')
def test_every_op_passes_its_gate(name: str) -> None:
    """Each provider that can be imported computes what the registry says."""
    op = OPS[name]
    direction = registry.FORWARD if name == 'poisson' else BOTH
    result = measure.measure(op.case(4, 4096, torch.float32, direction), rounds=1)
    assert result.failed == {}
    assert NATIVE in result.timings
    absent = {p.name for p in op.providers if p.missing()}
    assert {n for n, why in result.skipped.items() if 'call takes' not in why} == absent


FULL_CASES = dict.fromkeys((c.op, c.dtype, c.direction) for c in registry.cases(registry.FULL) if c.op in OPS)


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'dtype', 'direction'), FULL_CASES, ids=str)
@pytest.mark.filterwarnings('default')
def test_the_whole_grid_passes_its_gate(name: str, dtype: torch.dtype, direction: str) -> None:
    op = OPS[name]
    result = measure.measure(op.case(16, 4096, dtype, direction), [p for p in op.providers if not p.compiled], rounds=1)
    assert result.failed == {}


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_spikes_of_other_rates_are_no_poisson_spikes(dtype: torch.dtype) -> None:
    op = OPS['poisson']
    case = op.case(16, 4096, dtype, registry.FORWARD)
    x = op.inputs(case)[0].float()
    draws = torch.rand(x.shape, generator=torch.Generator().manual_seed(5))
    fair, mean, pairs = draws < x, draws < x.mean(), draws[::2].repeat_interleave(2, 0) < x
    found = [op.gate((s.to(dtype),), (x,)) for s in (fair, mean, pairs)]
    assert found[0] is None
    assert 'spikes at rates' in found[1]
    assert 'spikes in two steps on end' in found[2]


@pytest.mark.filterwarnings('default')
def test_a_network_passes_its_gate() -> None:
    case = next(c for c in networks.cases('quick') if c.op == 'train mnist-conv')
    result = measure.measure(case, rounds=1)
    assert result.failed == {}
    assert NATIVE in result.timings
    assert case.traffic == 0
    assert INFERENCE in {c.direction for c in networks.cases('quick')}


@pytest.mark.filterwarnings('default')
def test_a_network_of_wrong_neurons_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is compared with the reference backend, not with itself; gradients, too."""
    case = next(c for c in networks.cases('quick') if c.op == 'train mnist-conv')
    native = next(p for p in networks.providers(case) if p.name == NATIVE)
    assert native.make(), 'which has what is expected'
    real = training.make

    def broken(net, provider):
        made = real(net, provider)
        for layer in made.modules():
            if isinstance(layer, snnkern.nn.Neuron | snnkern.nn.BatchNormNeuron):
                layer.register_full_backward_hook(
                    lambda layer, given, grad: tuple(g if g is None else g * 2 for g in given)
                )
        return made

    monkeypatch.setattr(training, 'make', broken)
    result = measure.measure(case, [native], rounds=1)
    assert 'gradients of layer 0 differ' in result.failed[NATIVE]
    assert result.timings == {}


@pytest.mark.filterwarnings('default')
def test_a_rival_that_breaks_in_a_network_is_not_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(c for c in networks.cases('quick') if c.op == 'train mnist-conv')
    theirs = Provider('rival', lambda: 1 / 0)
    chosen = [*(p for p in networks.providers(case) if p.name == NATIVE), theirs]
    result = measure.measure(case, chosen, rounds=1)
    assert result.skipped == {'rival': 'fails: division by zero'}
    assert {*result.timings} == {NATIVE}
    monkeypatch.setattr(adapters, 'form', lambda net, name: 1 / 0)
    case = next(c for c in networks.cases('quick') if c.group == 'networks' and c.direction == INFERENCE)
    result = measure.measure(case, rounds=1)
    assert result.failed == {}
    assert result.skipped[NATIVE]


def test_names_are_chosen_by_words() -> None:
    settings = run.Settings('quick', providers='native,', filter='N64-, ,train mlp')
    assert {p.name for c in settings.cases() for p in settings.of(c)} == {NATIVE}
    assert {c.op for c in settings.cases()} == {'lif', 'train mlp'}
    assert run.named(' , ', 'all')


def test_threads_of_a_case_are_given_back() -> None:
    before, seen = torch.get_num_threads(), []
    spy = Provider('spy', lambda: lambda x: seen.append(torch.get_num_threads()) or registry.torch_loop(x))
    measure.measure(LIF.case(4, 256, torch.float32, BOTH, threads=before + 1), [spy], rounds=1)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_names_are_unique_and_sizes_grow() -> None:
    counts = []
    for size in registry.SIZES:
        names = [str(case) for case in registry.cases(size)]
        assert len(names) == len(set(names))
        counts.append(len(names))
    assert counts == sorted(counts)
    grid = {(c.T, c.N) for c in registry.cases(registry.FULL) if c.op == 'lif' and not c.threads}
    assert {(T, N) for T in (1, 4, 16, 64) for N in (1 << 6, 1 << 10, 1 << 14, 1 << 18, 1 << 21)} <= grid


def test_environment_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MALLOC_ARENA_MAX', '1')
    asked = SimpleNamespace(allocator='default', passive=False, threads=2)
    assert not {k for k in pinned_environment(asked) if k.startswith('MALLOC_')}
    asked.allocator = 'tuned'
    assert pinned_environment(asked)['MALLOC_MMAP_THRESHOLD_']


def test_a_case_that_breaks_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = run.measure
    monkeypatch.setattr(run, 'measure', lambda case, *rest: 1 / 0 if case.direction == BOTH else real(case, *rest))
    found = run.run(run.Settings('quick', 'T16-N64-', 'native', threads=1, rounds=1), lambda what, share: None)
    assert [bool(case['rows']) for case in found['cases']] == [True, False]
    assert len(run.wrong(found)) == 1
    assert 'ZeroDivisionError' in run.wrong(found)[0]


def died(monkeypatch: pytest.MonkeyPatch, program: str, progress=lambda what, share: None):
    """What `start` gives where a program runs in place of the measuring process."""
    real = subprocess.Popen
    with monkeypatch.context() as patch:
        patch.setattr(
            subprocess, 'Popen', lambda command, **named: real([command[0], '-c', program, command[-1]], **named)
        )
        return run.start(run.Settings('quick', 'N64-'), progress)


def test_a_child_that_dies_is_one_error(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    with pytest.raises(RuntimeError, match='measuring process failed: OSError: x'):
        died(monkeypatch, 'raise OSError("x")')
    assert 'Traceback' in capfd.readouterr().err
    with pytest.raises(RuntimeError, match='measuring process failed: killed by SIGKILL'):
        died(monkeypatch, 'import os; os.kill(os.getpid(), 9)')
    found = died(monkeypatch, "import os, sys; open(sys.argv[1], 'w').write('{}'); os.kill(os.getpid(), 9)")
    assert found == {'incomplete': 'killed by SIGKILL'}


def test_an_interrupted_run_keeps_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(what: str, share: float) -> None:
        raise KeyboardInterrupt

    tells = f'print({run.MARK!r} + \'["x", 0]\', flush=True); import time; time.sleep(60)'
    found = died(monkeypatch, f"import sys; open(sys.argv[1], 'w').write('{{}}'); {tells}", interrupt)
    assert found == {'incomplete': 'interrupted'}
    with pytest.raises(KeyboardInterrupt):
        died(monkeypatch, tells, interrupt)


def test_each_case_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    settings = run.Settings('quick', 'T16-N64-', 'native', threads=1, rounds=1)
    run.run(settings, lambda what, share: None, lambda found: kept.append({**found, 'cases': [*found['cases']]}))
    assert [len(found['cases']) for found in kept][:2] == [1, 2]
    assert {'targets', 'fits', 'seconds', 'about', 'settings', 'format'} <= kept[0].keys()


def test_a_library_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(run, 'version', absent)
    about = run.about(run.Settings('quick'))
    assert set(about['libraries'].values()) <= {'unknown'}
    assert json.loads(json.dumps(about))['threads'] == torch.get_num_threads()


def test_triton_is_named() -> None:
    assert 'kernels are for GPUs' in measure.measure(CASE, rounds=1).skipped['snnkern triton']
