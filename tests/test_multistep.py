"""Native CPU, on every instruction set, against the reference: spikes, states, gradients."""

from dataclasses import replace

import pytest
import torch
from cases import CASES, FEW, NEURONS, Case, pairwise
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snnkern import (
    IF,
    LIF,
    PLIF,
    STE,
    Adaptive,
    Affine,
    ATan,
    Binary,
    Burst,
    Delayed,
    Hard,
    Integer,
    Neuron,
    NoReset,
    Rectangle,
    Sigmoid,
    Signed,
    SignedMemory,
    Soft,
    Synaptic,
    Ternary,
    Triangle,
)
from snnkern.functional import multistep
from snnkern.testing import assert_grads_close, assert_spikes_equal

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SIZES = pairwise(FEW, (0, 1, 31, 33, 1000, 4099), (1, 3, 4, 16, 17, 40), DTYPES, (False, True), (False, True))


def compare(case, x, v0):
    """Everything that one call gives equals or is close to what the reference gives."""
    check(case, *(outcome(case, x, v0, name, case.gradients()) for name in ('native', 'reference')))


def check(case, found, expected):
    """Equal spikes and states, close gradients."""
    for actual, wanted in zip(found[0], expected[0], strict=True):
        assert_spikes_equal(actual, wanted)
    for actual, wanted in zip(found[1], expected[1], strict=True):
        assert_grads_close(actual, wanted, case.dtype)
    if expected[2]:  # together: one of them alone may cancel to nothing
        actual, wanted = (torch.cat([g.flatten() for g in side[2]]) for side in (found, expected))
        assert_grads_close(actual, wanted, 'sums')


def both(x, neuron, **arguments):
    """Pairs of what native CPU and the reference give: spikes, last states."""
    arguments |= {'neuron': neuron, 'return_state': True}
    return zip(*(multistep(x, backend=b, **arguments) for b in ('native', 'reference')), strict=True)


def outcome(case, x, v0, backend, grads):
    """(s, states or nothing, v of all steps or nothing), gradients of x, v0 and coefficients, as far as there are."""
    x, v0 = x.detach().requires_grad_(), None if v0 is None else v0.detach().requires_grad_()
    start, T = v0 if v0 is None or len(v0) > 1 else v0[0], (case.T if case.constant else None)
    rows = {name: row.requires_grad_() for name, row in case.tensors().items()}
    options = {'return_state': case.state, 'return_v_seq': case.v_seq, 'coefficients': rows, 'channel_dim': 1}
    result = multistep(x[0] if case.constant else x, case.neuron, v0=start, T=T, backend=backend, **options)
    result = result if isinstance(result, tuple) else (result,)
    single = len(case.neuron.states) == 1
    upstream = grads[0], grads[1] if grads[1] is None or not single else grads[1][0], grads[2]
    inputs = [t for t in (x, v0) if t is not None]
    found = torch.autograd.grad(
        result, [*inputs, *rows.values()], [g for g in upstream if g is not None], materialize_grads=True
    )
    return result, found[: len(inputs)], found[len(inputs) :]


@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.usefixtures('poisoned')
def test_case(case, isa):
    compare(case, *case.inputs())


@pytest.mark.parametrize(('case', 'N', 'T', 'dtype', 'v0', 'state'), SIZES)
@pytest.mark.usefixtures('poisoned')
def test_sizes(case, N, T, dtype, v0, state, isa):
    case = replace(case, N=N, T=T, dtype=dtype, v0=v0, state=state)
    compare(case, *case.inputs())


LARGE = [
    (torch.float32, 300_001, False),  # rows at every alignment
    (torch.float32, 299_968, False),  # whole cache lines: streamed as they are computed
    (torch.float32, 299_968, True),
    (torch.float16, 600_001, True),
    (torch.bfloat16, 600_001, False),
    (torch.bfloat16, 599_936, False),
    (torch.bfloat16, 599_936, True),
]


@pytest.mark.parametrize(('dtype', 'N', 'constant'), LARGE)
@pytest.mark.usefixtures('poisoned', 'two_threads')
def test_many_tiles_around_the_cache(dtype, N, constant, cpu):
    """From 4 MiB on outputs are streamed."""
    case = Case(Neuron(surrogate=Triangle()), dtype, 7, N, True, True, constant)
    assert case.T * case.N * dtype.itemsize >= 1 << 22
    x, v0 = case.inputs()
    expected = outcome(case, x, v0, 'reference', case.gradients())
    for name in cpu.instruction_sets():
        cpu.choose_instruction_set(name)
        check(case, outcome(case, x, v0, 'native', case.gradients()), expected)


