"""docs/backend.md: its examples run, and what it says of the raw functions is what they are."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest
from pages import blocks

from snnkern import neurons
from snnkern.backends import native, window
from snnkern.backends.native import device, pack
from snnkern.neurons import CONNECTS, Program

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'backend.md').read_text()
PINNED = ROOT / 'tests' / 'raw_api'
BUMP = 'the raw API has changed: raise kApiVersion (csrc/bindings.h) and API (backends/native/device.py), and pin it'
PARTS = [kind for kind in chain(*neurons.AXES.values()) if kind.__name__ != 'Custom']


@pytest.fixture(params=['_cpu', '_cuda'])
def raw(request: pytest.FixtureRequest) -> ModuleType:
    if find_spec(f'snnkern.{request.param}') is None:
        pytest.skip(f'snnkern.{request.param} is not built')
    return importlib.import_module(f'snnkern.{request.param}')


def examples(heading: str) -> str:
    """The Python of one section, as one program."""
    section = TEXT.partition(f'\n## {heading}\n')[2].partition('\n## ')[0]
    run = [block.text for block in blocks('docs/backend.md') if block.language == 'python' and not block.why_not]
    return '\n'.join(text for text in run if text in section)


def arguments(function: ast.AST) -> str:
    """A function's name and arguments, without types: "poisson(dtype, T, threads=1)"."""
    assert isinstance(function, ast.FunctionDef)
    names = [argument.arg for argument in function.args.args]
    values = [f'={ast.unparse(default)}' for default in function.args.defaults]
    pairs = zip(names, [''] * (len(names) - len(values)) + values, strict=True)
    return f'{function.name}({", ".join(name + value for name, value in pairs)})'


def signatures(module: ModuleType) -> list[str]:
    """Those of its functions, from their docstrings."""
    functions = [f for f in vars(module).values() if inspect.isroutine(f) and not f.__name__.startswith('_')]
    heads = [f'def {(f.__doc__ or "").splitlines()[0]}: ...' for f in functions]
    return sorted(arguments(ast.parse(head).body[0]) for head in heads)


def lists(module: ModuleType) -> list[str]:
    """What the ids mean."""
    return [f'{name} {" ".join(map(repr, value))}' for name, value in sorted(vars(module).items()) if name.isupper()]


def test_torch_examples() -> None:
    exec(examples('From your own torch code, without our modules'), {})


