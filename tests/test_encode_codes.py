"""Direct, latency, phase, burst and population coding against other packages and against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnkern import encode, nn

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
GRID = torch.linspace(0, 1, 101)
MIXED = torch.cat([GRID, torch.rand(400, generator=torch.Generator().manual_seed(1))]).view(3, 167)
STEPS = (1, 2, 3, 8, 20)


def spikingjelly():
    return pytest.importorskip('spikingjelly.activation_based.encoding', reason='SpikingJelly is not installed')


def spikegen():
    return pytest.importorskip('snntorch.spikegen', reason='snnTorch is not installed')


def braincog(kind, T):
    """BrainCog's encoder, which lacks the attribute that it reads."""
    encoder = pytest.importorskip('braincog.base.encoder.encoder', reason='BrainCog is not installed')
    found = encoder.Encoder(T, kind)
    found.device = 'cpu'
    return found.fun


def test_direct_is_a_view():
    x = torch.rand(2, 3, requires_grad=True)
    s = encode.direct(x, 5)
    assert s.shape == (5, 2, 3)
    assert s.stride(0) == 0
    assert s.data_ptr() == x.data_ptr()
    s.sum().backward()
    assert x.grad.eq(5).all()
    assert encode.direct(torch.arange(3), 2).tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize('T', STEPS)
def test_linear_latency_is_spikingjellys(T):
    theirs = spikingjelly().LatencyEncoder(T).single_step_encode(MIXED)
    assert torch.equal(encode.latency(MIXED, T), theirs)


@pytest.mark.parametrize('T', STEPS)
def test_log_latency_is_spikingjellys(T):
    """In float64: they round where alpha x + 1 is large, we do not."""
    x = MIXED.double()
    theirs = spikingjelly().LatencyEncoder(T, 'log').single_step_encode(x)
    assert torch.equal(encode.latency(x, T, 'log'), theirs)


def test_log_latency_does_not_overflow():
    """alpha is 10^86 for 200 steps, and beyond float64 for 1000."""
    x = torch.tensor([0.0, 1e-30, 0.5, 1.0])
    for T in (200, 1000):
        steps = encode.latency(x, T, 'log').argmax(0)
        assert steps.tolist() == [T - 1, 69, 1, 0]


@pytest.mark.parametrize('threshold', [0.01, 0.3])
@pytest.mark.parametrize('T', STEPS[1:])
def test_linear_latency_is_snntorchs(T, threshold):
    theirs = spikegen().latency(MIXED, T, threshold, normalize=True, linear=True, clip=True)
    assert torch.equal(encode.latency(MIXED, T, threshold=threshold), theirs)


@pytest.mark.parametrize('threshold', [0.01, 0.25])
@pytest.mark.parametrize('tau', [0.5, 1.0, 5.0])
@pytest.mark.parametrize('T', STEPS)
def test_rc_latency_is_snntorchs(T, tau, threshold):
    """But just above the threshold, where they add 1e-7."""
    x = MIXED[(MIXED - threshold).abs() > 1e-5]
    theirs = spikegen().latency(x, T, threshold, tau, clip=True, bypass=True)
    assert torch.equal(encode.latency(x, T, 'rc', threshold, tau), theirs)


@pytest.mark.parametrize('T', STEPS)
def test_ttfs_is_braincogs(T):
    assert torch.equal(encode.ttfs(MIXED, T), braincog('ttfs', T)(MIXED))
    assert torch.equal(encode.ttfs(MIXED, T, weighted=False), (encode.ttfs(MIXED, T) > 0).float())
    assert encode.ttfs(MIXED, T).count_nonzero(0).equal((MIXED > 0).long())


def eighths(bits=8):
    """All values that a period holds, as ours and as fractions of 2^bits, which the others take."""
    k = torch.arange(2**bits)
    return k / (2**bits - 1), k / 2**bits


@pytest.mark.parametrize('bits', [1, 3, 8])
def test_phase_is_spikingjellys(bits):
    ours, theirs = eighths(bits)
    expected = spikingjelly().WeightedPhaseEncoder(bits).single_step_encode(theirs)
    assert torch.equal(encode.phase(ours, bits, bits, first=None), expected)


@pytest.mark.parametrize('T', [1, 7, 8, 20])
def test_phase_is_braincogs(T):
    ours, theirs = eighths()
    assert torch.equal(encode.phase(ours, T, first=1.0), braincog('phase', T)(theirs))


@pytest.mark.parametrize('dtype', FLOATS, ids=str)
def test_phase_adds_up(dtype):
    """1.0 is all bits: int(256 x) has none of the lower eight."""
    x = MIXED.to(dtype)
    found = encode.phase(x, 8)
    wide = torch.promote_types(dtype, torch.float32)
    expected = (255 * x.to(wide)).round() / 255
    torch.testing.assert_close(found.to(wide).sum(0) * (256 / 255), expected)
    assert found[:, x == 1].ne(0).all()
    assert found.dtype == dtype
    assert torch.equal(encode.phase(x, 19)[8:16], found)


