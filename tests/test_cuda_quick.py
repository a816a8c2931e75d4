"""The CUDA kernels of common neurons, run by the PTX emulator: all of them, and what they leave to the others."""

from importlib.util import find_spec

import emulator
import pytest
from cases import Case
from parity import check

from snnkern import Burst, Neuron, NoReset, Triangle
from snnkern.backends import native
from snnkern.selftest.common import common_cases, converted_cases

if find_spec('snnkern._cuda') is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)
emulator.load()


def check_quick(gpu, case, forth=True, back=True):
    check(native, case, *case.inputs())
    assert ['quick' in run.kernel.name for run in gpu.runs] == [forth, back]


@pytest.mark.parametrize('case', common_cases(136), ids=str)
def test_common_neurons(gpu, case):
    check_quick(gpu, case)


@pytest.mark.slow
@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('case', common_cases(136, other=True), ids=str)
def test_common_neurons_on_both_architectures(gpu, case):
    check_quick(gpu, case)


@pytest.mark.parametrize('case', [*converted_cases(136, 3), *converted_cases(1544, 17)], ids=str)
def test_converted_neurons(gpu, case):
    check_quick(gpu, case, back=False)


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
