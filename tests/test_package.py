"""`make package-test`: an environment that fails is a row of its table, and the others run."""

import subprocess
from pathlib import Path

import pytest
from package import run as package

FACTS = '{"Python": "3.11.7", "torch": "2.14", "Triton": "no", "_cuda": "no", "OpenMP": "?"}'
WHEEL = Path('dist/snnkern-0.1-cp311-cp311-linux_x86_64.whl')


@pytest.fixture
def broken(monkeypatch):
    """Programs that all succeed, but those with such a word."""
    words = set()

    def run(*command, **variables):
        if words & set(map(str, command)):
            raise subprocess.CalledProcessError(1, command)
        return FACTS

    monkeypatch.setattr(package, 'run', run)
    monkeypatch.setattr(package, 'built', lambda folder, python, nvcc=False: (package.run(python), (folder, WHEEL))[1])
    monkeypatch.setattr(package, 'complete', lambda sdist, wheel, nvcc=False: None)
    monkeypatch.setattr(package, 'nvccs', lambda: ['/usr/bin/nvcc'])
    monkeypatch.setattr(package, 'hidden', lambda: None)
    monkeypatch.setenv('PYTHONS', 'python3.10 python3.13')
    for name, torch in (('TORCH_CPU', 'cpu'), ('TORCH_OLD', 'old'), ('TORCH_CUDA', 'cuda')):
        monkeypatch.setenv(name, torch)
    return words


def results(printed):
    return [line.strip('| ').split(' | ')[-1][:6] for line in printed.splitlines() if line.startswith('| ')][2:]


@pytest.mark.parametrize(('word', 'row'), [('old', 1), ('uninstall', 3), ('python3.10', 5)])
def test_a_failure_is_a_row(word, row, broken, capsys):
    broken.add(word)
    assert package.main() == 1
    assert results(capsys.readouterr().out) == ['FAILS:' if i == row else 'passes' for i in range(7)]


def test_all_pass(broken, capsys):
    assert package.main() == 0
    assert results(capsys.readouterr().out) == ['passes'] * 7
