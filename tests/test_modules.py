"""Stateful modules: what is carried between calls, and what becomes of it in moves and copies."""

import copy
import io
import pickle

import pytest
import torch

from snnkern import IF, Burst, Neuron, Sigmoid, Soft, functional, nn
from snnkern.testing import assert_spikes_equal

MODULES = {
    'LIF': (
        nn.LIF(tau=3.0, v_reset=-0.1),
        lambda x, v: functional.lif(x, 3.0, v_reset=-0.1, v0=v, return_state=True),
    ),
    'IF': (
        nn.IF(v_reset=None),
        lambda x, v: functional.integrate_fire(x, v_reset=None, v0=v, return_state=True),
    ),
    'Neuron': (
        nn.Neuron(Neuron(IF(), Burst(0.5, 3), Soft())),
        lambda x, v: functional.multistep(x, Neuron(IF(), Burst(0.5, 3), Soft()), v0=v, return_state=True),
    ),
}


def used():
    """A module with a state."""
    module = nn.LIF()
    module(torch.randn(4, 2, 3, requires_grad=True))
    return module


@pytest.mark.parametrize('name', MODULES)
def test_state_is_carried_until_reset(name):
    module, function = MODULES[name]
    module.reset()
    x = torch.randn(3, 5, 2, 7)
    for _ in range(2):
        v = None
        for part in x:
            wanted, v = function(part, v)
            assert torch.equal(module(part), wanted)
            assert torch.equal(module.v, v)
        nn.reset(module)
        assert module.v is None


def test_state_has_no_graph():
    module = nn.LIF()
    x = torch.randn(4, 3, requires_grad=True)
    for _ in range(3):
        module(x).sum().backward()
        assert not module.v.requires_grad


def test_layout_of_the_state_is_that_of_the_input():
    module = nn.LIF()
    x = torch.randn(8, 3, 4, 5).to(memory_format=torch.channels_last).unflatten(0, (4, 2))
    module(x)
    assert module.v.is_contiguous(memory_format=torch.channels_last)
    assert_spikes_equal(module(x).contiguous(), functional.lif(torch.cat([x, x]).contiguous())[4:])


def test_reset_reaches_every_neuron():
    net = torch.nn.Sequential(nn.LIF(), torch.nn.Sequential(torch.nn.Linear(3, 3), nn.IF()), nn.LateralPool2d(2))
    net[:2](torch.randn(4, 2, 3))
    assert net[0].v is not None
    assert net[1][1].v is not None
    nn.reset(net)
    assert net[0].v is None
    assert net[1][1].v is None


@pytest.mark.parametrize('shape', [(4, 3, 3), (4, 2), (4, 2, 3, 1)])
def test_another_shape_asks_for_reset(shape):
    module = used()
    with pytest.raises(ValueError, match=r'shape .*\(2, 3\).*reset\(\)'):
        module(torch.randn(shape))
    module.reset()
    module(torch.randn(shape))


def test_another_device_asks_for_reset():
    module = used()
    with pytest.raises(ValueError, match=r'on meta.*on cpu.*reset\(\)'):
        module(torch.randn(4, 2, 3, device='meta'))


def test_another_length_or_dtype_does_not():
    module = used()
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        s = module(torch.randn(7, 2, 3).to(dtype))
        assert s.dtype == dtype
        assert module.v.dtype == torch.float32


def test_state_dict_is_empty():
    module = used()
    assert module.state_dict() == {}
    assert list(module.buffers()) == []
    module.load_state_dict({})
    assert module.v is not None


@pytest.mark.parametrize('change', ['half', 'bfloat16', 'double', 'float'])
def test_casts_leave_the_state(change):
    module = used()
    v = module.v.clone()
    getattr(module, change)()
    assert module.v.dtype == torch.float32
    assert torch.equal(module.v, v)


def test_moves_take_the_state():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), used())
    net.to('meta')
    assert net[1].v.is_meta
    net.to_empty(device='cpu')
    assert net[1].v is None  # a meta tensor has no values to bring back


COPIES = {
    'deepcopy': copy.deepcopy,
    'copy': copy.copy,
    'pickle': lambda m: pickle.loads(pickle.dumps(m)),
    'save': lambda m: torch.load(_saved(m), weights_only=False),
}


def _saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return file


@pytest.mark.parametrize('how', COPIES)
@pytest.mark.parametrize('with_graph', [False, True])
def test_copies_have_their_own_state(how, with_graph):
    module = used()
    if with_graph:
        module.v = module.v.requires_grad_() * 1
    v = module.v.detach().clone()
    other = COPIES[how](module)
    assert torch.equal(other.v, v)
    assert not other.v.requires_grad
    other.v.zero_()
    assert torch.equal(module.v, v)
    other.reset()
    module.v = v
    x = torch.randn(4, 2, 3)
    assert torch.equal(module(x), functional.lif(x, v0=v))
    assert torch.equal(other(x), functional.lif(x))


@pytest.mark.parametrize('how', COPIES)
def test_copies_before_the_first_call(how):
    assert COPIES[how](nn.LIF(tau=5.0)).neuron == nn.LIF(tau=5.0).neuron


def test_training_after_inference_mode():
    """A tensor of inference mode cannot be saved for backward: the state is copied on the way."""
    module = nn.LIF()
    x = torch.randn(4, 3)
    with torch.inference_mode():
        first = module(x)
        assert module.v.is_inference()
        module(x)
    module.reset()
    with torch.inference_mode():
        assert torch.equal(module(x), first)
    y = x.clone().requires_grad_()
    module(y).sum().backward()
    assert y.grad.count_nonzero()
    assert not module.v.is_inference()


def test_repr_says_what_it_is():
    lif = nn.LIF(tau=3.0, v_reset=None)
    assert repr(lif) == (
        'LIF(tau=3.0, decay_input=True, v_threshold=1.0, v_reset=None, surrogate=ATan(alpha=2.0), detach_reset=False)'
    )
    assert repr(nn.IF(0.5, surrogate=Sigmoid(), detach_reset=True, backend='reference')) == (
        "IF(v_threshold=0.5, v_reset=0.0, surrogate=Sigmoid(alpha=4.0), detach_reset=True, backend='reference')"
    )
    assert 'fire=Burst(v_threshold=0.5, max_spikes=3' in repr(MODULES['Neuron'][0])
    assert repr(nn.LateralPool2d(2, padding=1)) == (
        'LateralPool2d(kernel_size=2, stride=2, padding=1, dilation=1, ceil_mode=False, scale=1.0)'
    )


def test_backend_is_passed_on():
    for module in (
        nn.LIF(backend='nonsense'),
        nn.IF(backend='nonsense'),
        nn.LateralPool2d(2, backend='nonsense'),
    ):
        with pytest.raises(ValueError, match="got 'nonsense'"):
            module(torch.zeros(2, 2, 4, 4))


def test_wrong_parameters_fail_at_once():
    with pytest.raises(ValueError, match='tau must be > 0'):
        nn.LIF(tau=0.0)
    with pytest.raises(TypeError, match='tau must be a number, got None'):
        nn.LIF(tau=None)
    with pytest.raises(TypeError, match=r'neuron must be a snnkern\.Neuron, got IF'):
        nn.Neuron(IF())


def test_pool_module_is_the_function():
    x = (torch.rand(5, 2, 3, 9, 9) < 0.3).float() * 0.7
    module = nn.LateralPool2d(3, 2, 1, ceil_mode=True, scale=0.7)
    assert torch.equal(module(x), functional.lateral_pool2d(x, 3, 2, 1, ceil_mode=True, scale=0.7))
