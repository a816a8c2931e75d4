"""Every GPU kernel x dtype x size x layout x architecture, against the reference to the bit and in float64.

Half of the rows run with warps in a random order, and all with checks of races, bounds and reads of what nobody wrote
(emulator.py).
"""

from importlib.util import find_spec
from itertools import combinations, cycle, islice
from random import Random

import emulator
import gpucases
import pytest
import torch
from cases import Case
from gpucases import FAMILIES, LAYOUTS
from parity import check, forward

from benchmarks.emulated import OTHERS, USUAL
from snnkern.backends import native, triton
from snnkern.charges import IF, LIF, Affine, Synaptic
from snnkern.encode import poisson
from snnkern.fires import Binary, Burst, Signed, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Delayed, Hard, Soft
from snnkern.surrogates import Sigmoid
from snnkern.testing import assert_grads_close, assert_spikes_equal

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Nothing, one; vectors of 4 and 8 +- 1; a warp +- 1; more than one block, and such a number that is odd.
SIZES = (0, 1, 3, 4, 5, 7, 8, 9, 31, 33, 1031, 1288)
ARCHITECTURES = (*USUAL, *OTHERS)
SEEDS = (None, 1)
EXHAUSTIVE = (pytest.mark.slow, pytest.mark.exhaustive)
needs_nvcc = pytest.mark.skipif(find_spec('snnkern._cuda') is None, reason='snnkern._cuda is not built (no nvcc)')


def rows():
    """Every size of every family, with architectures, dtypes, layouts and orders shuffled."""
    random, axes = Random(0), (ARCHITECTURES, DTYPES, LAYOUTS, SEEDS)
    for family in FAMILIES:
        columns = [list(islice(cycle(axis), len(SIZES))) for axis in axes]
        for column in columns:
            random.shuffle(column)
        yield from ((family, *row) for row in zip(SIZES, *columns, strict=True))


def name(value):
    return str(value).removeprefix('torch.').replace(' ', '_')


def marked(often, in_ci, usual=ARCHITECTURES):
    """Rows as parameters; one of `often` runs by default if its architecture is a usual one, one of `in_ci` in CI."""
    for i, row in enumerate(rows()):
        turn = i + i // len(SIZES)  # families begin at different sizes
        always = turn % often == 0 and row[2] in usual
        marks = () if always else pytest.mark.slow if turn % in_ci == 0 else EXHAUSTIVE
        yield pytest.param(row[2], row, id='-'.join(map(name, row)), marks=marks)


CUDA = list(marked(2, 1, USUAL))
TRITON = list(marked(40, 10))


def test_rows_hold_every_pair():
    """Of any two of family, architecture, dtype, size, layout and order."""
    axes = FAMILIES, SIZES, ARCHITECTURES, DTYPES, LAYOUTS, SEEDS
    for i, j in combinations(range(len(axes)), 2):
        missing = {(a, b) for a in axes[i] for b in axes[j]} - {(row[i], row[j]) for row in rows()}
        assert not missing


@needs_nvcc
@pytest.mark.parametrize(('gpu', 'row'), CUDA, indirect=['gpu'])
def test_cuda(gpu, row, monkeypatch):
    family, size, _, dtype, order, seed = row
    monkeypatch.setattr(gpu, 'seed', seed)
    gpucases.check('native', family, dtype, size, order)
    assert bool(gpu.runs) == (size > 0)
    if family == 'quick' and size in (8, 1288) and order != 'misaligned':
        assert all('quick' in run.kernel.name for run in gpu.runs)


@pytest.mark.parametrize(('driver', 'row'), TRITON, indirect=['driver'])
def test_triton(driver, row):
    pytest.importorskip('triton')
    family, size, arch, dtype, order, driver.seed = row
    gpucases.check('triton', family, dtype, size, order)
    assert bool(driver.runs) == (size > 0)
    assert all(f'.target sm_{arch}' in compiled.asm['ptx'] for compiled, _ in driver.runs)


def test_no_contraction_triton(driver):
    """a * v + b * x stays three operations, which only machine code shows: PTX leaves it to the assembler."""
    pytest.importorskip('triton')
    case = Case(Neuron(Affine(0.9, 0.7), Binary(0.7), Soft()), N=8)
    forward(triton, case, *case.inputs())
    facts = emulator.facts(driver.runs[0][0].asm['cubin'])
    assert facts.count('FMUL') > 0
    assert facts.count('FFMA') == 0


