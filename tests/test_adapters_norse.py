"""Norse's modules before and after `accelerate`: outputs, states and gradients are the same.

Single steps are equal to the bit. Layers and lifted cells add in another order: nets of them are compared in float64,
where no spike flips.
"""

import pytest
import torch
from norse_runs import called, gradients, looped, same, tensors
from oracles import Run, check, currents, potentials
from torch import nn

from snnkern.adapters import accelerate, explain, undo
from snnkern.presets import NEURONS
from snnkern.testing import assert_grads_close, assert_spikes_equal

norse = pytest.importorskip('norse.torch', reason='Norse is not installed: no oracle')
boxes = pytest.importorskip('norse.torch.functional.lif_box')
resets = pytest.importorskip('norse.torch.functional.reset')
stateful = pytest.importorskip('norse.torch.utils.state')._is_module_stateful

t = torch.tensor


@pytest.fixture(autouse=True)
def steps(monkeypatch):
    """However few neurons a step has, a kernel takes it."""
    monkeypatch.setattr('snnkern.adapters.norse.base.LEAST', 0)


ODD = norse.LIFParameters(t(130.0), t(230.0), t(0.13), t(0.77), t(-0.21))
SOFT = boxes.LIFBoxParameters(t(230.0), t(0.0), t(0.77), t(0.0), reset_method=resets.reset_subtract)
CELLS = [
    norse.LIFCell(),
    norse.LIFCell(ODD, dt=0.002),
    norse.LIFCell(ODD._replace(tau_syn_inv=t(1000.0))),
    norse.LIFBoxCell(),
    norse.LIFBoxCell(SOFT),
    norse.IAFCell(),
    norse.IAFCell(norse.IAFParameters(t(0.7), t(-0.2))),
    norse.LICell(),
    norse.LICell(norse.LIParameters(t(130.0), t(230.0), t(0.4))),
    norse.LIBoxCell(norse.LIBoxParameters(t(230.0), t(-0.3))),
]


@pytest.mark.parametrize('cell', CELLS, ids=lambda cell: type(cell).__name__)
def test_steps_are_equal_to_the_bit(cell):
    fast = accelerate(cell)
    assert isinstance(fast, type(cell))
    assert explain(fast).fused == 1
    same(cell, fast, currents('normal', 3, 40, gain=3))


def test_lif_box_with_leak():
    cell = norse.LIFBoxCell(SOFT._replace(v_leak=t(0.2)))
    same(cell, accelerate(cell), currents('normal', 3, 40, gain=3).double().detach().requires_grad_(), exact=False)


@pytest.mark.parametrize('kind', ['grid', 'normal'])
def test_layer_to_the_first_flip(kind):
    x = currents(kind, gain=3)
    layer = norse.LIF()
    ours, theirs = (Run(net(x)[0], None, (x,)) for net in (accelerate(layer), layer))
    check(ours, theirs, potentials(NEURONS['norse.LIF'], x))


