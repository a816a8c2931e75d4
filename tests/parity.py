"""One backend against the reference on a case: what every kernel must pass, wherever it runs."""

from types import ModuleType

from cases import Case
from torch import Tensor

from snnkern.backends import reference
from snnkern.testing import assert_grads_close, assert_spikes_equal


def forward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> tuple:
    """Spikes, last state, trace of v, sum, checkpoints."""
    return backend.multistep_fwd(
        x, state, case.coefficients(), None, case.spec, case.T, True, case.state, case.v_seq, False
    )


def backward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None, checkpoints: Tensor | None) -> tuple:
    """Gradients of x, of the initial state and of the coefficients."""
    rows = case.coefficients()
    wants = True, state is not None, rows is not None
    return backend.multistep_bwd(*case.gradients(), None, x, state, rows, checkpoints, None, case.spec, case.T, *wants)


def check(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> None:
    """Spikes, states and checkpoints equal those of the reference, gradients are close to its."""
    results = forward(backend, case, x, state)
    for actual, expected in zip(results, forward(reference, case, x, state), strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_spikes_equal(actual, expected)
    grads = backward(backend, case, x, state, results[4])
    dtypes = case.dtype, case.dtype, 'sums'
    for actual, expected, dtype in zip(grads, backward(reference, case, x, state, None), dtypes, strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_grads_close(actual, expected, dtype)
