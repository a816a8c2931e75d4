"""Errors of the neuron family: each wrong number, coefficient or state is one clear sentence."""

import math

import pytest
import torch

from snnkern import (
    IF,
    PLIF,
    Adaptive,
    Affine,
    Custom,
    Delayed,
    FastSigmoid,
    Integer,
    Neuron,
    Signed,
    SignedMemory,
    Synaptic,
    Ternary,
    Window,
    nn,
)
from snnkern.functional import multistep


@pytest.mark.parametrize(
    ('make', 'error', 'match'),
    [
        (lambda: Neuron(IF(), Adaptive(), Delayed()), TypeError, 'reset must not be Delayed for the fire Adaptive'),
        (lambda: PLIF(math.nan), ValueError, 'k must be finite, got nan'),
        (lambda: Affine(b=math.inf), ValueError, 'b must be finite, got inf'),
        (lambda: Synaptic(decay='x'), TypeError, "decay must be a number, got 'x'"),
        (lambda: IF(math.nan), ValueError, 'c must be finite'),
        (lambda: Ternary(0.0), ValueError, 'v_threshold must be > 0, got 0.0'),
        (lambda: Ternary(1.0, 3, strict=True), ValueError, 'strict needs max_spikes = 1, got 3'),
        (lambda: Signed(1.0, negative_threshold=2.0, strict=True), ValueError, 'negative_threshold must be < 1'),
        (lambda: Signed(1.0, negative_threshold=1.0), ValueError, '< 1 .times v_threshold., or 1 with strict, got 1.0'),
        (lambda: Signed.leaky(0.0), ValueError, 'slope must be > 0, got 0.0'),
        (lambda: SignedMemory(1.0, negative_threshold=0.5), ValueError, 'negative_threshold must be <= 0'),
        (lambda: Integer(1.0, 0), ValueError, 'max_spikes must be >= 1, got 0'),
        (lambda: Adaptive(beta=math.inf), ValueError, 'beta must be finite, got inf'),
        (lambda: Window(1.0, 1.0), ValueError, 'high must be above low = 1.0, got 1.0'),
        (lambda: FastSigmoid(-1.0), ValueError, 'alpha must be > 0, got -1.0'),
        (lambda: Custom(10**6), ValueError, 'number must be of a function'),
        (lambda: Custom.of(3), TypeError, 'grad must be a function of a tensor, got int'),
        (lambda: nn.ParametricLIF(1.0), ValueError, 'init_tau must be > 1 and finite to be learned, got 1.0'),
        (lambda: nn.Leaky(reset='soft'), ValueError, "reset must be one of subtract, zero, none, got 'soft'"),
        (lambda: nn.Leaky(torch.tensor(math.nan)), ValueError, 'a must be finite, got'),
        (lambda: nn.DoubleSidePLIF(compat='x'), ValueError, 'compat must be None or "sign", got \'x\''),
        (lambda: nn.LIF(step_mode='t'), ValueError, "step_mode must be .*, got 't'"),
        (lambda: nn.LIF(learn=['a']), ValueError, 'a must be one of c, v_threshold, alpha for this neuron'),
        (lambda: nn.LIF(learn={'c': 'cube'}), ValueError, 'learn must give a form among .*, got .cube. for c'),
        (lambda: nn.LIF(learn={'v_threshold': 'sigmoid'}), ValueError, 'v_threshold must be between 0 and 1'),
        (lambda: nn.LIF(tensors={'c': 3.0}), TypeError, 'c must be a tensor, got float'),
        (lambda: nn.LIF(learn=['c'], tensors={'c': torch.ones(1)}), ValueError, 'c must be given once'),
        (lambda: nn.LIF(learn='alpha'), TypeError, "learn must be a list or mapping of names, got the text 'alpha'"),
        (lambda: nn.LIF(channels=3), ValueError, 'channels must come with numbers to learn, got 3 and none'),
        (lambda: nn.BiasLIF(tau=0, parametric=True), ValueError, 'tau must be > 1 and finite to be learned, got 0'),
        (lambda: setattr(nn.LIF(), 'v', 0.5), TypeError, 'v must be a tensor or None, got float'),
    ],
)
def test_bad_numbers_of_neurons(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ('arguments', 'error', 'match'),
    [
        ({'coefficients': {'k': torch.ones(())}}, ValueError, "among c, v_threshold, alpha for this neuron, got 'k'"),
        ({'coefficients': {'c': 1.0}}, TypeError, 'coefficient c must be a floating-point tensor, got float'),
        ({'coefficients': {'c': torch.ones(3, dtype=int)}}, TypeError, 'coefficient c must .*, got torch.int64'),
        ({'coefficients': {'c': torch.ones(5)}}, ValueError, r'C = 3 \(dimension 2 of x\), got shape \(5,\)'),
        ({'coefficients': {'c': torch.ones(3, 3)}}, ValueError, r'with T = 4 .*, got shape \(3, 3\)'),
        ({'coefficients': {'c': torch.ones(2)}, 'channel_dim': 7}, ValueError, 'C = None'),
        ({'coefficients': {'c': torch.ones(1, device='meta')}}, ValueError, 'must be on the device of x'),
        ({'coefficients': [('c', torch.ones(1))]}, TypeError, 'coefficients must be a mapping from name to tensor'),
        ({'coefficients': torch.ones(1)}, TypeError, 'coefficients must be a mapping .*, got Tensor'),
        ({'coefficients': {'c': torch.ones(3).to_sparse()}}, TypeError, 'coefficient c must be a dense tensor'),
        ({'coefficients': {'c': torch.ones(())}, 'channel_dim': 2.0}, TypeError, 'channel_dim must be an integer'),
        ({'v0': torch.ones(2, 2, 3)}, ValueError, r'v0 must have the shape of one step, \(2, 3\), got'),
    ],
)
def test_bad_coefficients_and_states(arguments, error, match):
    with pytest.raises(error, match=match):
        multistep(torch.zeros(4, 2, 3), Neuron(), **arguments)


def test_a_threshold_cannot_vary_under_a_delayed_reset():
    with pytest.raises(ValueError, match='v_threshold must not vary in time under a Delayed reset'):
        multistep(torch.zeros(4, 2), Neuron(reset=Delayed()), coefficients={'v_threshold': torch.ones(4, 1)})
