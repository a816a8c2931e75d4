"""The PTX emulator, which proves GPU kernels where there is no GPU: its place, and facts of machine code."""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(os.environ.get('SNNKERN_PTXSIM') or Path(__file__).resolve().parents[2] / 'shared' / 'tools')


def load() -> ModuleType:
    """The package `ptxsim`; where it is absent, the calling test module is skipped."""
    if not (FOLDER / 'ptxsim').is_dir():
        reason = f'no PTX emulator in {FOLDER} (SNNKERN_PTXSIM may name another folder)'
        pytest.skip(reason, allow_module_level=True)
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module('ptxsim')


def facts(cubin: bytes) -> Any:
    """Registers, stack, spills and access widths of the one kernel in a cubin (ptxsim.SassFacts)."""
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        (kernel,) = load().sass_facts(file.name).values()
    return kernel
