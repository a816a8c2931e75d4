"""docs/gallery.md is what the code gives, its formulas are programs with the kernels' spikes, its names exist."""

import math
import re

import pytest
import torch

from docs import gallery, neurons
from snnkern import LIF, PLIF, Affine, nn
from snnkern.functional import multistep
from snnkern.testing import assert_first_flip, assert_spikes_equal

NAMES = {'H': lambda z: (z >= 0).float(), 'S': lambda z: (z > 0).float()}
NAMES |= {name: getattr(torch, name) for name in ('where', 'floor', 'round', 'clamp', 'clamp_min', 'maximum')}


def run(entry, x):
    """Spikes, potentials before firing and after the reset of its formula's lines [T, ...]."""
    state = dict.fromkeys(('v', 'i', 'm'), torch.zeros_like(x[0]))
    found = []
    for step in x:
        names = {**NAMES, **entry.numbers, **state, 'x': step}
        exec(entry.formula, names)
        state = {name: names[name] for name in state}
        found.append(torch.stack([names[name] for name in ('s', 'h', 'v')]))
    return torch.stack(found, 1)


def test_the_page_is_what_the_code_gives():
    """If not: `python -m docs.gallery`."""
    assert (gallery.FOLDER / 'gallery.md').read_text() == gallery.document()


@pytest.mark.parametrize('entry', gallery.ENTRIES, ids=lambda entry: entry.name)
def test_formulas_are_programs(entry):
    x = torch.cat([gallery.stimulus()[:, None].expand(-1, 50), 3 * torch.rand(64, 950) - 1], 1)
    s, h, v = run(entry, x)
    assert s.any()
    found, v_seq = multistep(x, entry.neuron, return_v_seq=True)
    assert_first_flip(found, s, h, entry.neuron.fire.v_threshold)
    same = (found == s).all(0)
    assert same.float().mean() > 0.99
    torch.testing.assert_close(v_seq[:, same], v[:, same], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('entry', [e for e in gallery.ENTRIES if '...' not in e.module], ids=lambda entry: entry.name)
def test_modules_are_the_neurons(entry):
    x = 2 * torch.rand(32, 1, 100) - 0.5
    layer = eval(entry.module, {'nn': nn})
    assert_spikes_equal(layer(x).detach(), multistep(x, entry.neuron))


@pytest.mark.parametrize('entry', gallery.ENTRIES, ids=lambda entry: entry.name)
def test_pictures(entry, tmp_path):
    assert 1_000 < (gallery.PICTURES / entry.picture).stat().st_size < 30_000
    gallery.draw(entry, tmp_path / entry.picture)
    assert (tmp_path / entry.picture).read_bytes()[:4] == b'\x89PNG'


def kinds(neuron):
    """The classes of its charge, fire and reset; one for all leaky charges, and whether they weigh x by 1 - a."""
    charge, kind = neuron.charge, type(neuron.charge)
    if kind in (LIF, PLIF):
        kind = ('leaky', charge.decay_input)
    elif kind is Affine:
        kind = ('leaky', math.isclose(charge.b, 1 - charge.a))
    return kind, type(neuron.fire), type(neuron.reset)


# Options that no row has; tests/test_spikingjelly.py and tests/test_sinabs.py compare them.
OPTIONS = {f'{name}Node with v_reset=None' for name in ('IF', 'LIF')}
OPTIONS |= {'LIFNode with decay_input=False', 'LIF with SingleSpike'}


@pytest.mark.parametrize('library', gallery.LIBRARIES)
def test_names_are_of_the_same_recurrence(library):
    """As the first row of docs/neurons.md that has the name."""
    place = gallery.LIBRARIES.index(library)
    rows = {
        name: row for row in neurons.TABLES[library][::-1] for name in re.sub(r' \(.*?\)', '', row.name).split(', ')
    }
    named = [(entry, entry.names[place]) for entry in gallery.ENTRIES if entry.names[place] not in OPTIONS | {''}]
    wrong = [(e.name, name) for e, name in named if kinds(e.neuron) != kinds(e._replace(how=rows[name].how).neuron)]
    assert wrong == []
    assert named
