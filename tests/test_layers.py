"""Arrows between the layers point one way, and each kind of knowledge stays where it belongs."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import snnkern

ROOT = Path(__file__).parents[1]
PACKAGE, CSRC = ROOT / 'snnkern', ROOT / 'csrc'
# From the bottom up; a module imports from its own row and from those before it.
LAYERS = (
    {'_cpu', '_cuda', '_archives', '_checks', '_files'},
    {'surrogates', 'charges', 'fires', 'resets', 'spikes', 'neurons', 'presets'},
    {'backends'},
    {'ops'},
    {'_arguments', 'functional'},
    {'nn'},
    {'snnkern', 'testing', 'data', 'encode', 'losses', 'models', 'convert', 'engine', 'adapters'},
    {'recipes', 'selftest'},
    {'cli', '__main__'},
)
LAYER = {name: row for row, names in enumerate(LAYERS) for name in names}
CPP = ('.h', '.cpp', '.cu', '.cuh')


def part(module: str) -> str:
    """The row's name of a module: "backends" of "snnkern.backends.native"."""
    names = module.split('.')
    return names[1] if len(names) > 1 and names[1] in LAYER else names[0]


def imports(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition('.')[0] == 'snnkern')


def files_with(pattern: str, folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    """The files below a folder in which a line matches."""
    files = (path for path in folder.rglob('*') if path.suffix in suffixes)
    return {str(f.relative_to(ROOT)) for f in files if re.search(pattern, f.read_text(), re.MULTILINE)}


def test_every_module_has_a_layer() -> None:
    modules = {p.stem for p in PACKAGE.iterdir() if p.suffix == '.py' or list(p.glob('*.py'))} - {'__init__'}
    assert modules <= LAYER.keys(), 'place the new module in LAYERS'


def test_imports_point_down() -> None:
    wrong = []
    for path in PACKAGE.rglob('*.py'):
        own = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        if own == '__init__':
            continue
        for name in imports(path):
            if LAYER[part(name)] > LAYER[own]:
                wrong.append(f'{path.relative_to(ROOT)} imports {name}')
    assert not wrong


def test_only_native_touches_pointers() -> None:
    users = files_with(r'data_ptr', PACKAGE, ('.py',))
    assert {name for name in users if not name.startswith('snnkern/backends/native/')} == set()


def test_only_bindings_know_python() -> None:
    users = files_with(r'#include [<"](pybind11|Python\.h)', CSRC, CPP)
    assert users
    assert {name for name in users if not Path(name).name.startswith('bindings')} == set()


def test_nothing_native_knows_torch() -> None:
    assert files_with(r'#include [<"](torch|ATen|c10)', CSRC, CPP) == set()


def unguarded(text: str) -> str:
    """Without what stands between `#if ... __CUDACC__` and the #else or #endif of its own depth."""
    kept: list[str] = []
    hidden: list[bool] = []
    for line in text.splitlines():
        word = line.replace(' ', '')
        if word.startswith('#if'):
            hidden.append('__CUDACC__' in word and not word.startswith('#ifndef') and '!' not in word)
        elif word.startswith('#el') and hidden:
            hidden[-1] = False
        elif word.startswith('#endif') and hidden:
            hidden.pop()
        elif not any(hidden):
            kept.append(line)
    return '\n'.join(kept)


def test_only_kernels_know_cuda() -> None:
    cuda = re.compile(r'#include [<"]cuda|\bcuda[A-Z]\w*\(|<<<')
    hosts = [path for path in CSRC.rglob('*') if path.suffix in ('.h', '.cpp')]
    assert [p for p in hosts if cuda.search(unguarded(p.read_text()))] == []
    assert all(path.parts[-2] in ('kernels', 'detail') for path in CSRC.rglob('*.cu*'))


def test_import_needs_torch_and_numpy_only() -> None:
    program = (
        'import json, sys, torch, numpy; before = set(sys.modules); from snnkern import *; '
        'print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True, cwd=ROOT)
    new = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    assert new <= {'snnkern', 'torch', 'numpy'}


def test_version_is_a_literal() -> None:
    """setuptools reads it without importing torch."""
    assert f"\n__version__ = '{snnkern.__version__}'\n" in (PACKAGE / '__init__.py').read_text()
