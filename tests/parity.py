"""One backend against the reference on a case: what every kernel must pass, wherever it runs."""

from types import ModuleType

from cases import Case
from torch import Tensor

from snnkern.backends import reference
from snnkern.testing import assert_grads_close, assert_spikes_equal


def forward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> tuple:
    """Spikes, last state, trace of v, sum, checkpoints."""
    tensors, wants = (x, state, case.coefficients(), case.residual()), (case.state, case.v_seq, case.sum)
    return backend.multistep_fwd(*tensors, case.spec, case.T, True, *wants)


def backward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None, checkpoints: Tensor | None) -> tuple:
    """Gradients of x (what neurons saw), of the initial state and of the coefficients."""
    rows, grads = case.coefficients(), case.gradients()
    tensors, wants = (x, state, rows, checkpoints, case.lines()), (case.want_x, state is not None, rows is not None)
    return backend.multistep_bwd(*grads, *tensors, case.spec, case.T, *wants)


def check(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> None:
    """Spikes, states and checkpoints equal those of the reference, gradients are close to its."""
    results = forward(backend, case, x, state)
    for actual, expected in zip(results, forward(reference, case, x, state), strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_spikes_equal(actual, expected)
    x = case.seen(x)
    if case.sum:
        assert_spikes_equal(results[3], x)
    grads = backward(backend, case, x, state, results[4])
    dtypes = case.dtype, case.dtype, 'sums'
    for actual, expected, dtype in zip(grads, backward(reference, case, x, state, None), dtypes, strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_grads_close(actual, expected, dtype)
