"""The ops inside torch: opcheck, fakes, tracing, torch.compile, transforms, autocast."""

import pytest
import torch
from cases import FEW
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from snnkern import PLIF, Neuron, Sigmoid, SignedMemory, Soft, nn
from snnkern.backends import checkpoint_interval, native
from snnkern.functional import lateral_pool2d, lif, multistep
from snnkern.ops import multistep as op
from snnkern.testing import assert_grads_close

OPS = torch.ops.snnkern
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SIGMOID = Neuron(surrogate=Sigmoid())


def channels_last(*shape, dtype=torch.float32):
    x = torch.randint(-5, 17, shape) / 10
    return x.flatten(0, 1).to(dtype, memory_format=torch.channels_last).unflatten(0, shape[:2])


def forward_arguments(case, save=True):
    x, v0 = case.inputs()
    return x, v0, case.coefficients(), None, case.spec, case.T, save, case.state, case.v_seq, False, ''


@pytest.mark.parametrize('save', [False, True])
@pytest.mark.parametrize('case', FEW, ids=str)
def test_opcheck_forward(case, save):
    torch.library.opcheck(OPS.multistep_fwd.default, forward_arguments(case, save))


@pytest.mark.parametrize('case', FEW, ids=str)
def test_opcheck_backward(case):
    x, v0 = case.inputs()
    rows = case.coefficients()
    checkpoints = op.run_fwd(op.Inputs(x, v0, rows), op.Call(case.spec, case.T, True)).checkpoints
    assert (checkpoints is None) == (checkpoint_interval(case.dtype) >= case.T)
    grad_s, *others = case.gradients()
    for arguments in ((grad_s, *others), (None, *others), (grad_s, None, None, None)):
        wants = True, case.v0, rows is not None
        full = (x, *arguments, v0, rows, checkpoints, None, case.spec, case.T, *wants, '')
        torch.library.opcheck(OPS.multistep_bwd.default, full)


@pytest.mark.parametrize('dtype', [*DTYPES, torch.float64])
@pytest.mark.parametrize('T', [1, 18])
def test_opcheck_channels_last(dtype, T):
    x = channels_last(T, 2, 3, 4, 5, dtype=dtype)
    v0 = torch.randn(1, 2, 3, 4, 5)
    torch.library.opcheck(
        OPS.multistep_fwd.default, (x, v0, None, None, Neuron().spec, T, True, True, False, False, '')
    )
    grad = torch.randn(x.shape).to(dtype)
    rest = (None, None, None, v0, None, None, None, Neuron().spec, T, True, True, False, '')
    torch.library.opcheck(OPS.multistep_bwd.default, (x, grad, *rest))


@pytest.mark.parametrize('dtype', [*DTYPES, torch.float64])
def test_opcheck_pool(dtype):
    x = (torch.rand(5, 2, 3, 9, 8) < 0.4).to(dtype)
    state = torch.randint(0, 3, (1, 2, 3, 9, 8)).to(torch.promote_types(dtype, torch.float32))
    for window in (([2, 2, 2, 2, 0, 0, 1, 1], False), ([3, 2, 2, 1, 1, 0, 1, 2], True)):
        for mode in ('lateral', 'spike_max'):
            torch.library.opcheck(OPS.pool2d_fwd.default, (x, state, mode, *window, 1.0, True, ''))
    last = channels_last(5, 2, 3, 8, 8, dtype=dtype)
    for mode, counts in (('lateral', torch.ones(1, 2, 3, 8, 8)), ('plain', None)):
        call = (mode, [2, 2, 2, 2, 0, 0, 1, 1], False, 0.1, False, '')
        out = OPS.pool2d_fwd(last, None, *call)[0]
        torch.library.opcheck(OPS.pool2d_fwd.default, (last, None, *call))
        torch.library.opcheck(OPS.pool2d_bwd.default, (torch.randn_like(out), None, last, counts, *call))


