"""Nets of Norse before and after `accelerate`: time loops, `Lift`, SequentialState, and its own models.

Layers and lifted cells add in another order: nets of them are compared in float64, where no spike flips.
"""

import copy
import pickle

import pytest
import torch
from norse_runs import called, looped, same, tensors
from torch import nn

from snnkern.adapters import accelerate, explain, undo
from snnkern.testing import assert_spikes_equal

norse = pytest.importorskip('norse.torch', reason='Norse is not installed: no oracle')
models = pytest.importorskip('norse.torch.models.conv')
vgg = pytest.importorskip('norse.torch.models.vgg')
mobilenet = pytest.importorskip('norse.torch.models.mobilenet')
t = torch.tensor
BY_STEP = 'may treat steps together otherwise than alone'


@pytest.fixture(autouse=True)
def steps(monkeypatch):
    """However few neurons a step has, a kernel takes it."""
    monkeypatch.setattr('snnkern.adapters.norse.base.LEAST', 0)


def cells():
    """A net of single steps."""
    return norse.SequentialState(
        nn.Conv2d(2, 6, 3, padding=1),
        norse.LIFCell(norse.LIFParameters(v_th=t(0.3))),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        norse.SequentialState(nn.BatchNorm2d(8), norse.IAFCell()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
        norse.LICell(),
    )


def layers():
    """A net of all steps."""
    return norse.SequentialState(
        norse.Lift(nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU())),
        norse.LIF(norse.LIFParameters(v_th=t(0.3))),
        norse.Lift(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 5))),
        norse.LI(),
    )


def pictures(T=6):
    return (torch.rand(T, 3, 2, 8, 8) * 4).double().requires_grad_()


def test_net_of_cells():
    """A time loop of the user's: to the bit in float32."""
    net = cells()
    fast = accelerate(net)
    x = pictures().detach().float()
    assert_spikes_equal(looped(fast, x)[0], looped(net, x)[0])
    assert list(fast.state_dict()) == list(net.state_dict())
    assert [row.kind for row in explain(fast).rows if row.fused] == ['LIFCell', 'IAFCell', 'MaxPool2d', 'LICell']
    same(net.double(), fast.double(), pictures(), exact=False)


@pytest.mark.parametrize('training', [True, False])
def test_lifted_net(training):
    """Layer by layer; BatchNorm sees the steps one after another while it trains."""
    net = norse.Lift(cells().double().train(training))
    fast = accelerate(net)
    assert explain(fast).rows[0].fused
    same(net, fast, pictures(), lambda net, x, state: net(x), exact=False)
    bn, bn_fast = (one.lifted_module[4][0] for one in (net, fast))
    torch.testing.assert_close(bn_fast.running_mean, bn.running_mean)
    assert bn_fast.num_batches_tracked == bn.num_batches_tracked


def test_net_of_layers():
    net = layers().double()
    fast = accelerate(net)
    assert explain(fast).fused == 5
    same(net, fast, pictures(), called, exact=False)
    x = pictures(1).detach()[:, 0]  # no batch: one step after another
    with pytest.raises((RuntimeError, ValueError)):
        net(x)
    with pytest.raises((RuntimeError, ValueError)):
        fast(x)


def test_published_models():
    """Norse's own: a loop inside, max-pools between; and a VGG whose modules hand tuples to `Lift`."""
    net = models.ConvNet()
    fast = accelerate(net)
    assert explain(fast).fused == 4
    x = torch.rand(8, 2, 1, 28, 28).mul(20).double().requires_grad_()
    same(net.double(), fast.double(), x, lambda net, x, state: (net(x), None))
    net = vgg.VGG(vgg.make_layers([8, 'M', 512], batch_norm=True), num_classes=3, init_weights=False)
    net.avgpool = norse.Lift(nn.AdaptiveAvgPool2d((7, 7)))
    net.classifier = nn.Sequential(norse.Lift(nn.Linear(512 * 49, 7)), norse.LIF(), norse.Lift(nn.Linear(7, 3)))
    fast = accelerate(net.double().eval())
    assert explain(fast).fused == len(explain(fast).rows) == 12
    x = torch.rand(4, 2, 3, 8, 8).mul(5).double().requires_grad_()
    same(net, fast, x, lambda net, x, state: (net(x), None), exact=False)


