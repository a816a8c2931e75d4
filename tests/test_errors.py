"""Each wrong argument is one clear sentence: its name, what came, what was expected."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import snnkern
from snnkern import IF, LIF, ATan, Binary, Burst, Hard, Neuron, PiecewiseExp, Rectangle, Sigmoid, Soft, Triangle, nn
from snnkern.functional import integrate_fire, lif, multistep

NAN, INF = float('nan'), float('inf')
X = torch.ones(4, 3)


@pytest.mark.parametrize('function', [lif, integrate_fire, nn.LIF(), nn.IF(), nn.Neuron(Neuron())])
@pytest.mark.parametrize('dtype', [torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_dtype(function, dtype):
    with pytest.raises(TypeError, match=rf'^x must be float32, float16, bfloat16 or float64, got {dtype}$'):
        function(torch.ones(4, 3, dtype=dtype))


@pytest.mark.parametrize('x', [None, 1.0, [1.0], X.numpy()])
def test_no_tensor(x):
    with pytest.raises(TypeError, match=r'^x must be a tensor, got (NoneType|float|list|ndarray)$'):
        lif(x)


@pytest.mark.parametrize('x', [torch.tensor(1.0), torch.ones(0), torch.ones(0, 3)])
def test_no_steps(x):
    with pytest.raises(ValueError, match=r'^x must be \[T, \.\.\.\] with T >= 1, got shape \('):
        lif(x)


@pytest.mark.parametrize(
    ('T', 'error', 'text'),
    [
        (0, ValueError, 'T must be >= 1, got 0'),
        (-3, ValueError, 'T must be >= 1, got -3'),
        (2.0, TypeError, r'T must be an integer, got 2\.0 \(float\)'),
        (True, TypeError, r'T must be an integer, got True \(bool\)'),
    ],
)
def test_steps_of_a_constant_input(T, error, text):
    with pytest.raises(error, match=f'^{text}$'):
        lif(X, T=T)


@pytest.mark.parametrize(
    ('v0', 'error', 'text'),
    [
        (torch.zeros(4), ValueError, r'v0 must have the shape of one step, \(3,\), got \(4,\)'),
        (torch.zeros(()), ValueError, r'v0 must have the shape of one step, \(3,\), got \(\)'),
        (torch.zeros(1, 3), ValueError, r'v0 must have the shape of one step, \(3,\), got \(1, 3\)'),
        (torch.zeros(3, dtype=torch.int64), TypeError, r'v0 must be a floating-point tensor, got torch\.int64'),
        (torch.zeros(3, dtype=torch.bool), TypeError, r'v0 must be a floating-point tensor, got torch\.bool'),
        (torch.zeros(3, device='meta'), ValueError, 'v0 must be on the device of x, got meta and cpu'),
    ],
)
def test_v0(v0, error, text):
    with pytest.raises(error, match=f'^{text}$'):
        lif(X, v0=v0)


@pytest.mark.parametrize('shape', [(4, 0), (1, 0, 3), (17, 2, 0, 5), (40, 0)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('backend', [None, 'reference'])
def test_no_neurons_is_no_error(shape, dtype, backend):
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    v0 = torch.ones(shape[1:], requires_grad=True)
    s, v = lif(x, v0=v0, return_state=True, backend=backend)
    assert (s.shape, s.dtype, v.shape) == (x.shape, dtype, v0.shape)
    (s.sum() + v.sum()).backward()
    assert x.grad.shape == x.shape
    assert v0.grad.shape == v0.shape
    assert lif(x[0], T=3, backend=backend).shape == (3, *shape[1:])


WRONG_NUMBERS = [
    (lambda: LIF(0.0), ValueError, r'tau must be > 0, got 0\.0'),
    (lambda: LIF(-1), ValueError, 'tau must be > 0, got -1'),
    (lambda: LIF(NAN), ValueError, 'tau must be finite, got nan'),
    (lambda: LIF(INF), ValueError, 'tau must be finite, got inf'),
    (lambda: LIF('2'), TypeError, r"tau must be a number, got '2' \(str\)"),
    (lambda: LIF(True), TypeError, r'tau must be a number, got True \(bool\)'),
    (lambda: LIF(2.0, NAN), ValueError, 'v_rest must be finite, got nan'),
    (lambda: Binary(NAN), ValueError, 'v_threshold must be finite, got nan'),
    (lambda: Burst(0.0), ValueError, r'v_threshold must be > 0, got 0\.0'),
    (lambda: Burst(1.0, 0), ValueError, 'max_spikes must be >= 1, got 0'),
    (lambda: Burst(1.0, 2.5), TypeError, r'max_spikes must be an integer, got 2\.5 \(float\)'),
    (lambda: Hard(INF), ValueError, 'v_reset must be finite, got inf'),
    *[(lambda kind=kind: kind(0.0), ValueError, r'alpha must be > 0, got 0\.0') for kind in (ATan, Sigmoid)],
    *[(lambda kind=kind: kind(NAN), ValueError, 'alpha must be finite, got nan') for kind in (Triangle, Rectangle)],
    (lambda: lif(X, tau=0.0), ValueError, r'tau must be > 0, got 0\.0'),
    (lambda: lif(X, tau=None), TypeError, 'tau must be a number, got None'),
    (lambda: lif(X, v_threshold=NAN), ValueError, 'v_threshold must be finite, got nan'),
    (lambda: lif(X, v_reset=INF), ValueError, r'v_re(set|st) must be finite, got inf'),
    (lambda: nn.LIF(tau=-2.0), ValueError, r'tau must be > 0, got -2\.0'),
    (lambda: integrate_fire(X, v_threshold='a'), TypeError, r"v_threshold must be a number, got 'a' \(str\)"),
]


@pytest.mark.parametrize(('call', 'error', 'text'), WRONG_NUMBERS)
def test_numbers(call, error, text):
    with pytest.raises(error, match=f'^{text}$'):
        call()


def test_neuron_of_wrong_parts():
    with pytest.raises(TypeError, match=r'^charge must be one of IF, LIF, .*, got Hard\('):
        Neuron(Hard())
    with pytest.raises(TypeError, match=r'^surrogate must be one of .*, got None$'):
        lif(X, surrogate=None)
    with pytest.raises(TypeError, match=r'^neuron must be a Neuron, got LIF$'):
        multistep(X, LIF())
    with pytest.raises(ValueError, match=r'^spec must name 4 parts'):
        Neuron.parse('LIF()')
    with pytest.raises(ValueError, match=r"^unknown charge 'Foo', expected one of IF, LIF, .*$"):
        Neuron.parse('Foo() Binary(1.0, 0.0) Soft(0.0) ATan(2.0)')
    with pytest.raises(ValueError, match=r'^surrogate ATan must have the values of alpha, got ATan\(2\.0, 1\.0\)$'):
        Neuron.parse('IF() Binary(1.0) Soft(0.0) ATan(2.0, 1.0)')
    with pytest.raises(ValueError, match=r'^surrogate Custom must have the values of number, got Custom\(\)$'):
        Neuron.parse('IF() Binary(1.0) Soft(0.0) Custom()')


def test_a_text_of_fewer_values_has_defaults():
    neuron = Neuron(IF(), Binary(0.5), Soft(), PiecewiseExp(2.0))
    assert Neuron.parse('IF() Binary(0.5) Soft() PiecewiseExp(2.0)') == neuron


def test_a_neuron_survives_its_text():
    for neuron in (Neuron(), Neuron(IF(), Burst(1 / 3, 7, True), Soft(True), Sigmoid(0.1))):
        again = Neuron.parse(neuron.spec)
        assert again == neuron
        assert [type(value) for value in vars(again.fire).values()] == [type(v) for v in vars(neuron.fire).values()]


def test_unknown_backend():
    text = r"^backend must be one of native, triton, reference, got 'gpu'$"
    with pytest.raises(ValueError, match=text):
        lif(X, backend='gpu')
    with pytest.raises(ValueError, match=text), snnkern.use_backend('gpu'):
        pass
    assert lif(X).shape == X.shape


def test_unknown_backend_of_the_environment():
    code = 'import torch, snnkern; snnkern.functional.lif(torch.ones(2, 3))'
    environment = {**os.environ, 'SNNKERN_BACKEND': 'gpu'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "backend must be one of native, triton, reference, got 'gpu'" in done.stderr


def test_unknown_instruction_set():
    code = 'import torch, snnkern; snnkern.functional.lif(torch.ones(2, 3))'
    environment = {**os.environ, 'SNNKERN_ISA': 'mmx', 'SNNKERN_BACKEND': 'native'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'instruction set mmx is not one of this machine and build' in done.stderr


@pytest.mark.parametrize('force', ['argument', 'context'])
def test_backend_that_cannot_run_says_why(force):
    """float64 has no kernels; a CPU tensor has no Triton."""
    cases = [('native', X.double(), 'no float64 kernels'), ('triton', X, '.*(CPU|cpu|triton|Triton)')]
    for name, x, reason in cases:
        argument = name if force == 'argument' else None
        refused = pytest.raises(RuntimeError, match=rf"^backend '{name}' cannot run multistep: {reason}")
        with snnkern.use_backend(name if force == 'context' else None), refused:
            lif(x, backend=argument)


def test_argument_beats_context():
    with snnkern.use_backend('native'):
        assert lif(X.double(), backend='reference').dtype == torch.float64


@pytest.mark.parametrize(
    ('call', 'error', 'text'),
    [
        (lambda x: lif(x, tau=1e-50), ValueError, 'tau must be > 0, got 1e-50'),
        (lambda x: lif(x, tau=1e300), ValueError, r'tau must fit into float32, got 1e\+300'),
        (lambda x: lif(x, tau=1.0) + lif(x, tau=True), TypeError, 'tau must be a number, got True'),
        (lambda x: lif(x, v_reset='a'), TypeError, "v_reset must be a number, got 'a'"),
        (lambda x: lif(x, v0=float('nan')), ValueError, 'v0 must be finite, got nan'),
        (lambda x: lif(x, v0='a'), TypeError, "v0 must be a number, got 'a'"),
        (lambda x: lif(x.to_sparse()), TypeError, 'x must be a dense tensor, got torch.sparse_coo'),
        (lambda x: lif(x, surrogate=[1]), TypeError, 'surrogate must be one of ATan, '),
        (lambda x: lif(x, backend=['native']), TypeError, 'backend must be a name or None'),
        (lambda x: Burst(1.0, 2**31), ValueError, 'max_spikes must be <= 1048576'),
    ],
)
def test_odd_arguments(call, error, text):
    with pytest.raises(error, match=f'^{text}'):
        call(torch.rand(3, 4))


def test_numpy_numbers_are_numbers():
    x = torch.rand(3, 4)
    assert torch.equal(lif(x, tau=np.float32(2.5), v_threshold=np.float64(0.5)), lif(x, tau=2.5, v_threshold=0.5))
