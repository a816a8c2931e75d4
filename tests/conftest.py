"""What all tests share: a seed, deterministic property tests, this machine's instruction sets, poison."""

import os
from dataclasses import replace

import pytest
import torch
from emulator import driver, gpu, gpus, library  # noqa: F401 (fixtures)
from hypothesis import settings

from snnkern.backends import layout, native

settings.register_profile('snnkern', derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile('snnkern')

if 'PYTEST_XDIST_WORKER' in os.environ:  # the cores are taken by the other processes of tests
    torch.set_num_threads(1)

DEVICE = native.DEVICES['cpu']
CPU = DEVICE.load()
INSTRUCTION_SETS = () if isinstance(CPU, str) else tuple(CPU.instruction_sets())


@pytest.fixture(autouse=True)
def seed():
    """Every test draws the same numbers, alone or after others."""
    torch.manual_seed(0)


@pytest.fixture
def cpu():
    """The module of native CPU kernels, its settings restored afterwards. Its absence is a failure."""
    assert not isinstance(CPU, str), CPU
    name, limit = CPU.instruction_set(), CPU.keep_limit()
    yield CPU
    CPU.choose_instruction_set(name)
    CPU.set_keep_limit(limit)


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request, cpu):
    """Every instruction set in turn."""
    cpu.choose_instruction_set(request.param)
    return request.param


@pytest.fixture(autouse=True)
def no_device_is_left():
    """After a test CPU tensors run on the CPU again."""
    yield
    assert native.DEVICES['cpu'] is DEVICE


@pytest.fixture
def poisoned(monkeypatch):
    """Outputs start as NaN, so that a place that nobody writes shows; yields the list of steps allocated."""
    made = []
    plain = layout.new_like

    def poison(x, steps, dtype=None):
        made.append(steps)
        return plain(x, steps, dtype).fill_(torch.nan)

    monkeypatch.setattr(layout, 'new_like', poison)
    monkeypatch.setitem(native.DEVICES, 'cpu', replace(native.DEVICES['cpu'], new=poison))
    return made


@pytest.fixture
def two_threads():
    """torch's thread count is 2, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """A folder of pictures of two classes."""
    pytest.importorskip('torchvision')
    from programs import picture_folder

    return picture_folder(tmp_path_factory.mktemp('pictures'))
