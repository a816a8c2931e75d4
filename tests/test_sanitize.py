"""`make sanitize-cpu`: its driver refuses what is no number of calls, its arrays are guarded at both ends."""

import shutil
import subprocess
from pathlib import Path

import pytest
from pages import ROOT

FOLDER = ROOT / 'tests' / 'sanitize'
pytestmark = pytest.mark.skipif(shutil.which('g++') is None, reason='g++ is not installed')
ACCESS = """
#include <cstdlib>

#include "memory.h"

int main(int, char** words) {
  const check::Array array(64, std::atoi(words[1]));
  static_cast<volatile char*>(array.begin())[std::atoi(words[2])] = 1;
}
"""


def built(source, program, *options):
    folders = (f'-I{FOLDER}', f'-I{ROOT / "csrc"}')
    subprocess.run(['g++', '-std=c++17', '-O0', *folders, *options, source, '-o', program], check=True, timeout=60)
    return program


def code(*command):
    return subprocess.run(command, capture_output=True, timeout=60).returncode


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    """Without the kernels, which it must not reach."""
    folder = tmp_path_factory.mktemp('driver')
    return built(FOLDER / 'driver.cpp', folder / 'driver', '-no-pie', '-Wl,--unresolved-symbols=ignore-all')


@pytest.mark.parametrize('calls', ['many', '0', '-3'])
def test_calls(driver, calls):
    done = subprocess.run([driver, calls], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, f'calls must be a number from 1 on, got {calls}\n')


@pytest.mark.parametrize('sanitizer', [(), ('-fsanitize=address',)], ids=['pages', 'address'])
def test_guards(sanitizer, tmp_path):
    """Beyond the end at a page's end and before the start at its start: by pages; the others by AddressSanitizer."""
    if sanitizer and not Path(printed('g++', '-print-file-name=libasan.so')).is_absolute():
        pytest.skip('libasan is not installed')
    (tmp_path / 'access.cpp').write_text(ACCESS)
    program = built(tmp_path / 'access.cpp', tmp_path / 'access', *sanitizer)
    assert [code(program, at_end, place) for at_end in '01' for place in ('0', '63')] == [0] * 4
    assert code(program, '1', '64') != 0
    assert code(program, '0', '-1') != 0
    if sanitizer:
        assert code(program, '1', '-1') == code(program, '0', '64') == 1
