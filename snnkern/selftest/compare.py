"""What a case gives, and how far two of them are apart."""

from typing import NamedTuple

import torch
from torch import Tensor

from snnkern.testing import assert_grads_close, assert_spikes_equal


class Result(NamedTuple):
    """A tensor of a call. tolerance: whose of `testing.TOLERANCES` holds for it; None: it is equal to the bit."""

    tensor: Tensor | None
    tolerance: torch.dtype | str | None = None


Results = dict[str, Result]


def on(device: torch.device, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors on a device, in their layouts."""
    return tuple(t if t is None else t.to(device) for t in tensors)


class DifferenceError(AssertionError):
    """What differs first. deviation: the largest of all tensors."""

    def __init__(self, what: str, deviation: float) -> None:
        super().__init__(what)
        self.deviation = deviation


def compare(found: Results, expected: Results) -> float:
    """The largest deviation of what was found, relative to the largest value of each tensor.

    Raises AssertionError that names the first tensor that is wrong.
    """
    worst, wrong = 0.0, ''
    for name, (tensor, tolerance) in expected.items():
        actual = found[name].tensor
        if actual is None or tensor is None:
            if actual is not tensor:
                wrong = wrong or f'{name}: {"missing" if actual is None else "not wanted, but there"}'
            continue
        a, b = actual.detach().cpu(), tensor.detach().cpu()
        try:
            if tolerance is None:
                assert_spikes_equal(a, b)
            else:
                assert_grads_close(a, b, tolerance)
        except AssertionError as error:
            wrong = wrong or f'{name}: {error}'
        worst = max(worst, deviation(a, b))
    if wrong:
        raise DifferenceError(wrong, worst)
    return worst


def deviation(actual: Tensor, expected: Tensor) -> float:
    """The largest distance of two finite values of equal places, divided by the largest of the expected ones."""
    if actual.shape != expected.shape:
        return 0.0
    a, b = actual.double().flatten(), expected.double().flatten()
    finite = a.isfinite() & b.isfinite()
    if not finite.any():
        return 0.0
    a, b = a[finite], b[finite]
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(torch.float32).tiny))
