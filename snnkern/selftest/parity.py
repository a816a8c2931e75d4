"""One backend against the reference on a call of neurons, at the level where checkpoints and spans are visible."""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import reference
from snnkern.selftest.cases import Case
from snnkern.selftest.compare import Result, Results, compare, on
from snnkern.testing import assert_spikes_equal

# Where arithmetic is no longer that of ordinary numbers, and where a spike hangs on the last bit.
ODD = (torch.nan, torch.inf, -torch.inf, 1.0, 2.0, 0.5, 0.75, 3e38, -3e38, 1e-45, -0.0, 1 - 2.0**-24)


def forward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> tuple:
    """Spikes, last state, trace of v, sum, checkpoints."""
    tensors = x, state, *on(x.device, case.coefficients(), case.residual())
    return backend.multistep_fwd(*tensors, case.spec, case.T, True, case.state, case.v_seq, case.sum)


def backward(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None, checkpoints: Tensor | None) -> tuple:
    """Gradients of x (what neurons saw), of the initial state and of the coefficients."""
    *grads, rows, line = on(x.device, *case.gradients(), case.coefficients(), case.lines())
    tensors, wants = (x, state, rows, checkpoints, line), (case.want_x, state is not None, rows is not None)
    return backend.multistep_bwd(*grads, *tensors, case.spec, case.T, *wants)


def results(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> Results:
    """Everything that both directions give; backward takes the checkpoints of forward."""
    there = forward(backend, case, x, state)
    back = backward(backend, case, there[3] if case.sum else case.seen(x), state, there[4])
    found = {
        name: Result(t) for name, t in zip(('spikes', 'last state', 'v', 'sum', 'checkpoints'), there, strict=True)
    }
    names = 'gradient of x', 'gradient of the state', 'gradients of coefficients'
    tolerances: tuple[torch.dtype | str, ...] = case.dtype, case.dtype, 'sums'
    for name, t, tolerance in zip(names, back, tolerances, strict=True):
        found[name] = Result(t, tolerance)
    return found


def check(backend: ModuleType, case: Case, x: Tensor, state: Tensor | None) -> None:
    """Spikes, states and checkpoints equal those of the reference, gradients are close to its."""
    found = results(backend, case, x, state)
    compare(found, results(reference, case, x, state))
    if case.sum:
        total = found['sum'].tensor
        assert total is not None
        assert_spikes_equal(total, case.seen(x))


@dataclass(frozen=True)
class Recurrence:
    """A call of neurons. odd: inputs are `ODD` values in place of the case's own, from potentials of this number."""

    case: Case
    odd: float | None = None

    @property
    def op(self) -> str:
        """The row of the table."""
        if self.odd is not None:
            return 'special values'
        if self.case.connect or self.case.line:
            return 'residual'
        return 'coefficients' if self.case.rows else 'multistep'

    @property
    def dtype(self) -> torch.dtype:
        """Of x."""
        return self.case.dtype

    needs = 'multistep'

    def refusal(self, device: torch.device) -> str | None:
        """Runs everywhere."""
        return None

    def results(self, backend: str, device: torch.device) -> Results:
        """Of both directions."""
        x, state = self.case.inputs()
        if self.odd is not None:
            x = torch.tensor(ODD).repeat(self.case.T, 1)
            x[1:, 3:6] = torch.tensor([0.5, -0.0, torch.nan])
            x, state = x.to(self.dtype), torch.zeros(len(self.case.neuron.states), len(ODD))
            state[0] = self.odd
        x, state = on(device, x, state)  # type: ignore[assignment]
        return results(backends.module(backend), self.case, x, state)
