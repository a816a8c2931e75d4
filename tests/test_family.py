"""Behaviour of the neuron family beyond parity: what each neuron is for, coefficients, traces, learning."""

import pytest
import torch

import snnkern
from snnkern import (
    IF,
    LIF,
    PLIF,
    Adaptive,
    Affine,
    ATan,
    Binary,
    Bounded,
    Burst,
    Custom,
    Hard,
    Integer,
    MultiSpike,
    Neuron,
    NoReset,
    Rectangle,
    Sigmoid,
    Signed,
    SignedMemory,
    Soft,
    Synaptic,
    Ternary,
    nn,
)
from snnkern.functional import multistep
from snnkern.testing import assert_grads_close, assert_spikes_equal


def rate(fire, current, T=2000):
    """Mean output for constant currents."""
    return multistep(torch.tensor(current), Neuron(IF(), fire, Soft()), T=T).mean(0)


def test_imbalanced_threshold_is_a_leaky_relu():
    """The numbers of Spiking-YOLO: -.93 -> -.093, -.5 -> -.05, .77 -> .77."""
    found = rate(Signed.leaky(0.1), [-0.93, -0.5, 0.0, 0.77])
    torch.testing.assert_close(found, torch.tensor([-0.093, -0.05, 0.0, 0.77]), rtol=0, atol=2e-3)


def test_memory_takes_back_what_was_emitted_and_no_more():
    x = torch.tensor([[3.2], [-1.0], [-5.0], [-1.0]])
    s, states = multistep(x, Neuron(IF(), SignedMemory(1.0, 5), Soft()), return_state=True)
    assert s.flatten().tolist() == [3, -1, -2, 0]
    assert states[1].item() == 0  # the running sum
    assert (rate(SignedMemory(1.0, 15), [-2.0, -0.1]) == 0).all()


def test_ternary_is_symmetric_and_sign_is_not():
    x = torch.linspace(-3, 3, 25)
    ternary = multistep(x, Neuron(LIF(2.0), Ternary(0.5), Hard()), T=1)[0]
    assert torch.equal(ternary, -ternary.flip(0))
    assert ternary.unique().tolist() == [-1, 0, 1]
    layer = nn.DoubleSidePLIF(compat='sign', step_mode='m')
    assert set(layer(torch.randn(4, 200)).unique().tolist()) == {-1, 1}
    layer.reset()
    assert (layer(torch.full((3, 5), 0.4)) == -1).all()  # as published: silent neurons spike -1 in every step


def test_integer_rounds_halves_to_even():
    x = torch.tensor([-1.0, 0.4, 0.5, 0.6, 1.5, 2.5, 3.49, 9.0])
    s = multistep(x, Neuron(IF(), Integer(1.0, 4), Soft()), T=1)[0]
    assert s.tolist() == [0, 0, 0, 1, 2, 2, 3, 4]


def test_multi_spikes_differentiate_at_the_first_threshold():
    x, burst, multi = torch.tensor([[2.6]]), Burst(1.0, 3), MultiSpike(1.0, 3)
    slopes = [torch.func.grad(lambda x, f=f: multistep(x, Neuron(IF(), f, Soft())).sum())(x) for f in (burst, multi)]
    surrogate = ATan()
    torch.testing.assert_close(slopes[0], sum(surrogate.grad(x - k) for k in (1, 2, 3)))
    torch.testing.assert_close(slopes[1], surrogate.grad(x - 1))
    assert multistep(1000 * x, Neuron(IF(), MultiSpike(), Soft())) == 2600


def test_a_bound_forgets_what_lies_below_it():
    """Of the potential and of its gradient."""
    x = torch.tensor([[-0.2], [-9.0], [0.5]], requires_grad=True)
    _, v = multistep(x, Neuron(IF(), Binary(), Bounded(-0.5, detach=True)), return_v_seq=True)
    torch.testing.assert_close(v, torch.tensor([[-0.2], [-0.5], [0.0]]))
    assert torch.autograd.grad(v[-1], x)[0].tolist() == [[0.0], [0.0], [1.0]]


def test_adaptive_neurons_slow_down():
    """The threshold after n spikes is v_threshold + beta * sum of what is left of them."""
    s = multistep(torch.tensor([0.6]), Neuron(IF(), Adaptive(1.0, 0.5, 0.97), Hard()), T=80)[:, 0]
    assert s[:20].sum() > 1.5 * s[-20:].sum() > 0


