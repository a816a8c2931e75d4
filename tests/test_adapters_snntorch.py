"""snnTorch's networks on our kernels: the same outputs, states and gradients, and the library's functions go on working.

Spikes and potentials are equal to the bit.
"""

import copy
import pickle

import pytest
import torch
from torch import nn

from snnkern import adapters
from snnkern.adapters._fused import Fused
from snnkern.testing import assert_grads_close, assert_spikes_equal

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed: no oracle')
surrogate = pytest.importorskip('snntorch.surrogate')
functional = pytest.importorskip('snntorch.functional')
utils = pytest.importorskip('snntorch.utils')


def run(layer, x, given=()):
    """All steps of x [T, ...] with explicit states: every output, and the gradients of x, states and parameters."""
    layer.zero_grad()
    x = x.detach().requires_grad_()
    states = [state.clone().requires_grad_() for state in given]
    found, now = [], states or [None]
    for step in x:
        s, *now = layer(step, *now)
        found.append((s, *now))
    outputs = [torch.stack(o) for o in zip(*found, strict=True)]
    draw = torch.Generator().manual_seed(1)
    sum((o * torch.randn(o.shape, generator=draw)).sum() for o in outputs if o.requires_grad).backward()
    grads = [t.grad for t in (x, *states, *layer.parameters())]
    return outputs, grads


def same(layer, x, given=()):
    """An accelerated copy gives what the layer gives."""
    fast = adapters.accelerate(layer)
    assert adapters.explain(fast).fused == 1
    outputs, grads = run(layer, x, given)
    found, found_grads = run(fast, x, given)
    assert outputs[0].count_nonzero() > 0.02 * outputs[0].numel()
    for actual, expected in zip(found, outputs, strict=True):
        assert_spikes_equal(actual, expected)
    for actual, expected in zip(found_grads, grads, strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_grads_close(actual, expected, 'sums')
    assert_spikes_equal(fast.mem, layer.mem)
    assert_spikes_equal(fast.reset, layer.reset)
    return fast


def drive(*shape, T=8, gain=1.0):
    return (torch.randn(T, *shape) + 0.6) * gain


OPTIONS = [
    {},
    {'reset_mechanism': 'zero'},
    {'reset_mechanism': 'none'},
    {'reset_mechanism': 'zero', 'reset_delay': False},
    {'reset_mechanism': 'none', 'reset_delay': False},
    {'learn_beta': True, 'learn_threshold': True, 'learn_graded_spikes_factor': True, 'graded_spikes_factor': 0.7},
    {'reset_mechanism': 'zero', 'learn_beta': True, 'learn_threshold': True},
    {'threshold': 0.7, 'graded_spikes_factor': 2.0},
    {'threshold': 1, 'surrogate_disable': True},
    {'spike_grad': surrogate.fast_sigmoid(25)},
    {'spike_grad': surrogate.sigmoid(5)},
    {'spike_grad': surrogate.straight_through_estimator()},
    {'spike_grad': surrogate.heaviside()},
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_leaky(options):
    x = drive(6, 10)
    same(snn.Leaky(0.8, **options), x)
    same(snn.Leaky(0.8, **options), x, [torch.rand(6, 10)])


@pytest.mark.parametrize('mechanism', ['subtract', 'zero'])
@pytest.mark.parametrize('shape', [(10,), (4, 1, 1), (4, 3, 5), (5,), (1,)])
def test_numbers_of_any_shape_that_fits(shape, mechanism):
    draw = {(10,): (6, 10)}.get(shape, (6, 4, 3, 5))
    beta, threshold = torch.rand(shape), torch.rand(shape) + 0.5
    same(snn.Leaky(beta, threshold, learn_beta=True, learn_threshold=True, reset_mechanism=mechanism), drive(*draw))
