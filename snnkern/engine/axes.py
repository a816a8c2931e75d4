"""Directions of maps: of convolutions and pools, and of two of them one after the other."""

from dataclasses import replace
from math import gcd

import torch
from torch import Tensor

from snnkern.backends.events import Axis

Axes = tuple[Axis, Axis]


def same(size: int) -> Axis:
    """Each output reads the input of its own place."""
    return Axis(size, size)


def plain(axis: Axis) -> bool:
    """Whether an axis leaves its input as it is."""
    return axis == same(axis.size)


def transposed(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    """Of a transposed convolution of these numbers, whose kernel is read backwards."""
    return Axis(size, out, kernel, 1, (kernel - 1) * dilation - padding, dilation, stride, exact=stride > 1)


def composed(outer: Axis, inner: Axis) -> tuple[Axis, Tensor] | None:
    """One axis that does what `outer` does with the outputs of `inner`, and which of its taps each pair of theirs is,
    [outer.kernel, inner.kernel]. None if there is none: padding between the two may keep something out.
    """
    if outer.rate == 1:
        scale, shift, steps = inner.stride, inner.padding, (outer.dilation * inner.stride, inner.dilation)
    elif inner.stride == 1:
        scale, shift, steps = 1, inner.padding * outer.rate, (outer.dilation, inner.dilation * outer.rate)
    else:
        return None
    apart = gcd(*(step for step, axis in zip(steps, (outer, inner), strict=True) if axis.kernel > 1)) or 1
    taps = torch.arange(outer.kernel)[:, None] * steps[0] + torch.arange(inner.kernel) * steps[1]
    taps //= apart
    exact = inner.exact if outer.rate == 1 else outer.exact
    found = replace(
        inner, out=outer.out, kernel=int(taps.max()) + 1, stride=outer.stride * scale,
        padding=outer.padding * scale + shift, dilation=apart, rate=outer.rate * inner.rate, exact=exact,
    )  # fmt: skip
    reached = outer.inputs()
    wanted = torch.where(reached[..., None] >= 0, inner.inputs()[reached.clamp(min=0)], -1)
    return (found, taps) if torch.equal(found.inputs()[:, taps], wanted) else None
