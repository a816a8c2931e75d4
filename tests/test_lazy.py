"""`import snnkern` loads nothing else: its names are imported when they are first asked for."""

import ast
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import snnkern

ROOT = Path(__file__).parents[1]
SLOW = "[name for name in ('torch', 'numpy', 'matplotlib', 'safetensors') if name in sys.modules]"


def printed(program: str) -> Any:
    """What a program prints, as JSON, in a process of its own."""
    command = [sys.executable, '-W', 'error', '-c', f'import json, sys\n{program}']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def imported_for_checkers() -> dict[str, str]:
    """The names that type checkers see and the modules that they come from."""
    tree = ast.parse((ROOT / 'snnkern' / '__init__.py').read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or '' for node in imports for alias in node.names}


@pytest.mark.parametrize(
    'program',
    ['import snnkern', 'import snnkern; dir(snnkern), snnkern.__version__', 'from snnkern import _cpu'],
)
def test_nothing_slow_is_loaded(program: str) -> None:
    assert printed(f'{program}\nprint(json.dumps({SLOW}))') == []


def test_tables_name_the_same() -> None:
    seen = imported_for_checkers()
    names = {name: f'snnkern.{module}' for name, module in snnkern._SOURCES.items()}
    modules = {name for name, module in seen.items() if module == 'snnkern'}
    assert seen == {**names, **dict.fromkeys(modules, 'snnkern')}
    assert modules <= set(snnkern._MODULES)
    assert {*seen, '__version__'} == set(snnkern.__all__)


def test_every_name_is_there() -> None:
    missing = [name for name in (*snnkern.__all__, *snnkern._MODULES) if not hasattr(snnkern, name)]
    assert missing == []
    assert set(snnkern.__all__) <= set(dir(snnkern))
    star: dict[str, Any] = {}
    exec('from snnkern import *', star)
    assert set(snnkern.__all__) <= star.keys()


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match=r"module 'snnkern' has no attribute 'Leif'"):
        snnkern.Leif  # noqa: B018
    with pytest.raises(ImportError, match='Leif'):
        exec('from snnkern import Leif')


FIRST_USES = {
    'from snnkern import LIF, convert; print(json.dumps([callable(convert), LIF.__name__]))': [True, 'LIF'],
    'import snnkern.nn; print(json.dumps(type(snnkern.nn.LIF()).__name__))': 'LIF',
    'import snnkern as s; print(json.dumps([s.nn.LIF.__name__, s.functional.lif.__name__, s.convert.recipes.__name__, '
    's.presets.__name__, callable(s.convert)]))': ['LIF', 'lif', 'snnkern.convert.recipes', 'snnkern.presets', True],
}


@pytest.mark.parametrize('program', FIRST_USES)
def test_first_use(program: str) -> None:
    assert printed(program) == FIRST_USES[program]


def test_first_use_under_compile_and_pickle() -> None:
    vars(snnkern).pop('Burst', None)
    pickle.loads(pickle.dumps(snnkern.Neuron(snnkern.IF(), snnkern.Burst(1.0, 3))))

    def net(x: torch.Tensor) -> torch.Tensor:
        return snnkern.functional.multistep(x, neuron)

    vars(snnkern).pop('functional', None)
    neuron, x = snnkern.Neuron(snnkern.IF(), snnkern.Burst(1.0, 3), snnkern.Soft(), snnkern.ATan()), torch.rand(3, 5)
    assert torch.compile(net, backend='aot_eager', fullgraph=True)(x).equal(net(x))
