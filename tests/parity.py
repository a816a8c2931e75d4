"""One backend against the reference on a case: what every kernel must pass, wherever it runs."""

from types import ModuleType

from cases import Case
from torch import Tensor

from snnkern.backends import reference
from snnkern.testing import assert_grads_close, assert_spikes_equal


def forward(backend: ModuleType, case: Case, x: Tensor, v0: Tensor | None) -> tuple:
    """Spikes, last state, checkpoints."""
    return backend.multistep_fwd(x, v0, case.neuron.spec, case.T, True, case.state)


def backward(backend: ModuleType, case: Case, x: Tensor, v0: Tensor | None, checkpoints: Tensor | None) -> tuple:
    """Gradients of x and of the initial state."""
    arguments = x, v0, checkpoints, case.neuron.spec, case.T, case.v0
    return backend.multistep_bwd(*case.gradients(), *arguments)


def check(backend: ModuleType, case: Case, x: Tensor, v0: Tensor | None) -> None:
    """Spikes, last state and checkpoints equal those of the reference, gradients are close to its."""
    results = forward(backend, case, x, v0)
    for actual, expected in zip(results, forward(reference, case, x, v0), strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_spikes_equal(actual, expected)
    grads = backward(backend, case, x, v0, results[2])
    for actual, expected in zip(grads, backward(reference, case, x, v0, None), strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_grads_close(actual, expected, case.dtype)