def test_delayed_reset_is_that_of_snntorch_by_hand():
    neuron = snnkern.presets.NEURONS['snntorch.Leaky']
    x, u, out = torch.rand(30, 50), torch.zeros(50), []
    for x_t in x:
        u = 0.9 * u + x_t - (u > 1).float()
        out.append((u > 1).float())
    assert_spikes_equal(multistep(x, neuron), torch.stack(out))


def test_detach_v_is_a_detached_loop():
    neuron, x = Neuron(LIF(2.0), Binary(0.5), Hard(0.0, True, detach_v=True)), torch.rand(5, 40, requires_grad=True)
    layer = nn.Neuron(neuron, step_mode='s')
    steps = []
    for x_t in x:
        steps.append(layer(x_t))
        layer.v = layer.v.detach()
    expected, actual = (torch.autograd.grad(s.square().sum(), x)[0] for s in (torch.stack(steps), multistep(x, neuron)))
    assert_grads_close(actual, expected)


def test_custom_surrogate_runs_on_the_reference():
    custom = Custom.of(lambda z: 1 / (1 + (torch.pi * z).square()), lambda z: torch.atan(torch.pi * z) / torch.pi + 0.5)
    assert custom == Custom.of(*Custom.functions[custom.number])
    x = torch.randn(6, 30, requires_grad=True)
    grads = [torch.autograd.grad(nn.LIF(surrogate=s)(x).sum(), x)[0] for s in (custom, ATan(2.0))]
    assert_grads_close(*grads)
    with pytest.raises(RuntimeError, match=r"'native' cannot run multistep, Custom: a custom surrogate is a Python"):
        nn.LIF(surrogate_function=custom, backend='native')(x)
    assert 'multistep, Custom cpu   float32   reference; not native: a custom' in str(snnkern.explain())


LAYOUTS = {
    'contiguous': lambda x: x.contiguous(),
    'channels last': lambda x: x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2]),
    'other': lambda x: x.permute(0, 3, 1, 4, 2).contiguous().permute(0, 2, 4, 1, 3),
    'not dense': lambda x: x.repeat(1, 1, 1, 1, 2)[..., ::2],
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('shape', [(6, 2, 3, 7, 7), (5, 3, 5, 1, 1), (4, 2, 64, 3, 3), (3, 1, 300, 2, 1)])
@pytest.mark.parametrize('steps', [False, True])
@pytest.mark.usefixtures('isa')
def test_coefficients_follow_their_channels(layout, shape, steps):
    neuron = Neuron(Affine(), SignedMemory(0.7, 3), Soft(), Sigmoid())
    x = LAYOUTS[layout](torch.randint(-5, 17, shape) / 10).requires_grad_()
    sizes = (shape[0], shape[2]) if steps else (shape[2],)
    rows = {name: torch.rand(sizes) + 0.4 for name in neuron.coefficients}
    found = []
    for backend in ('native', 'reference'):
        leaves = [row.clone().requires_grad_() for row in rows.values()]
        given = dict(zip(rows, leaves, strict=True))
        s, v = multistep(x, neuron, coefficients=given, return_v_seq=True, backend=backend)
        found.append((s, v, *torch.autograd.grad((s, v), [x, *leaves], (torch.cos(s), torch.sin(v)))))
    for actual, expected in zip(found[0][:2], found[1][:2], strict=True):
        assert_spikes_equal(actual, expected)
    assert_grads_close(found[0][2], found[1][2])
    for actual, expected in zip(found[0][3:], found[1][3:], strict=True):
        assert_grads_close(actual, expected, 'sums')


def test_token_layout():
    """[T, B, N, C] with channel_dim -1."""
    x, theta = torch.rand(4, 2, 7, 5) * 2, torch.rand(5) + 0.5
    s = multistep(x, Neuron(), coefficients={'v_threshold': theta}, channel_dim=-1)
    for c in range(5):
        assert torch.equal(s[..., c], multistep(x[..., c], Neuron(LIF(), Binary(theta[c].item()))))


@pytest.mark.usefixtures('two_threads')
def test_sums_are_the_same_every_time():
    x, w = torch.randn(8, 4, 16, 50, 50), torch.full((16,), 0.3, requires_grad=True)
    run = lambda: torch.autograd.grad(multistep(x, Neuron(PLIF()), coefficients={'k': w}).sum(), w)[0]  # noqa: E731
    first = run()
    assert all(torch.equal(run(), first) for _ in range(5))


