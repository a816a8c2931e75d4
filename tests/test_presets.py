"""The modules of the neuron family: step modes, traces, parameters and state in the state_dict, repr, copies."""

import copy
import pickle

import pytest
import torch

import snnkern
from snnkern import Neuron, nn, presets
from snnkern.functional import multistep
from snnkern.testing import assert_grads_close

LAYERS = {
    'IF': nn.IF,
    'LIF': nn.LIF,
    'ParametricLIF': nn.ParametricLIF,
    'Leaky': lambda **o: nn.Leaky(torch.rand(3), learn_beta=True, learn_threshold=True, **o),
    'Leaky(zero)': lambda **o: nn.Leaky(0.8, reset='zero', **o),
    'Synaptic': nn.Synaptic,
    'AdaptiveLIF': nn.AdaptiveLIF,
    'Burst': nn.Burst,
    'SignedIF': lambda **o: nn.SignedIF(0.5, 3, **o),
    'SignedIF(leaky)': lambda **o: nn.SignedIF(0.5, slope=0.5, **o),
    'DoubleSidePLIF': nn.DoubleSidePLIF,
    'BiasLIF': lambda **o: nn.BiasLIF(parametric=True, **o),
    'IntegerLIF': nn.IntegerLIF,
    'Neuron': lambda **o: nn.Neuron(Neuron(), learn={'v_threshold': 'plain', 'c': 'plain'}, channels=3, **o),
}


def inputs(T=9):
    """[T, B, C, L], half of it above threshold."""
    return (torch.randint(-5, 22, (T, 2, 3, 5)) / 10).requires_grad_()


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


def test_single_steps_are_all_steps(make):
    """Spikes, the last state, and gradients of the input and all parameters, through the state."""
    layer = make()
    single = copy.deepcopy(layer)
    single.step_mode = 's'
    x = inputs()
    s = layer(x)
    steps = torch.stack([single(x_t) for x_t in x])
    assert torch.equal(s, steps)
    assert torch.equal(layer.state, single.state)
    assert not layer.state.requires_grad
    assert single.state.requires_grad
    assert 0 < s.abs().mean() < 3
    upstream = torch.randn_like(s)
    found = [
        torch.autograd.grad(out, [x, *m.parameters()], upstream, allow_unused=True, materialize_grads=True)
        for out, m in ((s, layer), (steps, single))
    ]
    assert_grads_close(found[0][0], found[1][0])
    for a, b in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_trace_of_v(make):
    """v_seq is v after every step, and gradients flow through it."""
    layer, single = make(store_v_seq=True), make(step_mode='s', store_v_seq=True)
    single.load_state_dict(layer.state_dict())
    x = inputs()
    layer(x)
    potentials = []
    for x_t in x:
        single(x_t)
        potentials.append(single.v)
    assert single.v_seq is None
    assert torch.equal(layer.v_seq, torch.stack(potentials))
    assert torch.equal(layer.v_seq[-1].detach(), layer.v)
    upstream = torch.randn_like(layer.v_seq)
    actual, expected = (torch.autograd.grad(v, x, upstream)[0] for v in (layer.v_seq, torch.stack(potentials)))
    assert_grads_close(actual, expected)
    layer.reset()
    assert layer.v_seq is None


def test_state_dict_holds_parameters_only(make):
    layer, x = make(), inputs().detach()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.05)
    expected = layer(x)
    names = {name for name, _ in (*layer.named_parameters(), *layer.named_buffers())}
    assert set(layer.state_dict()) == names
    other = make()
    other.load_state_dict(layer.state_dict())
    assert other.state is None
    assert torch.equal(other(x), expected)


def make_like(layer):
    fresh = copy.deepcopy(layer)
    fresh.reset()
    return fresh


def test_state_dict_with_the_state(make):
    layer, other = make(save_state=True), make(save_state=True)
    assert 'state' not in layer.state_dict()
    layer(inputs())
    saved = copy.deepcopy(layer.state_dict())
    assert torch.equal(saved['state'], layer.state)
    other.load_state_dict(saved)
    x = inputs().detach()
    assert torch.equal(layer(x), other(x))
    strict = make()
    with pytest.raises(RuntimeError, match='Unexpected key'):
        strict.load_state_dict(saved)


