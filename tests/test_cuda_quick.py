"""The CUDA kernels of common neurons, run by the PTX emulator: all of them, and what they leave to the others."""

from importlib.util import find_spec
from itertools import product
from random import Random

import cases
import emulator
import pytest
from cases import Case
from parity import check

from snnkern import (
    IF,
    LIF,
    PLIF,
    Affine,
    ATan,
    Binary,
    Burst,
    Hard,
    Neuron,
    NoReset,
    Sigmoid,
    SignedMemory,
    Soft,
    Triangle,
)
from snnkern.backends import native

DTYPES = cases.AXES['dtype']

if find_spec('snnkern._cuda') is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)
emulator.load()

# The parts of common neurons, which have kernels of their own: pairs of charge, reset and element are types of them.
QUICK = {
    'charge': (
        IF(c=0.1),
        LIF(2.0, 0.1),
        LIF(4.0, decay_input=False),
        LIF(3.0, -0.2, c=0.1),
        LIF(1.5, 0.1, decay_input=False),
        PLIF(0.3),
        Affine(0.9, 0.7, -0.05),
    ),
    'reset': (Hard(-0.1), Soft(detach=True)),
    'dtype': DTYPES,
}


def quick_cases(surrogates):
    """Steps lie around the unrolled ones and the chunks between checkpoints."""
    random, cases = Random(0), []
    for i, (charge, reset, dtype) in enumerate(product(*QUICK.values())):
        fire = random.choice((Binary(0.7), Binary(0.5, strict=True, real_units=True)))
        T, flags = random.choice((1, 3, 4, 5, 8, 16, 17, 40)), random.choices((False, True), k=2)
        cases.append(Case(Neuron(charge, fire, reset, surrogates[i % 2]), dtype, T, 136, *flags))
    return cases


def check_quick(gpu, case, forth=True, back=True):
    check(native, case, *case.inputs())
    assert ['quick' in run.kernel.name for run in gpu.runs] == [forth, back]


@pytest.mark.parametrize('case', quick_cases((ATan(2.0), Sigmoid(4.0))), ids=str)
def test_common_neurons(gpu, case):
    check_quick(gpu, case)


@pytest.mark.slow
@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('case', quick_cases((Sigmoid(4.0), ATan(2.0))), ids=str)
def test_common_neurons_on_both_architectures(gpu, case):
    check_quick(gpu, case)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('T', [3, 17])
def test_converted_neurons(gpu, dtype, T):
    neuron = Neuron(IF(), SignedMemory(0.75, 5, real_units=True), Soft())
    check_quick(gpu, Case(neuron, dtype, T, 136, v0=True, state=True), back=False)


ELSEWHERE = [
    (Case(Neuron(), v_seq=True, N=136), False, False),
    (Case(Neuron(), connect='ms', sum=True, N=136), False, False),
    (Case(Neuron(), constant=True, N=136), True, False),
    (Case(Neuron(), want_x=False, v0=True, N=136), True, False),
    (Case(Neuron(surrogate=Triangle()), N=136), True, False),
    (Case(Neuron(), N=135), False, False),
    (Case(Neuron(reset=NoReset()), N=136), False, False),
    (Case(Neuron(fire=Burst(0.75, 3)), N=136), False, False),
    (Case(Neuron(), rows='one', N=136), False, False),
]


@pytest.mark.parametrize(('case', 'forth', 'back'), ELSEWHERE, ids=str)
def test_what_common_kernels_do_not_know_runs_elsewhere(gpu, case, forth, back):
    check_quick(gpu, case, forth, back)