def test_bypass_is_the_op():
    """What eager calls directly gives the same as the registered op."""
    for case in FEW:
        x, v0, rows, _, *call = forward_arguments(case)
        direct = op.run_fwd(op.Inputs(x, v0, rows), op.Call(*call))
        for a, b in zip(direct, OPS.multistep_fwd(x, v0, rows, None, *call), strict=True):
            assert torch.equal(a if a is not None else b, b)


def block(x, v0):
    """Something to compile: spikes and potentials, both used, between ordinary operations."""
    s, v = multistep(x * 2, SIGMOID, v0=v0, return_state=True)
    return lif(s.cumsum(0) - 0.5) + v


def gradients(f, x, v0):
    x, v0 = x.detach().requires_grad_(), v0.detach().requires_grad_()
    y = f(x, v0)
    return y.detach(), *torch.autograd.grad(y.square().sum(), [x, v0])


@pytest.mark.parametrize(('backend', 'T'), [('aot_eager', 4), ('aot_eager', 20), ('inductor', 20)])
def test_compile(backend, T):
    torch._dynamo.reset()
    compiled = torch.compile(block, backend=backend, fullgraph=True)
    for x in (torch.randn(T, 2, 3, 4, 5), channels_last(T, 2, 3, 4, 5)):
        v0 = torch.randn(2, 3, 4, 5)
        actual, expected = gradients(compiled, x, v0), gradients(block, x, v0)
        assert torch.equal(actual[0], expected[0])
        for a, b in zip(actual[1:], expected[1:], strict=True):
            assert_grads_close(a, b)
        with torch.no_grad():
            assert torch.equal(compiled(x, v0), expected[0])


@pytest.mark.parametrize('backend', ['aot_eager', 'inductor'])
def test_compile_coefficients_and_trace(backend):
    torch._dynamo.reset()
    neuron = Neuron(PLIF(0.4), SignedMemory(0.5, 3), Soft(), SIGMOID.surrogate)

    def f(x, w, theta):
        rows = {'k': w.sigmoid(), 'v_threshold': theta.exp()}
        s, states, v = multistep(x, neuron, return_state=True, return_v_seq=True, coefficients=rows)
        return s.sum(0) + states.sum(0) + v.square().mean(0)

    compiled = torch.compile(f, backend=backend, fullgraph=True)
    inputs = torch.randn(20, 2, 3, 4), torch.randn(3), torch.randn(())
    found = []
    for run in (compiled, f):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = run(*leaves)
        found.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaves)))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert_grads_close(found[0][1], found[1][1])
    for a, b in zip(found[0][2:], found[1][2:], strict=True):
        assert_grads_close(a, b, 'sums')


def test_compile_with_dynamic_shapes():
    torch._dynamo.reset()

    def f(x, v0):
        s, v = multistep(x * 2, SIGMOID, v0=v0, return_state=True)
        return multistep(s.cumsum(0) - 0.5, SIGMOID) + v + lif(x * 3, tau=2.5, v_reset=None)

    compiled = torch.compile(f, backend='aot_eager', fullgraph=True, dynamic=True)
    for T, N in ((4, 33), (5, 40), (20, 7), (33, 1000)):
        x, v0 = torch.randn(T, N), torch.randn(N)
        for a, b in zip(gradients(compiled, x, v0), gradients(f, x, v0), strict=True):
            assert_grads_close(a, b)


def test_compile_modules():
    """The state outlives compiled calls as it does eager ones; reset and training work through it."""
    torch._dynamo.reset()
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), nn.LIF(), torch.nn.Linear(8, 8), nn.IF(v_reset=None))
    compiled = torch.compile(net, backend='aot_eager', fullgraph=True)
    x = torch.randn(5, 3, 8) * 3
    for _ in range(2):
        found = [[model(x) for _ in range(3)] for model in (compiled, net) if nn.reset(net) is None]
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)
    loss = compiled(x).sum()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net[1].v.shape == (3, 8)
    assert not net[1].v.requires_grad


def test_compile_constant_input_and_pool():
    torch._dynamo.reset()

    def f(x):
        return lateral_pool2d(lif(x, T=6, v_reset=None), 2, 2, scale=1.0)

    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(torch.compile(f, backend='aot_eager', fullgraph=True)(x), f(x))


