"""docs/encoders.md names every encoder, its pictures are there, and its benchmark still runs."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

from docs import encoders
from snnkern import encode, nn

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'encoders.md').read_text()
FUNCTIONS = [name for name in encode.__all__ if inspect.isfunction(getattr(encode, name))]


def test_every_encoder_is_named():
    assert [name for name in FUNCTIONS if f'{name}(' not in TEXT and f'`{name}`' not in TEXT] == []


def test_every_function_has_a_module():
    modules = {cls.function for cls in vars(encode).values() if isinstance(cls, type)}
    assert {getattr(encode, name) for name in FUNCTIONS} - modules == {encode.population_activity}


def test_pictures():
    names = re.findall(r'!\[.*?\]\((.*?)\)', TEXT)
    assert len(names) == 3
    for name in names:
        assert 10_000 < (ROOT / 'docs' / name).stat().st_size < 300_000
        assert (ROOT / 'docs' / name).read_bytes()[:4] == b'\x89PNG'


def test_pictures_are_drawn_again(tmp_path, monkeypatch, capsys):
    """Without the photograph, too, whose picture is then left alone."""
    monkeypatch.setattr(encoders, 'FOLDER', tmp_path)
    monkeypatch.setattr(encoders, 'DATA', tmp_path)
    encoders.main()
    assert {path.name for path in tmp_path.iterdir()} == {'encoders.png', 'encoders_rasters.png'}
    assert 'encoders_frames.png is left as it is: no load_data.py in ' in capsys.readouterr().out


def test_the_first_example():
    net = torch.nn.Sequential(encode.Poisson(T=16), torch.nn.Flatten(2), torch.nn.Linear(784, 10), nn.LIF())
    assert net(torch.rand(2, 1, 28, 28)).shape == (16, 2, 10)


def test_the_example_of_ranks():
    x, B = torch.rand(6, 5), 2
    parts = [encode.poisson(x[r * B : (r + 1) * B], 4, seed=3, offset=r * B) for r in range(3)]
    assert torch.equal(torch.cat(parts, 1), encode.poisson(x, 4, seed=3))


def test_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    benchmark = importlib.import_module('benchmarks.encoders')
    (timings,) = benchmark.measure(1, {'small': ((3, 50), 4)}).values()
    assert timings[benchmark.OURS].median > 0
    monkeypatch.setattr(benchmark, 'encoders', lambda: {'wrong': lambda x, T: torch.ones(T, *x.shape)})
    with pytest.raises(AssertionError, match='wrong'):
        benchmark.measure(1, {'small': ((3, 50), 4)})