@pytest.mark.parametrize(
    'layer',
    [
        norse.LIF(ODD),
        norse.LIF(ODD._replace(tau_syn_inv=t(1000.0))),
        norse.LI(),
        norse.IAF(),
        norse.Lift(norse.LIFCell(ODD)),
        norse.Lift(norse.LICell()),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_states_go_on(layer):
    """Two calls, the second with the states of the first."""

    def chunks(net, x, state):
        outputs = []
        for part in x.split([5, 1, 10]):
            out, state = net((part, state)) if isinstance(net, norse.Lift) else net(part, state)
            outputs.append(out)
        return torch.cat(outputs), state

    x = currents('normal', 3, 40, gain=3).detach().double().requires_grad_()
    same(layer, accelerate(layer), x, chunks, exact=False)


@pytest.mark.parametrize('layer', [norse.LIF, norse.LI])
def test_recorded_states(layer):
    layer = layer(record_states=True)
    same(layer, accelerate(layer), currents('normal', 3, 40, gain=3), called)


def test_states_of_other_shapes():
    """One number for all, one per neuron, and the leaf that Norse starts from."""
    cell, x = norse.LIFCell(ODD), currents('normal', 3, 40, gain=3)
    kind = norse.LIFFeedForwardState
    for state in (kind(t(0.3), t(0.1)), kind(torch.rand(40), torch.rand(3, 1)), cell.initial_state(x[0])):
        same(cell, accelerate(cell), x, state=state)
    v = torch.rand(40, requires_grad=True)
    grads = [gradients(looped(net, x, kind(v, t(0.0)))[0], v)[0] for net in (cell, accelerate(cell))]
    assert_grads_close(*grads)


@pytest.mark.parametrize('shape', [(), (6,), (4, 1, 1)], ids=['one', 'width', 'channels'])
@pytest.mark.parametrize('make', [norse.LIFCell, norse.LIF, norse.LICell, norse.LIFBoxCell])
def test_learned_numbers(make, shape):
    own = norse.LIFParameters()
    names = ['tau_syn_inv', 'tau_mem_inv', 'v_leak', 'v_th']
    values = [t(200.0), t(100.0), t(0.1), t(0.8)]
    learned = {
        name: nn.Parameter((value * (1 + 0.1 * torch.rand(shape))).double())
        for name, value in zip(names, values, strict=True)
    }
    if make is norse.LICell:
        learned.pop('v_th')
        own = norse.LIParameters()
    if make is norse.LIFBoxCell:
        learned.pop('tau_syn_inv')
        own = boxes.LIFBoxParameters()
    net = make(own._replace(**learned))
    if make is norse.LIF and shape:
        net.p = net.p._replace(v_leak=t(0.1))  # Norse starts all neurons from one number
        learned.pop('v_leak')
    net.learned = nn.ParameterDict(learned)
    fast = accelerate(net)
    assert explain(fast).fused == 1
    x = currents('normal', 2, 4, 5, 6, gain=3).detach().double().requires_grad_()
    same(net, fast, x, called if make is norse.LIF else looped, exact=False)


def test_signatures_stay():
    """What Norse decides by: whether a forward takes a state."""
    for module in [*CELLS, norse.LIF(), norse.LI(), norse.IAF(), norse.LILinearCell(3, 2), norse.Lift(norse.LIFCell())]:
        assert stateful(accelerate(module)) == stateful(module)
    fast = accelerate(norse.LIFCell())
    assert norse.SequentialState(nn.Linear(8, 8), fast).stateful_layers == [False, True]
    assert norse.Lift(fast).is_stateful


def test_dtypes():
    """What Norse's states make of half precision and of whole numbers."""
    wide = norse.IAFCell(norse.IAFParameters(v_th=torch.rand(5).double()))
    for cell in (*CELLS, wide, norse.LIF(), norse.LI(), norse.IAF()):
        for dtype in (torch.bfloat16, torch.int64, torch.float64):
            x = torch.randint(0, 3, (4, 5)).to(dtype)
            outputs = [tensors(net(x)) + tensors(net(x, net(x)[1])) for net in (cell, accelerate(cell))]
            assert [one.dtype for one in outputs[1]] == [one.dtype for one in outputs[0]], (cell, dtype)


@pytest.mark.parametrize(('method', 'alpha'), [('super', 7.0), ('triangle', 1.0), ('tanh', 2.0), ('heavi_erfc', 2.0)])
def test_surrogates(method, alpha):
    for cell in (
        norse.LIFCell(ODD._replace(method=method, alpha=t(alpha))),
        norse.IAFCell(norse.IAFParameters(t(0.7), t(0.1), method, alpha)),
    ):
        same(cell, accelerate(cell), currents('normal', 3, 40, gain=3))


@pytest.mark.parametrize(('method', 'alpha'), [('heaviside', 100.0), ('circ', 1.0), ('triangle', 0.3), ('tanh', 1.0)])
def test_other_surrogates_run_without_gradients(method, alpha):
    cell = norse.LIFCell(ODD._replace(method=method, alpha=t(alpha)))
    with pytest.warns(UserWarning, match='stay as they were'):
        fast = accelerate(cell)
    wanted = f"left: p.method='{method}' with alpha={alpha:g} has no kernel, it has one under torch.no_grad()"
    assert explain(fast).rows[0].how == wanted
    x = currents('normal', 3, 40, gain=3)
    if method != 'heaviside':
        same(cell, fast, x)
    with torch.no_grad():
        assert explain(fast).fused == 1
        assert_spikes_equal(looped(fast, x)[0], looped(cell, x)[0])


def another(cell):
    cell.state_fallback = lambda x: norse.IAFFeedForwardState(x * 0)
    return cell


@pytest.mark.parametrize(
    ('cell', 'why'),
    [
        (norse.LIFCell(ODD._replace(method='adjoint')), 'lif_feed_forward_adjoint_step has no kernel'),
        (norse.LIFCell(ODD._replace(v_reset=nn.Parameter(t(0.1)))), 'p.v_reset is learned or differs'),
        (norse.IAFCell(norse.IAFParameters(v_reset=nn.Parameter(t(0.1)))), 'p.v_reset is learned or differs'),
        (norse.LIFCell(ODD._replace(v_reset=torch.zeros(4))), 'p.v_reset is learned or differs'),
        (norse.LIFCell(ODD._replace(v_th=torch.ones(2, 4))), 'the tensors of p vary in more than one'),
        (norse.LIFBoxCell(SOFT._replace(reset_method=torch.lerp)), 'p.reset_method=lerp has no kernel'),
        (another(norse.IAFCell()), 'state_fallback is not that of its class'),
        (norse.LICell(dt=t(0.001)), 'dt is a tensor'),
        (norse.LIFRecurrentCell(3, 4), 'no kernel for LIFRecurrentCell'),
        (norse.LSNNCell(), 'no kernel for LSNNCell'),
    ],
)
def test_what_stays(cell, why):
    with pytest.warns(UserWarning, match='stay as they were'):
        fast = accelerate(cell)
    assert explain(fast).rows[0].how.startswith(f'left: {why}')
    if 'adjoint' in why or 'lerp' in why:
        return  # Norse's own raises
    x = torch.rand(3, 2, 3 if 'Recurrent' in why else 4) * 3
    assert_spikes_equal(looped(fast, x)[0], looped(cell, x)[0])


def test_inputs_that_no_kernel_takes():
    """Sparse spikes, states of more neurons than the input has, and what Norse refuses, too."""
    for cell in (norse.LIFCell(), norse.LIF()):
        fast = accelerate(cell)
        x = torch.rand(3, 4, 5).mul(4).floor()
        sparse = [net(x.to_sparse())[0] for net in (cell, fast)]
        assert sparse[1].is_sparse == sparse[0].is_sparse
        assert torch.equal(sparse[1].to_dense(), sparse[0].to_dense())
        state = norse.LIFFeedForwardState(torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5))
        assert_spikes_equal(fast(x, state)[0], cell(x, state)[0])
        with pytest.raises((RuntimeError, IndexError)):
            fast(x, norse.LIFFeedForwardState(torch.rand(7), torch.rand(7)))


def test_linear_cell():
    cell = norse.LILinearCell(40, 5)
    fast = accelerate(cell)
    assert explain(fast).fused == 1
    same(cell, fast, currents('normal', 3, 40), exact=False)
    same(
        norse.Lift(cell).double(),
        accelerate(norse.Lift(cell)),
        currents('normal', 3, 40).detach().double().requires_grad_(),
        lambda net, x, state: net(x),
        exact=False,
    )


def test_found_by_name():
    with pytest.raises(ValueError, match=r'norse\.torch \(SNN, SNNCell'):
        accelerate(nn.Linear(2, 2), 'norse')
    assert accelerate(norse.LIFCell(), 'norse').p.method == 'super'


def test_few_neurons(monkeypatch):
    """Below a size at which kernels pay, single steps are Norse's own; all steps at once are not."""
    monkeypatch.setattr('snnkern.adapters.norse.base.LEAST', 30)
    called = []
    monkeypatch.setattr(norse.LIFCell, 'forward', lambda *args: called.append(len(args[1])) or (args[1], None))
    cell = accelerate(norse.LIFCell())
    cell(torch.rand(29))
    cell(torch.rand(30))
    accelerate(norse.Lift(cell))(torch.rand(3, 5))
    assert called == [29]
    assert explain(cell).rows[0].how == 'fused; single steps of 30 neurons and more'


@pytest.mark.parametrize('shape', [(), (40,)], ids=['one', 'each'])
def test_learned_numbers_in_float32(shape):
    """A single step stays equal to the bit."""
    names = {'tau_syn_inv': 200.0, 'tau_mem_inv': 100.0, 'v_th': 0.8}
    learned = {name: nn.Parameter(torch.rand(shape).mul(0.1).add(1) * value) for name, value in names.items()}
    cell = norse.LIFCell(norse.LIFParameters(**learned))
    cell.learned = nn.ParameterDict(learned)
    same(cell, accelerate(cell), currents('normal', 20, 40, gain=3))


def test_changed_numbers_count_at_once():
    """In place, as another p, and as what now has a gradient."""
    cell = norse.LIFCell(ODD._replace(v_th=t(0.7)))
    fast = accelerate(cell)
    x = currents('normal', 3, 40, gain=3)
    for change in (
        lambda one: one.p.v_th.fill_(0.2),
        lambda one: setattr(one, 'p', one.p._replace(v_reset=t(0.1))),
        lambda one: setattr(one, 'dt', 0.002),
    ):
        before = looped(fast, x)[0]
        change(cell), change(fast)
        assert not torch.equal(looped(fast, x)[0], before)
        same(cell, fast, x)
    grads = []
    for one in (cell, fast):
        one.p.v_th.requires_grad_()
        grads += gradients(looped(one, x)[0], one.p.v_th)
    assert_grads_close(grads[1], grads[0], 'sums')
    assert vars(undo(fast)).keys() == vars(cell).keys()