@given(
    x=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9),
    T=st.integers(1, 40),
    max_spikes=st.integers(1, 7),
    t_min=st.integers(1, 5),
    more=st.none() | st.integers(0, 12),
)
def test_burst_is_its_formula(x, T, max_spikes, t_min, more):
    t_max = None if more is None else t_min + more
    arguments = torch.tensor(x), T, max_spikes, t_min, t_max
    if (max_spikes - 1) * t_min >= T:
        with pytest.raises(ValueError, match=r'^T must be > \(max_spikes - 1\) \* t_min'):
            encode.burst(*arguments)
        return
    longest = t_max or max(t_min, (T - 1) // max(1, max_spikes - 1))
    found = encode.burst(*arguments)
    for value, spikes in zip(torch.tensor(x), found.T, strict=True):  # in float32, as the encoder computes
        count = math.ceil((max_spikes * value).item())
        interval = math.ceil((longest - (longest - t_min) * value).item())
        expected = [k * interval for k in range(count) if k * interval < T]
        assert spikes.nonzero().flatten().tolist() == expected
        assert t_max is not None or len(expected) == count


def test_bursts_grow_with_intensity():
    s = encode.burst(torch.linspace(0, 1, 50), 40)
    assert s.sum(0).diff().ge(0).all()
    assert s.sum(0)[[0, -1]].tolist() == [0, 5]
    assert s[:, -1].nonzero().flatten().tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(('neurons', 'low', 'high'), [(3, 0.0, 1.0), (8, -2.0, 3.0), (20, 0.5, 0.75)])
def test_fields(neurons, low, high):
    """Centres are symmetric about the range, the outermost half a spacing outside; each is 1 at its own centre."""
    spacing = (high - low) / (neurons - 2)
    centres = torch.tensor([low + (2 * i - 3) / 2 * spacing for i in range(1, neurons + 1)], dtype=torch.float64)
    a = encode.population_activity(centres, neurons, low, high)
    torch.testing.assert_close(a.diagonal(), torch.ones(neurons).double())
    expected = math.exp(-(1.5**2) / 2)  # sigma is two thirds of the spacing
    torch.testing.assert_close(a.diagonal(1), torch.full((neurons - 1,), expected).double())
    torch.testing.assert_close(centres[0] - low, high - centres[-1])


@pytest.mark.parametrize('v_threshold', [0.8, 0.999])
@pytest.mark.parametrize('backend', [None, 'reference'])
def test_population_voltage_is_spikingjellys(v_threshold, backend):
    x = torch.rand(40, 6)
    coder = spikingjelly().PopSpikeEncoderDeterministic(6, 10, 12, (-0.5 / 8, 1 + 0.5 / 8), 1 / 12)
    coder.neurons.v_threshold = v_threshold
    theirs = coder(x).detach().view(12, 40, 6, 10)
    ours = encode.population(x, 12, 10, code='voltage', v_threshold=v_threshold, backend=backend)
    assert (ours != theirs).float().mean() < 1e-3  # centres by linspace, the square after the division
    assert 0.1 < ours.mean() < 0.9


def test_population_voltage_is_braincogs():
    """Their neurons count from 0 in a formula that counts from 1: our first one is their second."""
    coding = pytest.importorskip('braincog.base.encoder.population_coding', reason='BrainCog is not installed')
    x = torch.cat([torch.zeros(1, 5), torch.ones(1, 5), torch.rand(30, 5)])
    theirs, _ = coding.PEncoder(15, 'population_voltage')(x, 9, 0.9)
    ours = encode.population(x, 15, 9, code='voltage', v_threshold=0.9)
    assert (ours[..., :-1] != theirs.movedim(1, -1)[..., 1:]).float().mean() < 1e-3


def test_population_time():
    """The most active neuron first, those hardly active never."""
    x = torch.rand(50, 3)
    a = encode.population_activity(x, 7)
    s = encode.population(x, 10, 7)
    assert s.shape == (10, 50, 3, 7)
    assert torch.equal(s.sum(0), ((10 * (1 - a)).round() < 10).float())
    fired = s.sum(0) > 0
    assert torch.equal(s.argmax(0)[fired], (10 * (1 - a)).round().long()[fired])
    assert (s.argmax(0)[..., None].masked_fill(~fired[..., None], 99).amin((-1, -2)) <= 5).all()


def test_gradients_reach_x_through_the_voltage():
    x = torch.rand(4, 3, requires_grad=True)
    encode.population(x, 8, code='voltage').sum().backward()
    assert x.grad.count_nonzero() == 12


CODES = {
    'latency': encode.Latency(9),
    'log': encode.Latency(9, 'log'),
    'rc': encode.Latency(9, code='rc', tau=3.0),
    'ttfs': encode.TTFS(9),
    'phase': encode.Phase(9),
    'burst': encode.Burst(9),
    'population': encode.Population(9, neurons=4),
    'voltage': encode.Population(9, neurons=4, code='voltage'),
}


@pytest.mark.parametrize('dtype', FLOATS, ids=str)
@pytest.mark.parametrize('name', CODES)
def test_dtypes_layouts_sizes(name, dtype):
    """Computed in float32 at least; any layout, no elements, one."""
    module = CODES[name]
    x = torch.rand(2, 3, 4, 5).to(dtype)
    found = module(x)
    assert found.dtype == dtype
    wide = torch.promote_types(dtype, torch.float32)
    assert torch.equal(found, module(x.to(wide)).to(dtype))
    assert torch.equal(module(x.to(memory_format=torch.channels_last)), found)
    assert torch.equal(module(x[..., ::2]), found[:, :, :, :, ::2])
    assert torch.equal(module(x[0, 0, 0, 0]), found[:, 0, 0, 0, 0])
    assert module(x[:0]).shape == (9, 0, *found.shape[2:])
    assert (found != 0).any(0).float().mean() > 0.3


@pytest.mark.parametrize('name', ['latency', 'log', 'rc', 'ttfs', 'phase', 'burst', 'population'])
def test_nan_never_spikes(name):
    module = CODES[name]
    module = type(module)(**{**module.options(), 'check': False})
    found = module(torch.tensor([[torch.nan, 0.7]]))
    assert name == 'phase' or found[:, 0, 0].eq(0).all()
    assert found[:, 0, 1].any()


@pytest.mark.parametrize('name', CODES)
def test_compile(name):
    torch._dynamo.reset()
    x = torch.rand(2, 3)
    compiled = torch.compile(CODES[name], fullgraph=True, backend='aot_eager')
    assert torch.equal(compiled(x), CODES[name](x))


def test_in_a_network():
    net = torch.nn.Sequential(encode.Direct(4), nn.LIF())
    assert net(torch.rand(2, 3)).shape == (4, 2, 3)
    assert net.state_dict() == {}


X = torch.rand(2, 3)
INTENSITY = [encode.latency, encode.ttfs, encode.phase, encode.burst]
LOW = r'x must lie in \[0, 1\], got values from -\d'


@pytest.mark.parametrize('function', INTENSITY)
def test_intensities_are_checked(function):
    with pytest.raises(ValueError, match=f'^{LOW}'):
        function(X - 2, 9)
    with pytest.raises(ValueError, match=r'^x must lie in \[0, 1\], got NaN'):
        function(X * torch.nan, 9)
    with pytest.raises(TypeError, match=r'^x must be float32, .* got torch.int64: divide by 255'):
        function(torch.arange(3), 9)
    with pytest.raises(ValueError, match=r'^T must be >= 1, got 0'):
        function(X, 0)
    assert function(X - 2, 9, check=False).shape == (9, 2, 3)


WRONG = [
    (encode.direct, ([1.0], 3), {}, TypeError, 'x must be a tensor, got list'),
    (encode.direct, (X, -1), {}, ValueError, 'T must be >= 1, got -1'),
    (encode.latency, (X, 4, 'ln'), {}, ValueError, "code must be one of linear, log, rc, got 'ln'"),
    (encode.latency, (X, 4, 'rc', 0.0), {}, ValueError, r'threshold must lie in \(0, 1\), got 0\.0'),
    (encode.latency, (X, 4), {'threshold': 1.0}, ValueError, r'threshold must lie in \[0, 1\), got 1\.0'),
    (encode.latency, (X, 4, 'rc'), {'tau': 0.0}, ValueError, r'tau must be > 0, got 0\.0'),
    (encode.phase, (X, 4, 17), {}, ValueError, 'bits must be <= 16, got 17'),
    (encode.phase, (X, 4), {'first': -1.0}, ValueError, r'first must be > 0, got -1\.0'),
    (encode.burst, (X, 8), {}, ValueError, r'T must be > \(max_spikes - 1\) \* t_min = 8, got 8'),
    (encode.burst, (X, 9), {'t_max': 1}, ValueError, 't_max must be >= 2, got 1'),
    (encode.burst, (X, 9, 0), {}, ValueError, 'max_spikes must be >= 1, got 0'),
    (encode.population, (X, 9, 0), {}, ValueError, 'neurons must be >= 3, got 0'),
    (encode.population, (X, 9, 4, 1.0, 1.0), {}, ValueError, r'low must be < high, got 1\.0 and 1\.0'),
    (encode.population, (X + 1, 9), {}, ValueError, r'x must lie in \[0, 1\], got values from 1\.'),
    (encode.population, (X, 9), {'code': 'rate'}, ValueError, "code must be one of time, voltage, got 'rate'"),
    (encode.population, (X, 9), {'v_threshold': 0.0}, ValueError, r'v_threshold must be > 0, got 0\.0'),
]


@pytest.mark.parametrize(('function', 'arguments', 'named', 'error', 'text'), WRONG)
def test_errors(function, arguments, named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        function(*arguments, **named)