@pytest.mark.usefixtures('two_threads')
def test_threads_change_nothing():
    case = Case(Neuron(), T=5, N=100_003, v0=True, state=True)
    x, v0 = case.inputs()
    two = outcome(case, x, v0, 'native', case.gradients())
    torch.set_num_threads(1)
    one = outcome(case, x, v0, 'native', case.gradients())
    for a, b in zip((*two[0], *two[1]), (*one[0], *one[1]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('T', [1, 4, 40])
def test_float64_runs_on_the_reference(T):
    x, v0 = torch.randn(T, 33, dtype=torch.double), torch.randn(33, dtype=torch.double)
    s, v = multistep(x, Neuron(), v0=v0, return_state=True)
    assert s.dtype == v.dtype == torch.double
    assert torch.equal(s.float(), multistep(x.float(), Neuron(), v0=v0.float()))


INF = torch.inf
SPECIAL = [torch.nan, INF, -INF, 0.0, -0.0, 1e-42, -1e-42, 1e38, -1e38, 3.4e38, 1.0, 0.7, 0.5, 2.0]


@pytest.mark.parametrize('neuron', NEURONS[:24], ids=lambda n: n.spec.replace(' ', '_'))
@pytest.mark.usefixtures('poisoned')
def test_special_values(neuron, isa):
    """NaN, infinities, denormals and huge numbers: as input, and as potential that meets ordinary input."""
    values = torch.tensor(SPECIAL)
    x = torch.cartesian_prod(values, values, torch.tensor([0.3, -0.2, 5.0])).T.contiguous()
    v0 = values.repeat(x.shape[1] // len(values))
    case = Case(neuron, T=3, N=x.shape[1], v0=True, state=True)
    for start in (None, v0):
        for actual, expected in both(x, neuron, v0=start):
            assert_spikes_equal(actual, expected)
    finite = x.isfinite().all(0) & (x.abs() < 1e30).all(0)
    clean = replace(case, N=int(finite.sum()), v0=False)
    compare(clean, x[:, finite], None)


@pytest.mark.parametrize('theta', [1.0, 0.7, 0.1, 1 / 3, 1e-3, 123.4])
@pytest.mark.parametrize('kind', [Binary, Burst])
def test_at_the_threshold(theta, kind, isa):
    """h just below, at and just above each multiple of theta."""
    levels = (torch.arange(-2, 9, dtype=torch.double) * theta).float()
    near = [levels]
    for _ in range(3):
        near = [levels, *(torch.nextafter(t, torch.tensor(far)) for t in near for far in (-INF, INF))]
    x = torch.cat(near).unsqueeze(0)
    for reset in (Hard(), Soft()):
        neuron = Neuron(IF(), kind(theta), reset)
        for actual, expected in both(x, neuron):
            assert_spikes_equal(actual, expected)


def every(dtype):
    """All 65536 numbers, [1, 65536]."""
    return torch.arange(65536).to(torch.int32).to(torch.int16).view(dtype).unsqueeze(0)


# Emitted values of their own for most of the numbers; thresholds that half precision has not.
@pytest.mark.parametrize('fire', [Burst(2.0**-8, 1 << 15, real_units=True), *(Binary(v, True) for v in (0.3, 3.4e38))])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_every_half_value(dtype, fire, isa):
    """All 65536 numbers go in as currents."""
    with torch.no_grad():
        for actual, expected in both(every(dtype), Neuron(IF(), fire, Soft(), Rectangle())):
            assert_spikes_equal(actual, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_every_half_gradient(dtype, isa):
    """All 65536 numbers come in as gradients of spikes; halves of them go out, NaN and subnormal ones too."""
    x = torch.zeros(1, 65536, dtype=dtype, requires_grad=True)
    neuron = Neuron(LIF(2.0), Binary(), Soft(), STE())
    native, reference = (
        torch.autograd.grad(multistep(x, neuron, backend=b), x, every(dtype))[0] for b in ('native', 'reference')
    )
    assert torch.equal(native.nan_to_num(), reference.nan_to_num())
    assert torch.equal(native.isnan(), every(dtype).isnan())


@pytest.mark.parametrize('tau', [2.0**-3, 1.0, 1.5, 2.0, 3.0, 2.0**20])
@pytest.mark.parametrize('dtype', DTYPES)
def test_tau_is_divided_by(dtype, tau, isa):
    """A power of two is multiplied by its inverse, which is the same to the bit."""
    x = torch.randn(6, 1000, generator=torch.Generator().manual_seed(1)).to(dtype)
    for decay_input, v_rest in ((True, 0.0), (False, 0.2)):
        neuron = Neuron(LIF(tau, v_rest=v_rest, decay_input=decay_input), Binary(0.3), Hard(-0.1))
        for actual, expected in both(x, neuron):
            assert torch.equal(actual, expected)


@pytest.mark.parametrize('v0', [0.5, -1, 1e9])
def test_v0_number(v0):
    x = torch.randn(4, 5, 7)
    expected = multistep(x, Neuron(), v0=torch.full((5, 7), float(v0)), return_state=True)
    for actual, other in zip(multistep(x, Neuron(), v0=v0, return_state=True), expected, strict=True):
        assert_spikes_equal(actual, other)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_v0_of_another_dtype(dtype):
    x, v0 = torch.randn(4, 33), torch.randn(33).to(dtype).requires_grad_()
    s, v = multistep(x, Neuron(), v0=v0, return_state=True)
    assert v.dtype == torch.float32
    assert torch.equal(s, multistep(x, Neuron(), v0=v0.float()))
    v.sum().backward()
    assert v0.grad.dtype == dtype
    assert v0.grad.count_nonzero()


@pytest.mark.parametrize('reset', [Hard(-0.3), Soft()])
def test_no_v0_starts_at_v_reset(reset):
    x = torch.randn(4, 33)
    neuron = Neuron(reset=reset)
    assert torch.equal(multistep(x, neuron), multistep(x, neuron, v0=reset.v_start))


def test_state_continues_a_sequence():
    """Two halves with the state between them are the whole, gradients included."""
    x = torch.randn(20, 33, requires_grad=True)
    whole = multistep(x, Neuron())
    first, v = multistep(x[:7], Neuron(), return_state=True)
    halves = torch.cat([first, multistep(x[7:], Neuron(), v0=v)])
    assert torch.equal(whole, halves)
    upstream = torch.randn_like(whole)
    expected, actual = (torch.autograd.grad(s, x, upstream)[0] for s in (whole, halves))
    assert_grads_close(actual, expected)


def test_inputs_stay():
    for case in (Case(Neuron(), T=17, N=99, v0=True, state=True, v_seq=True), FEW[3]):
        x, v0 = case.inputs()
        grads = case.gradients()
        given = [t for t in (x, v0, *grads) if t is not None]
        before = [t.clone() for t in given]
        outcome(case, x, v0, 'native', grads)
        for t, old in zip(given, before, strict=True):
            assert torch.equal(t, old)


number = st.floats(-1.5, 1.5).map(lambda value: round(value, 2))
positive = st.floats(0.1, 5.0).map(lambda value: round(value, 2))
charges = st.one_of(
    st.builds(IF, number),
    st.builds(LIF, positive, number, st.booleans(), number),
    st.builds(PLIF, number, number, st.booleans(), number),
    st.builds(Affine, number, number, number),
    st.builds(Synaptic, number, number, number, number, st.booleans()),
)
limits = st.integers(1, 6)
below = st.floats(-3.0, 0.0).map(lambda value: round(value, 2))
bursts = st.one_of(*(st.builds(kind, positive, limits, st.booleans()) for kind in (Burst, Ternary, Integer)))
signed = st.one_of(
    *(st.builds(kind, positive, limits, st.booleans(), below, positive) for kind in (Signed, SignedMemory))
)
fires = st.one_of(
    st.builds(Binary, number, st.booleans(), st.booleans()),
    bursts,
    signed,
    st.builds(Adaptive, number, number, number, st.booleans()),
)
resets = st.one_of(st.builds(Hard, number, st.booleans()), *(st.builds(kind) for kind in (Soft, NoReset, Delayed)))
surrogates = st.one_of(*(st.builds(kind, positive) for kind in (ATan, Sigmoid, Triangle)))


@settings(max_examples=150)
@given(
    charge=charges,
    fire=fires,
    reset=resets,
    surrogate=surrogates,
    T=st.integers(1, 20),
    shape=st.lists(st.integers(0, 12), max_size=3),
    seed=st.integers(0, 99),
)
def test_any_neuron_of_any_shape(charge, fire, reset, surrogate, T, shape, seed):
    assume(not (reset.delayed and fire.extra))
    g = torch.Generator().manual_seed(seed)
    neuron = Neuron(charge, fire, reset, surrogate)
    x = torch.randint(-20, 40, (T, *shape), generator=g) / 10
    for actual, expected in both(x, neuron):
        assert_spikes_equal(actual, expected)
