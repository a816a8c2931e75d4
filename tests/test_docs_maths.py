"""docs/maths.md: its table of surrogates is what the code computes, and has all of them."""

import math
import re

import pytest
import torch
from pages import ROOT

from snnkern import surrogates

TABLE = re.findall(
    r'^\| `(\w+)` \|(.*?)\| `(.*?)` \| (.*?) \|(.*?)\|$', (ROOT / 'docs' / 'maths.md').read_text(), re.MULTILINE
)
NAMES = {name: getattr(torch, name) for name in ('abs', 'exp', 'sigmoid', 'where')}
NAMES |= {'pi': math.pi, 'sqrt': math.sqrt, 'maximum': lambda a, least: a.clamp_min(least)}


def test_it_has_all():
    assert [name for name, *_ in TABLE] == [
        kind.__name__ for kind in surrogates.SURROGATES if kind.__name__ != 'Custom'
    ]


@pytest.mark.parametrize('row', TABLE, ids=lambda row: row[0])
def test_slopes(row):
    name, numbers, slope, at_zero, area = row
    values = {key: float(value) for key, value in re.findall(r'(\w+) = ([-\d.]+)', numbers)}
    kind = getattr(surrogates, name)
    assert kind() == kind(**values)
    other = {key: 1.5 * value + 0.1 for key, value in values.items()}
    z = torch.linspace(-7, 7, 1000, dtype=torch.float64)
    for given in (values, other):
        wanted = torch.as_tensor(eval(slope, {**NAMES, **given, 'z': z}), dtype=torch.float64).expand(1000)
        torch.testing.assert_close(kind(**given).grad(z), wanted)
    zero, far = torch.zeros((), dtype=torch.float64), torch.tensor([-1e9, 1e9], dtype=torch.float64)
    assert kind().grad(zero).item() == pytest.approx(float(at_zero), abs=1e-3)
    low, high = kind().primal(far)
    assert (high - low).item() == pytest.approx(float(area), abs=1e-3) if area.strip() else high - low > 1e8
