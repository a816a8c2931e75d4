"""QCFS: the activation against its definition and autograd, and what becomes of networks trained with it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkern.convert import QCFS, ConversionError, convert, use_qcfs
from snnkern.convert.recipes import RECIPES, qcfs
from snnkern.data import mnist
from snnkern.models import LeNet5
from snnkern.recipes import digits


@pytest.mark.parametrize('levels', [1, 4, 7])
def test_qcfs_is_its_definition(levels):
    act = QCFS(levels, 1.7)
    x = torch.linspace(-1, 3, 1001)
    expected = [1.7 * min(max(int((v * levels / 1.7 + 0.5) // 1) / levels, 0), 1) for v in x.double().tolist()]
    y = act(x).detach()
    away = (x / 1.7 * levels + 0.5).frac().sub(0.5).abs() < 0.4999  # from jumps, where float32 decides
    torch.testing.assert_close(y[away], torch.tensor(expected)[away])
    assert len(y.unique()) == levels + 1


def test_qcfs_gradients():
    """Against autograd of the definition with a floor that is the identity in backward, and the paper's formulas."""

    class Floor(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.floor()

        @staticmethod
        def backward(ctx, grad):
            return grad

    x = (torch.randn(500, dtype=torch.float64) * 2).requires_grad_()
    weight = torch.randn(500, dtype=torch.float64)
    theta = torch.tensor(1.25, dtype=torch.float64, requires_grad=True)
    floor = Floor.apply(x * 5 / theta + 0.5) / 5
    expected = theta * torch.where(floor < 0, 0.0, torch.where(floor > 1, 1.0, floor))
    wanted = torch.autograd.grad((expected * weight).sum(), (x, theta))
    act = QCFS(5, 1.25).double()
    y = act(x)
    got = torch.autograd.grad((y * weight).sum(), (x, act.v_threshold))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(got, wanted)
    inside = (x > -1.25 / 10) & (x < 1.25 * 1.1)
    torch.testing.assert_close(got[0], weight * inside)
    torch.testing.assert_close(got[1], (weight * (y - x * inside) / 1.25).sum().detach())
    assert act(torch.tensor(torch.nan)).isnan()


@pytest.mark.parametrize(('levels', 'v_threshold'), [(0, 1.0), (4, 0.0), (4, -1.0)])
def test_qcfs_bad_numbers(levels, v_threshold):
    with pytest.raises(ValueError, match='levels' if levels == 0 else 'v_threshold'):
        QCFS(levels, v_threshold)


def test_use_qcfs_swaps_modules_in_a_copy():
    shared = nn.ReLU(inplace=True)
    net = nn.Sequential(nn.Linear(3, 3), shared, nn.Sequential(nn.Linear(3, 3), shared), nn.ReLU6())
    twin = use_qcfs(net, 4, 2.0)
    acts = [m for m in twin.modules() if isinstance(m, QCFS)]
    assert twin[1] is twin[2][1]
    assert [(act.levels, act.v_threshold.item()) for act in acts] == [(4, 2.0)] * 2
    assert net[1] is shared
    assert isinstance(use_qcfs(nn.ReLU()), QCFS)
    with pytest.raises(ValueError, match='must have nn'):
        use_qcfs(nn.Linear(2, 2))
    x = torch.randn(8, 3)
    assert len(convert(twin, x, 'qcfs').neurons) == 3


@pytest.mark.parametrize('levels', [1, 3, 4, 8])
@pytest.mark.parametrize('v_threshold', [1.0, 2.3])
def test_qcfs_theorem(levels, v_threshold):
    """Constant input, T = levels, v0 = theta / 2: the mean output is the activation, exactly."""
    net = nn.Sequential(nn.Linear(6, 50), QCFS(levels, v_threshold))
    x = torch.randn(200, 6) * 2 * v_threshold
    snn = convert(net, x, 'qcfs', levels)
    with torch.no_grad():
        y = net(x)
        torch.testing.assert_close(snn(x, levels), y, rtol=1e-6, atol=1e-6)
    assert len(y.unique()) == levels + 1
    assert snn.neurons[0].v_threshold == pytest.approx(v_threshold)
    assert snn.neurons[0].get_buffer('v0').item() == pytest.approx(v_threshold / 2)


def test_qcfs_names_what_was_not_trained():
    net = nn.Sequential(nn.Linear(3, 3), QCFS(), nn.Linear(3, 3), nn.ReLU())
    with pytest.raises(ConversionError, match=r'module 3 \(ReLU\).*use_qcfs'):
        convert(net, torch.randn(4, 3), 'qcfs')


@pytest.mark.slow
def test_qcfs_trained_digits():
    """LeNet-5 with QCFS, two epochs on the shipped digits: T = 4 is close to its ANN, which quantises to 4 levels."""
    data = mnist()
    x, y = digits.images(data.x_train), digits.labels(data.y_train)
    torch.manual_seed(0)
    net = use_qcfs(LeNet5(), levels=4, v_threshold=4.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(2):
        for index in torch.randperm(len(x) - 1000).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(x[index]), y[index]).backward()
            optimizer.step()
    net, test, labels = net.eval(), x[-1000:], y[-1000:]
    with torch.no_grad():
        ann = digits.accuracy(net(test), labels)
    found = {T: digits.accuracy(convert(net, x[:64], 'qcfs', T).predict(test, T), labels) for T in (4, 16)}
    assert ann > 95
    assert found[4] > ann - 2
    assert found[16] > ann - 1


def test_bad_arguments():
    assert RECIPES['qcfs'] is qcfs
    with pytest.raises(ValueError, match='v0 must be finite'):
        qcfs(v0=float('nan'))