@pytest.mark.parametrize('training', [True, False])
def test_mobilenet(training):
    """BatchNorm in training sees steps one by one, all else gets them at once; no drop-out, which is random."""
    net = mobilenet.mobilenet_v2(num_classes=5).double().train(training)
    net.classifier[0].lifted_module.p = 0.0
    for module in net.modules():
        if isinstance(module, norse.LIF):
            module.p = module.p._replace(v_th=t(0.001))
    fast = accelerate(net)
    rows = explain(fast).rows
    left = {row.how for row in rows if not row.fused}
    assert len(rows) == 142
    assert left == ({f'left: {name} {BY_STEP}' for name in ('BatchNorm2d', 'Dropout')} if training else set())
    x = torch.rand(3, 2, 3, 32, 32).double() * 20
    with torch.no_grad():
        out, expected = fast(x), net(x)
    assert expected.std() > 0
    torch.testing.assert_close(out, expected)


class Alone(nn.Module):
    def forward(self, x):
        return x - x.mean()


@pytest.mark.parametrize(
    ('module', 'why'),
    [
        (nn.BatchNorm2d(2), 'BatchNorm2d may'),
        (nn.Dropout(), 'Dropout may'),
        (nn.Flatten(0), 'Flatten may'),
        (Alone(), 'Alone may'),
        (nn.Sequential(nn.ReLU(), Alone()), 'Sequential may'),
        (norse.LSNNCell(), 'LSNNCell is left'),
        (norse.LIF(), 'LIF is left'),
        (norse.SequentialState(nn.Dropout(), norse.LIFCell()), 'Dropout may'),
        (norse.SequentialState(norse.LIFCell(), return_hidden=True), 'SequentialState is left'),
        (norse.SequentialState(norse.LIFCell(), norse.LIFRecurrentCell(8, 8)), 'LIFRecurrentCell is left'),
    ],
    ids=lambda case: type(case).__name__,
)
@pytest.mark.filterwarnings('ignore:these neurons stay')
def test_lift_goes_step_by_step(module, why):
    net = norse.Lift(module)
    fast = accelerate(nn.ModuleList([net, norse.LIFCell()]))[0]
    assert explain(fast).rows[0].how.startswith(f'left: {why}')
    if why.startswith('SequentialState'):
        return  # nothing that Norse could stack
    outputs = []
    for one in (net, fast):
        torch.manual_seed(2)
        outputs.append(tensors(one(pictures().detach().float())))
    for expected, actual in zip(*outputs, strict=True):
        torch.testing.assert_close(actual, expected)


def test_hooks_see_what_they_saw():
    net = cells()
    seen = []
    for one in (net, accelerate(net)):
        calls = []
        one.register_forward_state_hooks(lambda module, args, out, to=calls: to.append((args[0].shape, out[0].shape)))
        norse.Lift(one)(pictures().detach().float())
        accelerate(norse.Lift(one), inplace=True)(pictures().detach().float())
        one.remove_forward_state_hooks()
        seen.append(calls)
    assert len(seen[0]) == 2 * 3 * 6
    assert seen[0] == seen[1]


def test_copies_and_the_way_back():
    net = cells()
    fast = accelerate(net)
    x = pictures().detach().float()
    copies = copy.deepcopy(fast), undo(fast), accelerate(undo(fast))
    for one in copies:
        assert_spikes_equal(looped(one.eval(), x)[0], looped(net.eval(), x)[0])
    assert [type(module) for module in copies[1].modules()] == [type(module) for module in net.modules()]
    cell = accelerate(norse.IAFCell())  # the parameters of LIF cells cannot be pickled
    assert_spikes_equal(pickle.loads(pickle.dumps(cell))(x)[0], cell(x)[0])


def test_autocast():
    net = layers()
    x = pictures().detach().float()
    with torch.autocast('cpu', torch.bfloat16):
        outputs = [one(x)[0] for one in (net, accelerate(net))]
    assert outputs[0].dtype == outputs[1].dtype
    torch.testing.assert_close(outputs[1], outputs[0], rtol=2e-2, atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('net', 'in_time'),
    [(layers, 6), (cells, None), (lambda: norse.Lift(cells().eval()), 6)],
    ids=['layers', 'cells', 'lifted'],
)
def test_compile(net, in_time):
    """In one graph, where Norse's own breaks it."""
    fast = accelerate(net())
    x = pictures().detach().float()
    x = x if in_time else x[0]
    torch._dynamo.reset()
    found = torch.compile(fast, fullgraph=True, backend='aot_eager')(x)
    for actual, expected in zip(tensors(found), tensors(fast(x)), strict=True):
        torch.testing.assert_close(actual, expected)
