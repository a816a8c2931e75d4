"""Published recipes with layers of their own: definitions spelled out again, and what they gain."""

import copy
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import nn

from snnkern.convert import QCFS, ConversionError, convert
from snnkern.convert.recipe import Recipe, burst
from snnkern.convert.recipes import cos, msat, spicalib, srp
from snnkern.convert.recipes.qcfs import quantised

OWN = {'srp': srp, 'cos': cos, 'spicalib': spicalib, 'msat': msat}
CAUSAL = ('srp', 'spicalib', 'msat')


def chain(activation=nn.ReLU):
    """Two layers of neurons, a pool and a head."""
    torch.manual_seed(1)
    layers = (nn.Conv2d(2, 6, 3), activation(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), activation(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32, 5)).eval()


@pytest.fixture
def x():
    return torch.randn(24, 2, 10, 10)


def one_layer(recipe, x, **arguments):
    """The layer that a recipe makes of a ReLU, clocked for the steps of x [T, B, C]."""
    layer = convert(nn.Sequential(nn.ReLU(), nn.Identity()), x.flatten(0, 1).abs(), recipe(**arguments)).neurons[0]
    layer.constant_input = False
    layer.clock.steps = len(x)
    return layer


def currents(T=12, B=64, C=3):
    """Uneven input, some of it negative on average."""
    return torch.randn(T, B, C) + torch.randn(B, C) * 0.5


def run(layer, x):
    layer.reset()
    return layer.unfold(layer(x.flatten(0, 1)))


def integrate(x, v, theta):
    """Plain IF step by step: spikes (0 or 1), potentials after each step."""
    spikes, potentials = [], []
    for current in x:
        v = v + current
        spikes.append((v >= theta).float())
        v = v - theta * spikes[-1]
        potentials.append(v)
    return torch.stack(spikes), torch.stack(potentials)


# SRP and COS


def test_others_take_learned_thresholds():
    net = chain(lambda: QCFS(4, 0.6))
    for name in ('srp', 'cos'):
        snn = convert(net, torch.randn(8, 2, 10, 10), name)
        assert [layer.v_threshold for layer in snn.neurons] == pytest.approx([0.6, 0.6])
        assert snn.warm_up == (4 if name == 'srp' else 0)


