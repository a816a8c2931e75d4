"""docs/neurons.md says what the code is: it is generated, and every expression in it runs."""

import re

import pytest
import torch

import snnkern
from docs import neurons, zoo
from snnkern import Neuron, nn
from snnkern.functional import multistep
from snnkern.neurons import AXES
from snnkern.presets import NEURONS
from snnkern.testing import assert_spikes_equal

ROWS = [row for rows in neurons.TABLES.values() for row in rows]
MARKS = {zoo.FUSED, zoo.REFERENCE, zoo.OUT}
NAMESPACE = {name: getattr(snnkern, name) for name in snnkern.__all__}

# Who must be there, by the words of a name: the systems that the library covers, then the libraries it serves.
REQUIRED = {
    'Charge, as the literature writes it': 'IF LIF Leaky PLIF BiasLIF BiasPLIF STDP-LIF Hybrid',
    'Fire': 'binary burst ternary imbalanced SNM Fast-SNN graded I-LIF ALIF',
    'Reset': 'hard soft none delayed detached mem_detach',
    'BrainCog': 'IFNode LIFNode BurstLIFNode BiasLIFNode PLIFNode BiasPLIFNode DoubleSidePLIFNode NoiseLIFNode '
    'NoisePLIFNode LIFSTDPNode BackEINode LIAFNode OnlineLIFNode mem_detach AdaptiveNode DGLIFNode HTDGLIFNode PSU '
    'IPSU RPSU SPSN SNode Izhikevich HH SimHH aEIF three-compartment',
    'SpikingJelly': 'IFNode LIFNode ParametricLIFNode QIFNode EIFNode IzhikevichNode KLIFNode LIAFNode GatedLIFNode '
    'ComplementaryLIFNode PSN MaskedPSN SlidingPSN ILCIFNode ILCLIFNode ILCCUBALIFNode CUBALIFNode ILIFNode STBIFNode '
    'TernaryIFNode TernaryLIFNode OTTTLIFNode SLTTLIFNode DSRIFNode DSRLIFNode MPBNLIFNode RAFNode FlexSN '
    'NoisyCUBALIFNode HalfThresholdIFNode ActivationAwareIFNode FewSpikeNode NonSpikingLIFNode',
    'snnTorch': 'Leaky Synaptic Alpha Lapicque RLeaky RSynaptic StateLeaky LinearLeaky DeltaLeaky LeakyParallel',
    'Norse': 'LIF LIFBoxCell LSNNCell IAFCell LI LIFExCell LIFAdExCell CobaLIFCell IzhikevichCell LIFRefracCell',
    'sinabs': 'IAF LIF ALIF ExpLeak LIFRecurrent',
}


def evaluated(how: str) -> Neuron:
    """The neuron of an expression, which may only name what snnkern exports."""
    return eval(how, {'__builtins__': {}}, NAMESPACE)


def test_the_file_is_what_the_code_gives():
    """If not: `python -m docs.neurons`."""
    assert (neurons.FOLDER / 'neurons.md').read_text() == neurons.document()


def test_its_pictures_are_there():
    names = re.findall(r'!\[.*?\]\((.*?)\)', neurons.document())
    assert len(names) == 2
    for name in names:
        assert 10_000 < (neurons.FOLDER / name).stat().st_size < 300_000
        assert (neurons.FOLDER / name).read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize('table', REQUIRED)
def test_every_neuron_is_named(table):
    words = {word for row in neurons.TABLES[table] for word in re.findall(r'[\w-]+', row.name)}
    assert set(REQUIRED[table].split()) - words == set()


def test_every_part_and_module_is_named():
    text = neurons.document()
    parts = [kind.__name__ for kinds in AXES.values() for kind in kinds]
    modules = [f'nn.{name}' for name in nn.__all__ if isinstance(getattr(nn, name), type)]
    missing = [name for name in parts + modules if f'| `{name}` |' not in text]
    others = 'TEP AvgPool2d LateralPool2d LayerWiseConv2d LayerWiseLinear LocalDifference2d MaxPool2d Plastic Rates'
    others += ' SeqToANNContainer SpikeConv2d SpikeMaxPool2d'
    assert missing == [f'nn.{name}' for name in others.split()]


def test_marks_say_what_there_is():
    assert {row.mark for row in ROWS} == MARKS
    for row in ROWS:
        assert bool(row.how) == (row.mark != zoo.OUT), row
        assert row.how or row.note.endswith('.'), row
        assert not row.compared or row.mark == zoo.FUSED, row


@pytest.mark.parametrize('row', [row for row in ROWS if row.how], ids=lambda row: row.name)
def test_expressions_run(row):
    """On native and reference alike, backward too; "reference" is what no kernel runs."""
    neuron = evaluated(row.how)
    assert neuron.fused == (row.mark == zoo.FUSED)
    x = (torch.randn(8, 50) + 0.7).mul(2).requires_grad_()
    found = []
    for backend in ['native', 'reference'] if neuron.fused else ['reference']:
        s, v = multistep(x, neuron, return_v_seq=True, backend=backend)
        (s.sum() + v.sum()).backward()
        found += [s.detach()]
    assert found[0].any()
    assert_spikes_equal(found[0], found[-1])
    if not neuron.fused:
        with pytest.raises(RuntimeError, match='native'):
            multistep(x, neuron, backend='native')


def test_presets_are_the_neurons_of_their_lines():
    named = [row for row in ROWS if row.preset]
    for row in named:
        assert evaluated(row.how) == NEURONS[row.preset], row
    assert {row.preset for row in named} == set(NEURONS)