def test_copies_and_pickles(make):
    layer = make(store_v_seq=True)
    layer(inputs()).sum().backward()
    x = inputs().detach()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(make_like(layer)))):
        expected = make_like(layer)(x)
        other.reset()
        assert torch.equal(other(x), expected)


def test_half_precision_and_other_shapes(make):
    layer = make().half()
    s = layer(inputs().detach().half())
    assert s.dtype == torch.float16
    assert layer.state.dtype == torch.float32
    with pytest.raises(ValueError, match=r'reset\(\) first'):
        layer(torch.zeros(4, 2, 3, 7))


REPRS = {
    'nn.ParametricLIF(3.0)': 'init_tau=3.0, decay_input=True',
    'nn.Leaky(0.8)': 'a=0.8, v_threshold=1.0',
    'nn.Leaky(torch.rand(3))': "tensors='a(3,)'",
    "nn.LIF(step_mode='s', store_v_seq=True)": "step_mode='s', store_v_seq=True",
    'nn.SignedIF(0.5, 3)': 'max_spikes=3',
    "nn.DoubleSidePLIF(compat='sign')": "compat='sign', tensors='k()/alpha()'",
    'nn.AdaptiveLIF(backend="reference")': "backend='reference'",
}


@pytest.mark.parametrize('expression', REPRS)
def test_repr(expression):
    text = repr(eval(expression, {'nn': nn, 'torch': torch}))
    assert REPRS[expression] in text
    assert text.startswith(expression.split('(')[0].split('.')[1])


@pytest.mark.parametrize('name', presets.NEURONS)
def test_presets_run_the_same_everywhere(name):
    neuron, x = presets.NEURONS[name], inputs(20).detach() * 1.5
    s = multistep(x, neuron, backend='native')
    assert torch.equal(s, multistep(x, neuron, backend='reference'))
    assert s.count_nonzero() > 0
    assert Neuron.parse(neuron.spec) == neuron


def test_v_can_be_set():
    layer = nn.Synaptic()
    layer.v = torch.full((2, 3, 5), 0.5)
    assert layer.state.shape == (2, 2, 3, 5)
    x = inputs().detach()
    assert torch.equal(layer(x), multistep(x, layer.neuron, v0=0.5))
    layer.v = torch.zeros(2, 3, 5)
    assert layer.state[1].count_nonzero() > 0  # the current stays


def test_leaky_clamps_beta():
    x = inputs().detach()
    for beta, used in ((1.7, 1.0), (-0.3, 0.0)):
        learned = nn.Leaky(torch.tensor(beta), learn_beta=True)
        assert torch.equal(learned(x), nn.Leaky(used)(x))
        assert torch.equal(nn.Leaky(beta)(x), nn.Leaky(used)(x))


def test_surrogate_function_is_surrogate():
    own = snnkern.Sigmoid(3.0)
    assert nn.LIF(surrogate_function=own).neuron == nn.LIF(surrogate=own).neuron
    assert nn.SignedIF(surrogate_function=own).neuron.surrogate == own


def custom_slope(z):
    return 1 / (1 + z * z)


def test_a_pickled_custom_surrogate_is_its_function():
    """Whatever number it gets where it is loaded."""
    layer = nn.LIF(surrogate=snnkern.Custom.of(custom_slope))
    data = pickle.dumps(layer)
    functions = snnkern.Custom.functions
    before = list(functions)
    functions[:] = [(torch.ones_like, None)]
    try:
        loaded = pickle.loads(data).neuron
        assert loaded.surrogate.functions[loaded.surrogate.number] == (custom_slope, None)
        assert loaded.spec.endswith('Custom(1.0)')
    finally:
        functions[:] = before


def test_modules_on_meta_and_loaded_states(make):
    with torch.device('meta'):
        layer = make()
    assert all(p.is_meta for p in layer.parameters())
    saved, loaded = make(save_state=True), make(save_state=True)
    saved(inputs())
    data = {name: t.to('meta') if name == 'state' else t for name, t in saved.state_dict().items()}
    loaded.load_state_dict(data)
    assert loaded.state.is_meta
    assert loaded.carried(inputs().to('meta')).is_meta


def test_leaky_per_channel():
    assert nn.Leaky(0.8, learn_beta=True, channels=3).a.tolist() == pytest.approx([0.8] * 3)
    layer = nn.Leaky(learn={'a': 'sigmoid'})
    assert layer(inputs().detach()).shape == (9, 2, 3, 5)