def test_srp_is_its_definition(x):
    """The whole network step by step: tau unmasked steps, masks, a fresh start, T masked steps."""
    net = nn.Sequential(nn.Linear(200, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 4))
    x = x.flatten(1)
    snn = convert(net, x, srp(tau=3), timesteps=5)
    thetas = [layer.v_threshold for layer in snn.neurons]

    def layers(steps, masks):
        s = x.expand(steps, *x.shape)
        lefts = []
        for linear, theta, mask in zip(net[:4:2], thetas, masks, strict=True):
            current = linear(s)
            s, v = integrate(current, theta / 2, theta)
            s = s * theta * mask
            lefts.append(v[-1] > 1e-3 * theta)
        return net[4](s), lefts

    with torch.no_grad():
        _, masks = layers(3, (1.0, 1.0))
        expected, _ = layers(5, [m.float() for m in masks])
        assert 0.05 < 1 - masks[1].float().mean() < 0.95
        torch.testing.assert_close(snn(x, 5), expected.mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('rho', [0, 5])
def test_cos_is_its_definition(rho):
    x = currents()
    layer = one_layer(cos, x, rho=rho)
    x = x * torch.linspace(0, 6, len(x)).view(-1, 1, 1)  # late and strong: some have no time left for their spikes
    theta, steps = layer.v_threshold, rho or len(x)
    s, v = integrate(x[:steps], torch.full_like(x[0], theta / 2), theta)
    u, left, count = v / theta + s, v[-1] / theta, s.sum(0)
    least = torch.where(s > 0, u, torch.inf).amin(0)
    most = torch.where(s > 0, -torch.inf, v / theta).amax(0)
    down = (left < 0) & (count > 0)
    up = (left >= 1) & (count < steps)
    start = 0.5 - down * (least - 0.999).clamp_min(1).where(down, 0.0) + (1.001 - most).clamp_min(1).where(up, 0.0)
    assert down.float().mean() > 0.02
    assert up.float().mean() > 0.02
    expected, _ = integrate(x, start * theta, theta)
    got = run(layer, x) / theta
    assert (got.round() != expected).float().mean() < 1e-3  # potentials within rounding of a threshold
    changed = expected[:steps].sum(0) - count
    assert (changed[down] <= -1).all()
    assert (changed[up] >= 1).all()


def test_cos_iterations_take_one_spike_more_each():
    # Two weak spikes, then inhibition: both are too many, and one shift takes but one away.
    x = torch.tensor([0.6, 1.0, -2.0]).view(3, 1, 1)
    layer = one_layer(cos, x)
    counts = []
    for iterations in (1, 2):
        layer.set(burst_of(1.0), {}, 0.5)
        layer.options['iterations'] = iterations
        counts.append(run(layer, x).sum().item())
    assert counts == [1.0, 0.0]


def burst_of(theta):
    net = nn.Sequential(nn.ReLU())
    return convert(net, torch.full((2, 1), theta), Recipe('', lambda site: burst(site, theta, 1))).neurons[0].neuron


def deep(activation):
    """Five layers of neurons, so that spikes arrive unevenly."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 12, 3, padding=1)]
    for _ in range(5):
        layers += [activation(), nn.Conv2d(12, 12, 3, padding=1)]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1200, 10))


def errors(net, x, T, *recipes):
    """Relative errors of the outputs after T steps."""
    with torch.no_grad():
        y = net(x)
        return [((convert(net, x, recipe, T)(x, T) - y).norm() / y.norm()).item() for recipe in recipes]


PLAIN = Recipe('plain', lambda site: burst(site, quantised(site), 1))


@pytest.mark.parametrize('T', [2, 4])
@pytest.mark.parametrize('activation', [nn.ReLU, lambda: QCFS(4, 1.0)], ids=['relu', 'qcfs'])
def test_corrections_reduce_the_error(x, T, activation):
    """Against plain IF from theta / 2 at the same thresholds."""
    plain, *corrected = errors(deep(activation), x, T, PLAIN, srp(), cos())
    assert max(corrected) < 0.95 * plain


def test_cos_removes_all_unevenness(x):
    """With T = levels, enough shifts leave what QCFS computes."""
    plain, once, often = errors(deep(lambda: QCFS(4, 1.0)), x, 4, PLAIN, cos(), cos(iterations=3))
    assert plain > 0.3
    assert once < 0.1
    assert often < 1e-3


# SpiCalib and MSAT


@pytest.fixture(scope='module')
def braincogs_spicalib():
    """BrainCog's SpiCalib, from its file: the package takes half a minute to import."""
    found = find_spec('braincog')
    if found is None:
        pytest.skip('BrainCog is not installed: no oracle')
    file = Path(found.submodule_search_locations[0]) / 'base' / 'conversion' / 'spicalib.py'
    spec = spec_from_file_location('braincogs_spicalib', file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SpiCalib


@pytest.mark.parametrize('allowance', [1, 3])
def test_spicalib_is_braincogs(braincogs_spicalib, allowance):
    x = currents(T=40)
    layer = one_layer(spicalib, x, allowance=allowance)
    calibration, v, expected = braincogs_spicalib(allowance), 0.0, []
    for step in x / layer.v_threshold:
        v = v + step
        s = v.floor().clamp(0, 5)
        v = v - s
        expected.append(calibration(s.clone()))
    assert torch.stack(expected).lt(0).float().mean() > 0.01
    torch.testing.assert_close(run(layer, x) / layer.v_threshold, torch.stack(expected))


def test_spicalib_without_allowance_is_off():
    x = currents(T=20)
    layer = one_layer(spicalib, x, allowance=0)
    assert not layer.loops
    assert (run(layer, x) >= 0).all()


def test_msat_is_its_definition():
    x = currents(T=10)
    layer = one_layer(msat, x, alpha=0.3, ka=0.7, ki=0.5, c=2.0, tau_mp=0.8, tau_rd=1.2, max_spikes=2)
    scale = layer.v_threshold
    v, potentials, expected = torch.zeros_like(x[0]), [], []
    for t, step in enumerate(x / scale):
        theta = torch.ones_like(v)
        if t:
            d = v - torch.stack(potentials).mean(0)
            inner = 0.8 * (0.3 * d - 1 + 0.7 * torch.log(1 + torch.exp(d / 0.5)))
            theta = torch.sigmoid(1.2 * torch.exp(-step / 2.0) + inner)
        s = ((v + step) / theta).floor().clamp(0, 2)
        v = v + step - theta * s
        potentials.append(v)
        expected.append(s * theta * scale)
    torch.testing.assert_close(run(layer, x), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_msat_survives_any_input():
    x = torch.tensor([1e6, -1e6, 0.0, 1.0, -500.0, 1e4]).view(6, 1, 1)
    assert run(one_layer(msat, x), x).isfinite().all()


# All


@pytest.mark.parametrize('name', OWN)
def test_report_of_loops(x, name):
    snn = convert(chain(), x, name)
    assert snn.recipe == name
    assert all(layer.loops == (name in ('spicalib', 'msat')) for layer in snn.neurons)
    assert snn.causal == (name != 'cos')
    assert snn.warm_up == (8 if name == 'srp' else 0)
    assert len(snn.pools) == (name != 'msat')


@pytest.mark.parametrize('name', CAUSAL)
def test_chunks_change_nothing(x, name):
    snn = convert(chain(), x, name)
    whole = snn(x, 7)
    streamed = [out for _, out in snn.steps(x, 7)]
    torch.testing.assert_close(streamed[-1], whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(streamed[2], snn(x, 3), rtol=1e-4, atol=1e-5)
    snn.chunk_bytes = 1
    torch.testing.assert_close(snn(x, 7), whole, rtol=1e-4, atol=1e-5)
    stopped = snn.steps(x, 7)
    next(stopped)
    stopped.close()
    torch.testing.assert_close(snn(x, 7), whole)


def test_cos_needs_all_steps(x):
    snn = convert(chain(), x, 'cos')
    with pytest.raises(ValueError, match=r'chunk must be >= T = 6 for recipe cos'):
        next(snn.steps(x, 6, chunk=1))
    answers = [out for _, out in snn.steps(x, 6, chunk=6)]
    torch.testing.assert_close(answers[-1], snn(x, 6))


@pytest.mark.parametrize('name', OWN)
def test_random_state_and_model_stay(x, name):
    net = chain()
    before, weights = torch.get_rng_state(), copy.deepcopy(net.state_dict())
    convert(net, x, name)(x, 3)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize('name', OWN)
def test_leaky_is_refused(name):
    net = nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.1))
    with pytest.raises(ConversionError, match=f'module 1 .LeakyReLU. is leaky, and recipe {name}'):
        convert(net, torch.randn(4, 3), name)


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: srp(tau=-1), 'tau'),
        (lambda: cos(rho=-1), 'rho'),
        (lambda: cos(iterations=0), 'iterations'),
        (lambda: spicalib(allowance=-1), 'allowance'),
        (lambda: spicalib(max_spikes=0), 'max_spikes'),
        (lambda: msat(ki=0.0), 'ki'),
    ],
)
def test_bad_arguments(make, named):
    with pytest.raises(ValueError, match=named):
        make()