@pytest.mark.parametrize('mode', ['real', 'fake', 'symbolic'])
def test_make_fx(mode):
    x, v0 = torch.randn(20, 2, 7), torch.randn(2, 7)

    def f(x, v0):
        return gradients(block, x, v0)

    traced = make_fx(f, tracing_mode=mode)(x, v0)
    assert 'snnkern.multistep_fwd' in traced.code
    assert 'snnkern.multistep_bwd' in traced.code
    for a, b in zip(traced(x, v0), f(x, v0), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('dtype', DTYPES)
def test_fake_tensors(dtype):
    """Nothing is computed, everything has the right shape, dtype and strides, gradients too."""
    x = channels_last(20, 2, 3, 4, 5, dtype=dtype)
    v0 = torch.randn(2, 3, 4, 5)

    def f(x, v0):
        x, v0 = x.detach().requires_grad_(), v0.detach().requires_grad_()
        s, v = multistep(x, Neuron(), v0=v0, return_state=True)
        return s, v, *torch.autograd.grad(s.sum() + v.sum(), [x, v0])

    with FakeTensorMode() as mode:
        fakes = f(mode.from_tensor(x), mode.from_tensor(v0))
    metas = f(x.to('meta'), v0.to('meta'))
    for real, *others in zip(f(x, v0), fakes, metas, strict=True):
        for other in others:
            assert (other.shape, other.dtype, other.stride()) == (real.shape, real.dtype, real.stride())


def test_tensors_that_are_made_under_a_mode():
    """is_compiling() is False here, and addresses of fake tensors are 0."""
    with FakeTensorMode():
        x = torch.rand(4, 3, 8, 8)
        assert lateral_pool2d(nn.LIF()(x), 2).shape == (4, 3, 4, 4)


@pytest.mark.parametrize('learns', [False, True])
@pytest.mark.filterwarnings('ignore')
def test_transforms_work(learns):
    """They go through the registered op: memory is never touched through an address that is none."""
    x = torch.randn(3, 4, 5, requires_grad=learns)
    along_1 = torch.stack([lif(one) for one in x.unbind(1)], 1)
    assert torch.equal(torch.vmap(lif)(x), torch.stack([lif(one) for one in x]))
    assert torch.equal(torch.vmap(lif, in_dims=1, out_dims=1)(x), along_1)
    assert torch.equal(torch.func.functionalize(lif)(x), lif(x))


@pytest.mark.parametrize('learns', [False, True])
@pytest.mark.parametrize(
    'transform',
    [
        lambda f, x: torch.func.jvp(f, (x,), (x,)),
        lambda f, x: torch.func.linearize(f, x),
        lambda f, x: torch.func.jacrev(f)(x),
    ],
    ids=['jvp', 'linearize', 'jacrev'],
)
@pytest.mark.filterwarnings('ignore')
def test_other_transforms_raise(transform, learns):
    """No forward-mode derivatives, no vmap over backward: refused, not wrong."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        transform(lif, torch.randn(3, 4, 5, requires_grad=learns))


def test_vmap_over_a_batch_gives_the_batch():
    x = torch.randn(3, 4, 5)
    assert torch.equal(torch.vmap(lif)(x), torch.stack([lif(one) for one in x]))


@pytest.mark.parametrize('layer', [torch.nn.Linear(8, 8), torch.nn.Conv2d(3, 3, 3)])
def test_autocast_stays_native(layer, monkeypatch):
    """Half-precision currents go into the kernel as they are, forward and backward."""
    seen = []
    for name in ('multistep_fwd', 'multistep_bwd'):
        run = getattr(native, name)
        monkeypatch.setattr(native, name, lambda *a, run=run, name=name: seen.append((name, a[0].dtype)) or run(*a))
    x = torch.randn(4 * 2, 3, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        s = nn.LIF()(layer(x).unflatten(0, (4, 2)))
    assert s.dtype == torch.bfloat16
    s.float().sum().backward()
    assert seen == [('multistep_fwd', torch.bfloat16), ('multistep_bwd', torch.bfloat16)]
    assert layer.weight.grad.dtype == torch.float32
