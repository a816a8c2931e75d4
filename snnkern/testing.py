"""How results are compared: one table of tolerances (dtype x quantity), and three comparisons.

Spikes of two backends are equal (`assert_spikes_equal`): all of them compute in float32 in one order. Where
the arithmetic differs on purpose (a half-precision loop, a fused BatchNorm) `assert_first_flip` compares each
neuron up to its first differing spike, since all later ones depend on it. Gradients and potentials are
compared by `assert_grads_close`, elementwise and as a whole: a small bias hides in elementwise tolerances.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """What two right results may differ by.

    elementwise: |a - b| <= rtol * |b| + atol * max |b| (cancellation inside a step leaves errors relative to
    the largest terms, not to their sum). l2: relative L2 distance. cosine: 1 - cosine similarity. band:
    relative distance to a threshold within which a spike may flip. flips: share of neurons that may.
    unbiased: flips go both ways (a potential rounded to half precision is lifted to a threshold, never below).
    """

    rtol: float
    atol: float
    l2: float
    cosine: float
    band: float
    flips: float
    unbiased: bool


# Half precision: results are computed in float32 and rounded once, so two may lie one unit in the last place
# apart: 2^-10 of the value for float16, 2^-7 for bfloat16. The bands are four units, of float32 32.
TOLERANCES = {
    torch.float64: Tolerance(1e-10, 1e-12, 1e-12, 1e-13, 1e-12, 0.0, True),
    torch.float32: Tolerance(2e-5, 2e-6, 2e-6, 1e-10, 4e-6, 1e-3, True),
    torch.float16: Tolerance(1e-3, 2e-6, 3e-4, 1e-7, 4e-3, 0.02, False),
    torch.bfloat16: Tolerance(8e-3, 2e-6, 2.5e-3, 1e-5, 3.2e-2, 0.1, False),
    # Gradients of coefficients: float32 sums over the steps, then over neurons; terms of both signs cancel.
    'sums': Tolerance(1e-4, 2e-5, 2e-5, 1e-9, 0.0, 0.0, True),
}


def assert_same_kind(actual: Tensor, expected: Tensor) -> None:
    """Same shape, dtype and strides where a stride means anything."""
    assert actual.shape == expected.shape, f'shape {tuple(actual.shape)}, expected {tuple(expected.shape)}'
    assert actual.dtype == expected.dtype, f'dtype {actual.dtype}, expected {expected.dtype}'
    differ = [a != e for a, e in zip(actual.stride(), expected.stride(), strict=True)]
    wrong = any(d for d, size in zip(differ, expected.shape, strict=True) if size > 1)
    assert actual.numel() == 0 or not wrong, f'strides {actual.stride()}, expected {expected.stride()}'


def assert_spikes_equal(actual: Tensor, expected: Tensor) -> None:
    """Every value is equal to the bit (all NaN count as one); also for potentials."""
    assert_same_kind(actual, expected)
    differ = ~((actual == expected) | (actual.isnan() & expected.isnan()))
    if differ.any():
        place = tuple(differ.nonzero()[0].tolist())
        raise AssertionError(
            f'{int(differ.sum())} of {differ.numel()} values differ, first at {place}: '
            f'{actual[place].item()!r}, expected {expected[place].item()!r}'
        )


def assert_first_flip(actual: Tensor, expected: Tensor, h: Tensor, v_threshold: float) -> None:
    """Neurons agree up to their first differing spike, which lies at a threshold; flips are few, and unbiased.

    actual, expected: spike counts [T, ...] in the dtype whose tolerance holds. h: the potentials before
    firing [T, ...] that belong to expected. Raises AssertionError.
    """
    assert_same_kind(actual, expected)
    tolerance = TOLERANCES[actual.dtype]
    got, want, potential = (t.detach().flatten(1).double() for t in (actual, expected, h))
    differ = got != want
    flipped = differ.any(0)
    count = int(flipped.sum())
    allowed = tolerance.flips * flipped.numel() + 1
    assert count <= allowed, f'{count} of {flipped.numel()} neurons flip, allowed {allowed:.0f}'
    first = differ.double().argmax(0)[flipped].unsqueeze(0)
    at, new, old = (t[:, flipped].gather(0, first)[0] for t in (potential, got, want))
    crossed = torch.maximum(new, old) * v_threshold
    distance = (at - crossed).abs() / torch.maximum(at.abs(), torch.full_like(at, abs(v_threshold)))
    worst = distance.max().item() if count else 0.0
    assert worst <= tolerance.band, f'a spike flips {worst:.1e} off its threshold, allowed {tolerance.band}'
    if tolerance.unbiased:
        bias = (new - old).sign().sum().abs().item()
        assert bias <= 4 * count**0.5 + 1, f'{count} flips lean one way by {bias:.0f}'


def assert_grads_close(actual: Tensor, expected: Tensor, dtype: torch.dtype | str | None = None) -> None:
    """Gradients (or potentials) agree elementwise, in relative L2 distance and in direction.

    dtype: whose tolerance holds, if not that of `expected` ("sums": of coefficients). NaN must meet
    NaN, and infinities be equal.
    """
    assert_same_kind(actual, expected)
    tolerance = TOLERANCES[dtype or expected.dtype]
    a, b = actual.detach().flatten().double(), expected.detach().flatten().double()
    finite = b.isfinite()
    assert_spikes_equal(a[~finite], b[~finite])
    a, b = a[finite], b[finite]
    if not b.numel():
        return
    error, largest = (a - b).abs(), b.abs().max()
    excess = error - tolerance.rtol * b.abs() - tolerance.atol * largest
    assert a.isfinite().all(), 'not finite where finite values are expected'
    worst = int(excess.argmax())
    assert excess[worst] <= 0, f'{a[worst]:.9g}, expected {b[worst]:.9g} (largest {largest:.3g})'
    l2 = error.norm() / b.norm() if largest > 0 else error.norm()
    assert l2 <= tolerance.l2, f'relative L2 distance {l2:.2e}, allowed {tolerance.l2}'
    if largest > 0:
        angle = 1 - (a @ b / (a.norm() * b.norm())).item()
        assert angle <= tolerance.cosine, f'1 - cosine {angle:.2e}, allowed {tolerance.cosine}'