def test_what_learns_learns():
    """tau, theta, alpha, bias and BatchNorm-like numbers fit a teacher's rates."""
    torch.manual_seed(1)
    x = torch.rand(20, 64, 4) * 2
    teacher = multistep(x, Neuron(PLIF(0.25, c=0.05), Binary(0.8))).mean(0)
    layer = nn.ParametricLIF(2.0, learn=('c', 'v_threshold'), channels=None)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimiser, losses = torch.optim.Adam(layer.parameters(), 0.02), []
    for _ in range(60):
        layer.reset()
        loss = (layer(x).mean(0) - teacher).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert set(before) == {'w', 'c', 'v_threshold'}
    assert all((p != before[name]).any() for name, p in layer.named_parameters())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    'neuron',
    [
        Neuron(Synaptic(0.8, decay=0.7), Binary(), Hard()),
        Neuron(Synaptic(0.8, 0.5, 0.05, 0.6, delayed=True), SignedMemory(0.5, 4), Soft()),
        Neuron(LIF(3.0), Adaptive(0.6, 0.3, 0.9), Soft()),
        Neuron(IF(), Burst(0.75, 3), NoReset(), Rectangle()),
    ],
    ids=lambda n: n.spec,
)
def test_two_halves_are_the_whole(neuron):
    """All states, and the gradient through them, go from call to call."""
    x = torch.randint(-5, 17, (20, 300)).div(10).requires_grad_()
    whole, last = multistep(x, neuron, return_state=True)
    first, states = multistep(x[:7], neuron, return_state=True)
    second, end = multistep(x[7:], neuron, v0=states, return_state=True)
    assert torch.equal(whole, torch.cat([first, second]))
    assert torch.equal(last, end)
    upstream = torch.randn_like(whole)
    expected, actual = (torch.autograd.grad(s, x, upstream)[0] for s in (whole, torch.cat([first, second])))
    assert_grads_close(actual, expected)


def test_a_given_v0_leaves_the_other_states_at_0():
    neuron, x = Neuron(Synaptic(), Adaptive(), Hard()), torch.rand(5, 7)
    v0 = torch.rand(7)
    expected = multistep(x, neuron, v0=torch.stack([v0, torch.zeros(7), torch.zeros(7)]))
    assert torch.equal(multistep(x, neuron, v0=v0), expected)
    assert torch.equal(multistep(x, neuron, v0=0.25), multistep(x, neuron, v0=torch.full((7,), 0.25)))


ODD = [float('inf'), -float('inf'), float('nan'), 0.0, -0.0, -0.5, 1.0]


@pytest.mark.parametrize('real', [False, True])
@pytest.mark.parametrize('fire', [Binary, Burst, Ternary, Signed, SignedMemory, Integer, Adaptive])
@pytest.mark.usefixtures('isa')
def test_thresholds_that_learning_may_reach(fire, real):
    """Infinite, NaN and not positive ones: the same everywhere, and no spikes where thresholds are counted."""
    x = torch.tensor([-2.0, 0.0, 0.3, 5.0]).repeat_interleave(len(ODD)).expand(3, -1)
    theta = torch.tensor(ODD * 4)
    neuron = Neuron(IF(), fire(real_units=real), Soft())
    options = {'coefficients': {'v_threshold': theta}, 'channel_dim': 1, 'return_state': True}
    found = [multistep(x, neuron, backend=backend, **options) for backend in ('native', 'reference')]
    for actual, expected in zip(*found, strict=True):
        assert_spikes_equal(actual, expected)
    if hasattr(fire(), 'max_spikes'):
        assert found[0][0][:, ~(theta > 0)].nan_to_num(0).count_nonzero() == 0


def test_torch_func_of_coefficients():
    """Whichever of the inputs is differentiated."""
    neuron, x, k = Neuron(PLIF(), Binary(), Soft()), torch.randn(4, 2, 3), torch.rand(3)
    run = lambda x, k: multistep(x, neuron, coefficients={'k': k}).square().sum()  # noqa: E731
    leaves = x.clone().requires_grad_(), k.clone().requires_grad_()
    expected = torch.autograd.grad(run(*leaves), leaves)
    assert_grads_close(torch.func.grad(run, 0)(x, k), expected[0])
    assert_grads_close(torch.func.grad(run, 1)(x, k), expected[1], 'sums')
    for actual, wanted in zip(torch.func.grad(run, (0, 1))(x, k), expected, strict=True):
        assert_grads_close(actual, wanted, 'sums')
    layer = nn.ParametricLIF()
    (expected,) = torch.autograd.grad(layer(x).sum(), layer.w)
    layer.reset()
    found = torch.func.grad(lambda p: torch.func.functional_call(layer, p, (x,)).sum())({'w': layer.w.detach()})
    assert_grads_close(found['w'], expected, 'sums')
