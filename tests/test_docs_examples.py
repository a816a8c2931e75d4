"""The examples of docs/examples run, quickly, and are short."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from pages import ROOT

FOLDER = ROOT / 'docs' / 'examples'
PRINTED = {  # what shows that it worked: a number and the least that it must be
    'train_digits': (r'epoch 2: ([\d.]+) %', 93),
    'convert_lenet': (r'default .* ([\d.]+) +[\d.]+\n', 90),
    'unroll_snntorch': (r'([\d]+) of 3 modules run', 3),
    'event_camera': (r'epoch 40: .* right (\d+)% of train', 90),
    'without_torch': (r'([\d.]+) spikes a neuron', 0.1),
}


def test_all_are_here():
    paths = sorted(FOLDER.glob('*.py'))
    assert [path.stem for path in paths] == sorted(PRINTED)
    assert [path.name for path in paths if len(path.read_text().splitlines()) > 60] == []
    page = (FOLDER / 'README.md').read_text()
    assert [path.name for path in paths if page.count(path.name) != 3] == []


@pytest.mark.slow
@pytest.mark.parametrize('name', PRINTED)
def test_examples(name, tmp_path):
    if 'snntorch' in name and find_spec('snntorch') is None:
        pytest.skip('snntorch is not installed')
    command = [sys.executable, '-W', 'error', FOLDER / f'{name}.py']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    pattern, least = PRINTED[name]
    found = re.search(pattern, done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) >= least
