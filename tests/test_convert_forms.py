"""The same answers in every form: streamed, in chunks, compiled, in half precision."""

import copy

import pytest
import torch
from converted import CHANNELS, fixed, residual
from torch import nn
from torch.nn import functional as F

from snnkern.convert import convert


@pytest.fixture
def x():
    return torch.randn(12, 1, 8, 8)


@pytest.mark.parametrize('recipe', ['default', CHANNELS, fixed(0.5, gated=True)], ids=['default', 'channels', 'gated'])
def test_streaming_and_chunks_equal_one_call(recipe, x):
    snn = convert(residual(), x, recipe, timesteps=5)
    with torch.no_grad():
        whole = {T: snn(x, T) for T in (1, 2, 3, 5)}
        for chunk in (1, 2, 5):
            outs = dict(snn.steps(x, 5, chunk))
            assert list(outs) == [1, 2, 3, 4, 5]
            for T, out in whole.items():
                torch.testing.assert_close(outs[T], out, rtol=1e-4, atol=1e-5)
        snn.chunk_bytes = 1
        assert snn.chunk(5, len(x)) == 1
        torch.testing.assert_close(snn(x, 5), whole[5], rtol=1e-4, atol=1e-5)


def test_compiled_equals_eager(x):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)).eval()
    snn = convert(net, x, CHANNELS)
    compiled = torch.compile(snn, backend='aot_eager')
    with torch.no_grad():
        assert torch.equal(compiled(x, 4), snn(x, 4))
        assert torch.equal(compiled(x, 4), snn(x, 4))


@pytest.mark.slow
def test_compiled_by_inductor_equals_eager(x):
    snn = convert(residual(), x)
    with torch.no_grad():
        compiled = torch.compile(snn)
        torch.testing.assert_close(compiled(x, 4), snn(x, 4), rtol=1e-4, atol=1e-5)
        snn.chunk_bytes = 4 * snn.largest * len(x) * 3
        assert snn.chunk(4, len(x)) == 3
        torch.testing.assert_close(compiled(x, 4), snn(x, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 0.03), (torch.bfloat16, 0.08)], ids=str)
@pytest.mark.parametrize('recipe', ['default', CHANNELS, fixed(0.37)], ids=['default', 'channels', 'fixed'])
def test_half_precision_is_close(recipe, dtype, tolerance, x):
    snn = convert(residual(softmax=False), x, recipe)
    half = copy.deepcopy(snn).to(dtype)
    with torch.no_grad():
        out = half(x.to(dtype), 16)
        assert out.dtype == dtype
        expected = snn(x, 16)
        assert ((out.float() - expected).norm() / expected.norm()).item() < tolerance
        *_, (_, last) = half.steps(x.to(dtype), 16, 4)
        torch.testing.assert_close(last, out, rtol=0.05, atol=0.05)


def test_own_numbers_stay_float32(x):
    snn = convert(residual(), x, CHANNELS)
    before = [copy.deepcopy(layer.v_threshold) for layer in snn.neurons]
    snn.half()
    assert {p.dtype for p in snn.parameters()} == {torch.float16}
    for layer, theta in zip(snn.neurons, before, strict=True):
        assert layer.v_threshold.dtype == torch.float32
        assert torch.equal(layer.v_threshold, theta)
        assert layer.v0.dtype == torch.float32
    assert all(pool.scale.dtype == torch.float32 for pool in snn.pools)
    snn.float()
    assert torch.equal(snn.neurons[0].v_threshold, before[0])


class Gated(nn.Module):
    """A sigmoid that is a factor: analogue between neurons."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = F.relu(self.one(x))
        return self.head(F.relu(y * torch.sigmoid(self.two(y)))).softmax(1)


def test_analogue_parts_sum_in_float32():
    """In bfloat16, t * f(mean) of a long run would lose what a step adds."""
    torch.manual_seed(0)
    x = torch.randn(16, 6)
    snn = convert(Gated(), x)
    half = copy.deepcopy(snn).bfloat16()
    with torch.no_grad():
        torch.testing.assert_close(half(x.bfloat16(), 256).float(), snn(x, 256), rtol=0, atol=0.01)


def test_float64_keeps_its_precision():
    x = torch.randn(4, 6)
    snn = convert(Gated(), x).double()
    with torch.no_grad():
        out = snn(x.double(), 8)
    assert out.dtype == torch.float64
    torch.testing.assert_close(out.sum(1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_answers_keep_the_structure_of_the_model(x):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = residual(softmax=False)

        def forward(self, x):
            y = self.body(x)
            return {'logits': y, 'parts': (y[:, :2], 2 * y)}

    snn = convert(Two(), x)
    with torch.no_grad():
        whole = snn(x, 3)
        *_, (t, last) = snn.steps(x, 3)
    assert t == 3
    torch.testing.assert_close(last, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole['parts'][1], 2 * whole['logits'])
