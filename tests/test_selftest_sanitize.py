"""`make sanitize-gpu` where there is no GPU or no compute-sanitizer, and what it runs where there are both."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
PYTHON = '#!/bin/sh\n[ "$1" = -c ] && exit {no_gpu}\n'
SANITIZER = '#!/bin/sh\necho "$PYTORCH_NO_CUDA_MEMORY_CACHING $@" >> {log}\n'


def make(*variables):
    """What the target says and its code, with nothing built."""
    command = ['make', '-o', 'build', '-o', '.venv/.developer', 'sanitize-gpu', *variables]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_no_sanitizer():
    done = make('SANITIZER=')
    assert done.returncode == 2
    assert 'needs compute-sanitizer of the CUDA toolkit' in done.stderr


def test_no_gpu(tmp_path):
    program(tmp_path / 'python', PYTHON.format(no_gpu=1))
    done = make('SANITIZER=/bin/true', f'BIN={tmp_path}')
    assert done.returncode == 2
    assert 'torch sees no CUDA device' in done.stderr


def test_every_tool_runs(tmp_path):
    program(tmp_path / 'python', PYTHON.format(no_gpu=0))
    log = tmp_path / 'log'
    done = make(f'SANITIZER={program(tmp_path / "sanitizer", SANITIZER.format(log=log))}', f'BIN={tmp_path}')
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ['1', '--tool', tool] for tool in ('memcheck', 'racecheck', 'initcheck', 'synccheck')
    ]
    assert all(line.endswith('-m snnkern selftest --quick --device cuda --backend native') for line in lines)


def test_a_finding_ends_it(tmp_path):
    program(tmp_path / 'python', PYTHON.format(no_gpu=0))
    assert make('SANITIZER=/bin/false', f'BIN={tmp_path}').returncode == 2
