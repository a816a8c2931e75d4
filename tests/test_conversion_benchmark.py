"""The comparison of converters runs on a tiny network; how accurate or fast anything is, is not tested."""

import importlib
from pathlib import Path

import pytest
import torch

from snnkern.models import build

ROOT = Path(__file__).parents[1]
IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
IMAGES = IMAGES.contiguous(memory_format=torch.channels_last)  # as data sets give them
BATCHES = [(IMAGES, torch.arange(8))]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build('resnet20', width=4).eval()


def test_relu_modules(part, net) -> None:
    twin = part('rival_converters').relu_modules(net)
    relus = [m for m in twin.modules() if isinstance(m, torch.nn.ReLU)]
    assert len(relus) == 19
    assert torch.equal(twin(IMAGES), net(IMAGES))


def test_accuracy(part, net, monkeypatch) -> None:
    conversion, rivals = part('conversion'), part('rival_converters')
    monkeypatch.setattr(rivals, 'BALANCING', 2)
    found = conversion.accuracy(net, BATCHES, BATCHES, (1, 2), ['default'])
    assert set(found) == {'ANN', 'snnkern default', *(rival.name for rival in rivals.RIVALS)}
    for name, of in found.items():
        if isinstance(of, str):
            assert 'not installed' in of, f'{name}: {of}'
        else:
            assert all(0 <= percent <= 100 for percent in of.values())
    as_json = {k: of if isinstance(of, str) else {str(T): v for T, v in of.items()} for k, of in found.items()}
    _, head, rows = conversion.accuracy_table(as_json, 'tiny', (1, 2))
    assert {len(row) for row in (head, *rows)} == {3}


def test_speed(part, net) -> None:
    conversion = part('conversion')
    timings, skipped = conversion.speed(net, BATCHES, IMAGES[:4], 3, rounds=1)
    rivals = {name for name, _, _ in conversion.SPEED_RIVALS}
    assert {*timings, *skipped} == {conversion.OURS, conversion.LOOP, conversion.BOUND, *rivals}
    assert all(v['measured'] > 0 for v in conversion.verdicts(timings))


def test_failure_is_told(part) -> None:
    def broken():
        raise ValueError('no neuron')

    assert part('conversion').attempt(broken) == 'fails: ValueError: no neuron'