def test_raw_examples_without_torch() -> None:
    program = examples('Raw pointers, without torch') + "\nimport sys; assert 'torch' not in sys.modules\n"
    assert program.count('_cpu.') > 8
    done = subprocess.run([sys.executable, '-W', 'error', '-c', program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_first_example_is_short() -> None:
    first = examples('Raw pointers, without torch').partition('checkpoints =')[0]
    assert len(first.strip().splitlines()) <= 20


@pytest.mark.parametrize('first', ['snnkern._cpu', 'torch'])
def test_one_openmp_whoever_comes_first(first: str) -> None:
    program = f"""
import {first}
from snnkern import _cpu
import numpy as np

T, n = 8, 1 << 16
neuron = _cpu.pack_neuron(charge=('LIF', [2.0, 0.0, 1.0]), fire=('Binary', [1.0]), reset=('Hard', [0.0]))
x = 2 * np.random.default_rng(0).random((T, n), np.float32)
s = np.empty_like(x)
_cpu.multistep_fwd(neuron=neuron, dtype=0, T=T, n=n, x=x.ctypes.data, s=s.ctypes.data, threads=2)
import torch
from snnkern.functional import lif

torch.set_num_threads(2)
assert torch.equal(lif(torch.from_numpy(x)), torch.from_numpy(s))
assert torch.ones(1 << 20).sum() == 1 << 20
libraries = {{line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line}}
assert len(libraries) <= 1, libraries
"""
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_signatures_are_those_of_their_version(raw: ModuleType) -> None:
    name, version = raw.__name__.rpartition('.')[2], '.'.join(map(str, raw.API_VERSION))
    pinned = (PINNED / f'{name}-{version}.txt').read_text().splitlines()
    assert [line for line in pinned if line.endswith(')')] == signatures(raw), BUMP
    names = [line for line in pinned if not line.endswith(')')]
    for line, now in zip(names, lists(raw), strict=True):
        assert f'{now} '.startswith(f'{line} '), BUMP  # a list may grow at its end


def test_stubs(raw: ModuleType) -> None:
    tree = ast.parse((ROOT / 'snnkern' / f'{raw.__name__.rpartition(".")[2]}.pyi').read_text())
    stubs = {node.name: arguments(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert stubs.pop('pack_neuron') == 'pack_neuron(charge, fire, reset, surrogate=..., c=0.0, coefficients=...)'
    assert sorted(stubs.values()) == [s for s in signatures(raw) if not s.startswith('pack_neuron')]
    values = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert values == {name for name in vars(raw) if name.isupper()}


def test_document_names_everything(raw: ModuleType) -> None:
    raws = TEXT.partition('## Raw pointers')[2]
    words = set(re.findall(r'\w+', raws))
    for signature in signatures(raw):
        assert set(re.findall(r'[a-z]\w+', re.sub(r'=[^,)]*', '', signature))) <= words, signature
    assert f'now {raw.API_VERSION}' in raws


def test_ids_are_those_of_the_package(raw: ModuleType) -> None:
    assert [f'torch.{name}' for name in raw.DTYPES] == [str(dtype) for dtype in native.DTYPES]
    assert tuple(raw.CONNECTS) == CONNECTS
    assert tuple(raw.PACKS) == tuple(pack.KINDS)
    assert tuple(raw.POOLS) == window.MODES


def test_table_of_parts() -> None:
    table = TEXT.partition('### The neuron')[2].partition('### ')[0]
    found = {}
    for names, numbers in re.findall(r'^\| (`.*`) \| ?(.*)\|$', table, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r'`(\w+)`', names), numbers.strip()))
    assert found == {k.__name__: ', '.join(f.name for f in dataclasses.fields(k) if f.name != 'c') for k in PARTS}


@pytest.mark.parametrize('kind', PARTS, ids=lambda kind: kind.__name__)
def test_packed_by_name_as_by_the_package(raw: ModuleType, kind: type) -> None:
    axis = next(axis for axis, kinds in neurons.AXES.items() if kind in kinds)
    neuron = neurons.Neuron(**{axis: kind()})
    given = {}
    for name, part in zip(neurons.AXES, neuron.parts, strict=True):
        given[name] = type(part).__name__, [getattr(part, f.name) for f in dataclasses.fields(part) if f.name != 'c']
    names = neuron.coefficients[::-1]
    packed = raw.pack_neuron(**given, c=neuron.charge.c, coefficients=list(names))
    assert packed == Program(neuron, names).packed


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'charge': ('Lif', [2.0])}, 'charge must be one of IF, LIF, PLIF, Affine, Synaptic, got Lif'),
        ({'reset': ('Soft', [0.0] * 7)}, 'reset Soft must have at most 6 numbers, got 7'),
        ({'coefficients': ['tau']}, 'coefficients must be one of a, b, c, v_threshold, alpha, got tau'),
    ],
)
def test_bad_neurons(wrong: dict, message: str) -> None:
    raw = importlib.import_module('snnkern._cpu')
    good = {'charge': ('IF', []), 'fire': ('Binary', [1.0]), 'reset': ('Soft', [])}
    with pytest.raises(ValueError, match=message):
        raw.pack_neuron(**{**good, **wrong})
    with pytest.raises(ValueError, match='neuron must be the 132 bytes'):
        raw.multistep_fwd(neuron=b'LIF', dtype=0, T=1, n=1, x=0, s=0)


def test_a_binary_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType('snnkern._cpu')
    monkeypatch.setitem(sys.modules, 'snnkern._cpu', other)
    with pytest.raises(RuntimeError, match=r'snnkern\._cpu must have API version .*, got None: rebuild it'):
        device.fitting('_cpu')
    other.API_VERSION = (device.API[0], device.API[1] + 1)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r'got \(\d+, \d+\): rebuild it \(`make build`'):
        device._cpu.__wrapped__()
    for axis, kinds in neurons.AXES.items():
        setattr(other, f'{axis}s'.upper(), [kind.__name__ for kind in kinds])
    other.API_VERSION = device.API  # type: ignore[attr-defined]
    assert device.fitting('_cpu') is other
    other.FIRES.remove('Burst')  # type: ignore[attr-defined]
    with pytest.raises(
        RuntimeError, match=r"must know the fires \['Binary', 'Burst', .* got \['Binary', .*: rebuild it"
    ):
        device.fitting('_cpu')
