"""How a charged membrane potential h becomes spikes s: the fire axis of a neuron.

A fire is a count `spikes(h)` and `levels`, the number of thresholds k * v_threshold (k = 1..levels) that it
counts; backward adds the surrogate's derivative at each. A NaN in h gives no spike.
The same formulas stand in csrc/math/fire.h and backends/triton_math.py.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from snnkern._checks import finite, positive, whole
from snnkern.surrogates import Surrogate


class Fire(Protocol):
    """What the reference needs of a fire."""

    @property
    def v_threshold(self) -> float:
        """The potential of the first spike."""

    @property
    def real_units(self) -> bool:
        """Whether one spike is worth v_threshold instead of 1."""

    @property
    def levels(self) -> int:
        """How many thresholds one step can cross."""

    def spikes(self, h: Tensor) -> Tensor:
        """The number of spikes of each neuron."""


@dataclass(frozen=True)
class Binary:
    """One spike where h >= v_threshold.

    v_threshold: finite. real_units: emit v_threshold instead of 1 (what converted networks carry).
    Example: `Neuron(LIF(), Binary(0.5))`. Raises ValueError for a threshold that is not finite.
    """

    v_threshold: float = 1.0
    real_units: bool = False

    def __post_init__(self) -> None:
        finite('v_threshold', self.v_threshold)

    @property
    def levels(self) -> int:
        return 1

    def spikes(self, h: Tensor) -> Tensor:
        return (h >= self.v_threshold).to(h.dtype)


@dataclass(frozen=True)
class Burst:
    """Up to max_spikes spikes in one step: clamp(floor(h / v_threshold), 0, max_spikes).

    v_threshold: > 0. max_spikes: >= 1; 1 is `Binary`. real_units: emit s * v_threshold.
    Source: Li and Zeng, IJCAI 2022 (arXiv 2204.13271). Example: `Neuron(IF(), Burst(1.0, 5), Soft())`.
    Raises ValueError for a threshold <= 0 or max_spikes < 1.
    """

    v_threshold: float = 1.0
    max_spikes: int = 5
    real_units: bool = False

    def __post_init__(self) -> None:
        positive('v_threshold', self.v_threshold)
        whole('max_spikes', self.max_spikes, at_most=2**20)

    @property
    def levels(self) -> int:
        return self.max_spikes

    def spikes(self, h: Tensor) -> Tensor:
        count = divide(h, self.v_threshold).floor().clamp_max(self.max_spikes)
        return torch.where(h >= self.v_threshold, count, torch.zeros_like(h))


FIRES = (Binary, Burst)


def divide(a: Tensor, b: float) -> Tensor:
    """a / b, correctly rounded on every device: torch's CUDA kernel multiplies by 1 / b if b is a scalar."""
    return a / torch.full((), b, dtype=a.dtype, device=a.device)


class Spike(torch.autograd.Function):
    """Spikes forward, the surrogate's derivative backward (differentiable again)."""

    @staticmethod
    def forward(h: Tensor, fire: Fire, surrogate: Surrogate) -> Tensor:
        return fire.spikes(h)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        h, ctx.fire, ctx.surrogate = inputs
        ctx.save_for_backward(h)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (h,) = ctx.saved_tensors
        return grad * slope(h, ctx.fire, ctx.surrogate), None, None


def slope(h: Tensor, fire: Fire, surrogate: Surrogate) -> Tensor:
    """ds/dh of the surrogate: its derivative, summed over the thresholds."""
    levels = [surrogate.grad(h - k * fire.v_threshold) for k in range(1, fire.levels + 1)]
    return torch.stack(levels).sum(0)


def smooth(h: Tensor, fire: Fire, surrogate: Surrogate) -> Tensor:
    """The spikes that the surrogate stands for: its primal, summed over the thresholds (for gradcheck)."""
    levels = [surrogate.primal(h - k * fire.v_threshold) for k in range(1, fire.levels + 1)]
    return torch.stack(levels).sum(0)
