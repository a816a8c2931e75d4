"""Which backend runs, and what `explain()` says of it."""

import os
import subprocess
import sys

import pytest
import torch

import snnkern
from snnkern import backends
from snnkern.backends import native, reference
from snnkern.functional import lif

X = torch.ones(4, 3)
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@pytest.fixture
def spy(monkeypatch):
    """Names of the backends whose forward and backward ran."""
    seen = []
    for module in (native, reference):
        for name in ('multistep_fwd', 'multistep_bwd'):
            run, text = getattr(module, name), f'{module.__name__.rpartition(".")[2]} {name[-3:]}'
            monkeypatch.setattr(module, name, lambda *a, run=run, text=text, **k: seen.append(text) or run(*a, **k))
    return seen


@pytest.mark.parametrize('dtype', DTYPES)
def test_automatic_choice(dtype, spy):
    x = X.to(dtype).requires_grad_()
    lif(x).sum().backward()
    name = 'reference' if dtype == torch.float64 else 'native'
    assert spy == [f'{name} fwd', f'{name} bwd']


def test_forced_choice(spy):
    with snnkern.use_backend('reference'):
        lif(X)
        with snnkern.use_backend(None):
            lif(X)
        lif(X)
    lif(X)
    lif(X, backend='reference')
    assert spy == [f'{name} fwd' for name in ('reference', 'native', 'reference', 'native', 'reference')]


def test_forced_choice_ends_with_an_error():
    with pytest.raises(KeyError), snnkern.use_backend('reference'):
        raise KeyError
    assert backends.current() is None


def test_backward_runs_where_forward_ran(spy):
    """A choice made in forward holds for backward, wherever that is called."""
    x = torch.randn(40, 3, requires_grad=True)
    with snnkern.use_backend('reference'):
        s = lif(x)
    s.sum().backward()
    assert spy == ['reference fwd', 'reference bwd']
    spy.clear()
    s = lif(x, backend='reference')
    with snnkern.use_backend('native'):
        s.sum().backward()
    assert spy == ['reference fwd', 'reference bwd']


def test_forced_by_the_environment():
    code = 'import snnkern; print(snnkern.explain())'
    environment = {**os.environ, 'SNNKERN_BACKEND': 'reference'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('forced backend: reference\n')
    assert 'native' not in '\n'.join(done.stdout.splitlines()[1:9])


def choices(explanation):
    return {(c.op, c.device, c.dtype): c for c in explanation.choices}


def test_explain_says_what_runs_and_why_not_the_others(cpu):
    explanation = snnkern.explain()
    assert explanation.forced is None
    found = choices(explanation)
    custom = found[backends.CUSTOM, 'cpu', 'float32']
    assert custom.backend == 'reference'
    assert custom.refused['native'] == 'a custom surrogate is a Python function, which no kernel can call'
    assert 'triton' in custom.refused
    for op in set(backends.OPS) - {backends.CUSTOM}:
        assert found[op, 'cpu', 'float32'].backend == 'native'
        assert found[op, 'cpu', 'float32'].refused == {}
        double = found[op, 'cpu', 'float64']
        assert double.backend == 'reference'
        assert double.refused['native'] == 'no float64 kernels'
        assert 'triton' in double.refused
    text = str(explanation)
    assert text.startswith('forced backend: none, the first of native, triton, reference that can\n')
    assert 'multistep         cpu   float32   native\n' in text
    assert 'float64   reference; not native: no float64 kernels; not triton: ' in text
    assert f'native cpu: {cpu.instruction_set()} (of {", ".join(cpu.instruction_sets())};' in text
    assert 'MiB of output blocks kept for reuse, at most 512 (SNNKERN_KEEP_MB)' in text


def test_explain_of_a_forced_backend():
    with snnkern.use_backend('native'):
        explanation = snnkern.explain()
    assert explanation.forced == 'native'
    double = choices(explanation)['multistep', 'cpu', 'float64']
    assert double.backend == 'none'
    assert double.refused == {'native': 'no float64 kernels'}


def test_explain_without_native_kernels(monkeypatch):
    """A machine on which the extension does not load still works, and says so."""
    device = native.Device(lambda: 'snnkern._cpu does not load (no such file)', native.DEVICES['cpu'].where)
    monkeypatch.setitem(native.DEVICES, 'cpu', device)
    backends.forget()
    try:
        found = choices(snnkern.explain())['multistep', 'cpu', 'float32']
        assert found.backend == 'reference'
        assert found.refused['native'] == 'snnkern._cpu does not load (no such file)'
        assert lif(X).shape == X.shape
        with pytest.raises(RuntimeError, match=r'cannot run multistep: snnkern\._cpu does not load'):
            lif(X, backend='native')
    finally:
        backends.forget()


@pytest.mark.parametrize('name', ['avx512', 'avx2', 'plain'])
def test_instruction_set_of_the_environment(name, cpu):
    if name not in cpu.instruction_sets():
        pytest.skip(f'this machine has no {name}')
    code = 'import snnkern; print(snnkern.explain())'
    environment = {**os.environ, 'SNNKERN_ISA': name, 'SNNKERN_KEEP_MB': '7'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=True)
    assert f'native cpu: {name} (of ' in done.stdout
    assert 'at most 7 (SNNKERN_KEEP_MB)' in done.stdout