class Special(Case):
    """Upstream gradients that are NaN, zeros of both signs, or too small to be normal, each beside each input."""

    infinite = False

    def gradients(self, seed=43):
        return tuple(None if g is None else self.mixed(g) for g in super().gradients(seed))

    def mixed(self, t):
        """Special numbers of t's dtype in place of every third, in an order of their own."""
        special = specials(t.dtype)
        special = special if self.infinite else special[~(special.abs() > 2)]
        places = torch.arange(t.numel()).view_as(t)
        return torch.where(places % 3 == 0, special[places // 3 % len(special)], t)


class Infinite(Special):
    """Infinite ones, too."""

    infinite = True


def specials(dtype):
    """NaN, infinities, zeros of both signs, the least and the largest numbers, thresholds and their neighbours."""
    facts, one = torch.finfo(dtype), torch.ones(1, dtype=dtype)
    tiny = facts.smallest_normal * facts.eps
    around = torch.cat([torch.nextafter(one * s, torch.zeros_like(one)) for s in (0.5, 1, 1.5)])
    plain = [torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 0.5, 1.0, 1.5, -0.5, tiny, -tiny, facts.max, -facts.max]
    return torch.cat([torch.tensor([*plain, facts.smallest_normal * 0.75], dtype=dtype), around])


ODD = {
    'IF': Neuron(IF()),
    'LIF': Neuron(LIF(1.5), reset=Soft()),
    'burst': Neuron(IF(), Burst(0.5, 3), Hard(0.1)),
    'signed': Neuron(Affine(0.5, 1.0), Signed(0.5, 3, True, -1.0), Soft(), Sigmoid()),
    'memory': Neuron(Synaptic(0.75, decay=0.5), SignedMemory(0.5, 3), Soft()),
    'delayed': Neuron(Affine(0.5, 1.0), Binary(0.5, strict=True), Delayed()),
}


def check_specials(backend, neuron, dtype, kind=Special):
    special = specials(dtype)
    N = len(special) * 4
    case = kind(neuron, dtype, T=4, N=N, state=True, v0=True)
    x = torch.stack([special.roll(t).repeat(4) for t in range(4)])
    for start in (0.0, torch.nan, 1e-41):
        states = torch.zeros(len(neuron.states), N)
        states[: 1 + neuron.charge.extra] = start  # m is a count
        check(backend, case, x, states)


@needs_nvcc
@pytest.mark.parametrize('dtype', DTYPES, ids=name)
@pytest.mark.parametrize('neuron', ODD)
def test_specials_cuda(gpu, neuron, dtype):
    check_specials(native, ODD[neuron], dtype)


# By turns, since compilers are slow: dtypes are a conversion on the way in and out.
TURNS = [
    pytest.param(neuron, dtype, id=f'{neuron}-{name(dtype)}', marks=() if (i + j) % 6 == 0 else pytest.mark.slow)
    for i, neuron in enumerate(ODD)
    for j, dtype in enumerate(DTYPES)
]


@pytest.mark.parametrize(('neuron', 'dtype'), TURNS)
def test_specials_triton(driver, neuron, dtype):
    pytest.importorskip('triton')
    check_specials(triton, ODD[neuron], dtype)


@needs_nvcc
@pytest.mark.parametrize('neuron', ['IF', 'burst'])
def test_infinite_gradients_cuda(gpu, neuron):
    check_specials(native, ODD[neuron], torch.float32, Infinite)


def test_infinite_gradients_triton(driver):
    pytest.importorskip('triton')
    check_specials(triton, ODD['IF'], torch.float32, Infinite)


def check_special_pool(backend, window, dtype):
    """NaN wins a window, of zeros of both signs the first."""
    special = specials(dtype)
    x = torch.stack([special.roll(t)[:16] for t in range(16)]).view(4, 1, 4, 4, 4)
    run = gpucases.Pool('plain', window)
    (found, grads), (expected, truth) = (run(x.clone(), name) for name in (backend, 'reference'))
    assert_spikes_equal(found[0], expected[0])
    assert (found[0].signbit() == expected[0].signbit())[~expected[0].isnan()].all()
    assert_grads_close(grads[0], truth[0])


@needs_nvcc
@pytest.mark.parametrize('dtype', DTYPES, ids=name)
@pytest.mark.parametrize('window', [(2,), (3, 2, 1)], ids=str)
def test_special_pool_cuda(gpu, window, dtype):
    check_special_pool('native', window, dtype)


def test_special_pool_triton(driver):
    pytest.importorskip('triton')
    check_special_pool('triton', (3, 2, 1), torch.float16)


PROBABILITIES = [0.0, -0.0, 1.0, 1e-45, 2.0**-25, 1 - 2.0**-24, 0.5, torch.nan, torch.inf, -1.0, 2.0, 2.0**-8]


def check_special_draws(backend):
    """A probability of 1 or more always spikes; 0, less and NaN never do."""
    for dtype in DTYPES:
        x = torch.tensor(PROBABILITIES).to(dtype).repeat(16).view(16, -1)
        found = poisson(x, 33, 5, backend=backend, check=False)
        assert_spikes_equal(found, poisson(x, 33, 5, backend='reference', check=False))
        rates = found.mean((0, 1))
        assert rates[[0, 1, 7, 9]].eq(0).all()
        assert rates[[2, 8, 10]].eq(1).all()


@needs_nvcc
def test_special_draws_cuda(gpu):
    check_special_draws('native')


def test_special_draws_triton(driver):
    pytest.importorskip('triton')
    check_special_draws('triton')
