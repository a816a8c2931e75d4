"""Mean and variance by channel, in one pass over x, on every backend against float64."""

import cases
import emulator
import pytest
import torch

from snnkern.backends import native, reference, triton

SHAPES = [(1, 1, 1), (7, 5), (3, 4, 2, 2), (2, 3, 5, 3), (5, 8, 4, 4), (40, 16)]


@pytest.fixture(params=['cpu', 'cuda', 'triton'])
def backend(request):
    """Each backend, on a CPU or emulated."""
    if request.param == 'triton':
        pytest.importorskip('triton')
    request.getfixturevalue({'cpu': 'poisoned', 'cuda': 'gpu', 'triton': 'driver'}[request.param])
    return triton if request.param == 'triton' else native


def check(backend, x, channel_dim=2):
    """Within float32's rounding of each neuron's mean, and of sums of squares."""
    (mean, variance), (true_mean, true_variance) = (m.moments(x, channel_dim) for m in (backend, reference))
    assert mean.dtype == torch.float64
    spread, size = true_variance.sqrt(), true_mean.abs()
    assert ((mean - true_mean).abs() <= 2e-7 * (size + spread)).all()
    assert ((variance - true_variance).abs() <= 2e-6 * true_variance + 2e-7 * size * spread + (2e-7 * size) ** 2).all()


@pytest.mark.parametrize('dtype', cases.AXES['dtype'], ids=str)
@pytest.mark.parametrize('T', [1, 3, 17])
def test_every_layout(backend, dtype, T):
    for B, C, *space in SHAPES:
        x = (2 * torch.randn(T, B, C, *space) + torch.randn(C, *[1] * len(space))).to(dtype)
        check(backend, x)
        check(backend, x, -1 % x.dim())
        if len(space) == 2:
            check(backend, x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3))


def test_a_mean_far_beyond_the_deviations(backend):
    x = torch.randn(16, 4, 8, 16) + torch.tensor([0.0, 1.0, -30.0, 1e2, -3e3, 1e4, 1e5, -1e6])[:, None]
    check(backend, x)
    assert backend.moments(torch.full((5, 2, 3, 4), 1e6 / 3), 2)[1].eq(0).all()


def test_misaligned(backend):
    x = torch.randn(1 + 4 * 2 * 16)[1:].view(4, 2, 16)
    check(backend, x)


def test_not_finite(backend):
    """What is no number makes none of its channel, and of no other."""
    x = torch.randn(4, 2, 3, 8)
    x[1, 0, 1, 2], x[2, 1, 1, 0] = torch.nan, torch.inf
    found = backend.moments(x, 2).isfinite()
    assert found.tolist() == [[True, False, True], [True, False, True]]


def test_code_of_triton(driver):
    """No spills, and only wide accesses."""
    for dtype in cases.AXES['dtype'][:2]:
        triton.moments(torch.randn(20, 2, 4, 16).to(dtype), 2)
        facts = emulator.facts(driver.runs[-1][0].asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        assert facts.loads.keys() | facts.stores.keys() == {'128'}
        assert facts.registers <= 80
