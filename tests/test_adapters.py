"""`accelerate`, `undo` and `explain`: what they refuse, what they say, what they leave alone."""

import sys
import types

import pytest
import torch
from torch import nn

import snnkern
from snnkern import adapters
from snnkern.adapters import _swap

neuron = pytest.importorskip('spikingjelly.activation_based.neuron', reason='SpikingJelly is not installed')


def test_a_model_without_neurons_says_what_was_looked_for():
    with pytest.raises(ValueError, match='model has no neurons to accelerate, looked for modules of') as error:
        adapters.accelerate(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    for library in adapters.LIBRARIES:
        assert library in str(error.value)


@pytest.mark.parametrize('call', [adapters.accelerate, adapters.undo])
def test_what_is_no_module(call):
    with pytest.raises(TypeError, match=r'model must be a torch.nn.Module, got Tensor'):
        call(torch.rand(3))


def test_explain_what_is_no_module():
    with pytest.raises(TypeError, match=r'model must be a torch.nn.Module or None, got int'):
        adapters.explain(3)


def test_unknown_library():
    with pytest.raises(ValueError, match=r'library must be "auto" or one of spikingjelly, .* got .lava.'):
        adapters.accelerate(neuron.IFNode(), library='lava')


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sinabs', None)
    with pytest.raises(ImportError, match=r"library 'sinabs' is not installed: pip install .snnkern\[adapters\]"):
        adapters.accelerate(neuron.IFNode(), library='sinabs')


def test_a_library_without_neurons_in_the_model():
    with pytest.raises(ValueError, match=r'looked for modules of spikingjelly\.[\w.]+ \(BaseNode\)'):
        adapters.accelerate(nn.Linear(2, 2), library='spikingjelly')


def test_neurons_of_several_libraries(monkeypatch):
    """A made-up second library, whose one neuron is a torch module."""

    class Foreign(nn.ReLU): ...

    Foreign.__module__ = 'norse.torch'
    theirs = types.SimpleNamespace(NEURONS=(Foreign,), FUSED={})
    own = _swap.adapter
    monkeypatch.setattr(_swap, 'adapter', lambda name: theirs if name == 'norse' else own(name))
    net = nn.Sequential(neuron.IFNode(), Foreign())
    with pytest.raises(ValueError, match=r'several libraries, norse \(1\), spikingjelly \(0\): choose one by library='):
        adapters.accelerate(net)
    ours = adapters.accelerate(net, library='spikingjelly')
    assert [type(m).__module__ for m in ours] == ['snnkern.adapters.spikingjelly', 'norse.torch']


def test_a_state_with_a_graph_cannot_be_copied():
    net = nn.Sequential(nn.Linear(3, 4), neuron.IFNode(step_mode='m'))
    net(torch.rand(2, 3))
    with pytest.raises(RuntimeError, match='a tensor of it has a graph: reset its states first, or pass inplace=True'):
        adapters.accelerate(net)
    assert type(net[1]) is neuron.IFNode
    assert type(adapters.accelerate(net, inplace=True)[1]) is not neuron.IFNode


def test_a_copy_leaves_the_model_alone():
    net = nn.Sequential(nn.Linear(3, 4), neuron.IFNode(step_mode='m'))
    before = [dict(m.__dict__) for m in net.modules()]
    ours = adapters.accelerate(net)
    assert [type(m) for m in net] == [nn.Linear, neuron.IFNode]
    assert [m.__dict__.keys() for m in net.modules()] == [d.keys() for d in before]
    assert ours[0].weight is not net[0].weight


def test_explain_is_a_table_and_data():
    net = nn.Sequential(neuron.IFNode(), nn.MaxPool2d(2), snnkern.nn.IF())
    before, after = adapters.explain(net), adapters.explain(adapters.accelerate(net))
    assert str(before).splitlines()[0] == '1 of 2 modules run on kernels'
    assert str(after).splitlines()[0] == '3 of 3 modules run on kernels'
    assert before.dict()['modules'][0] == {
        'name': '0',
        'kind': 'IFNode',
        'fused': False,
        'how': 'left: not accelerated',
    }
    assert after.dict()['fused'] == 3
    assert str(adapters.explain()) == str(snnkern.backends.explain())


def test_explain_a_converted_network():
    snn = snnkern.convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.rand(8, 4))
    assert str(adapters.explain(snn)) == str(snn.explain())


def test_pools_keep_no_indices():
    net = nn.Sequential(neuron.IFNode(), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, return_indices=True))
    ours = adapters.accelerate(net)
    assert [row.how for row in adapters.explain(ours).rows] == ['fused', 'fused', 'left: return_indices=True']
    x = torch.randint(0, 2, (2, 3, 9, 9)).float().requires_grad_()
    for kind in (slice(1, 2),):
        expected, actual = net[kind](x), ours[kind](x)
        assert torch.equal(expected, actual)
        upstream = torch.randn_like(expected)
        grads = [torch.autograd.grad(y, x, upstream)[0] for y in (expected, actual)]
        torch.testing.assert_close(*grads)
    assert len(ours[2](x)) == 2
    assert torch.equal(ours[1](x[0]), net[1](x[0]))  # [C, H, W] is torch's


def test_reading_a_number_follows_changes():
    class Own(adapters._fused.Fused):
        pass

    own, number = Own(), torch.tensor(0.5)
    assert own.numbers(a=number, b=2) == ({'a': 0.5, 'b': 2.0}, {})
    number.fill_(0.25)
    assert own.numbers(a=number)[0] == {'a': 0.25}
    assert own.numbers(a=torch.tensor(0.75))[0] == {'a': 0.75}
    learned, many = nn.Parameter(torch.tensor([0.5])), torch.rand(3)
    floats, tensors = own.numbers(a=learned, b=many)
    assert not floats
    assert tensors['a'].shape == ()
    assert tensors['b'] is many
