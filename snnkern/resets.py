"""What happens to the membrane potential after a spike: the reset axis of a neuron.

The same formulas stand in csrc/math/reset.h and backends/triton_math.py. `detach` drops the gradient that
flows from the reset into the spike (SpikingJelly's `detach_reset`).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from snnkern._checks import finite


class Reset(Protocol):
    """What the reference needs of a reset."""

    @property
    def detach(self) -> bool:
        """Whether no gradient flows from the reset into the spike."""

    @property
    def v_start(self) -> float:
        """The potential that a neuron starts from."""

    def apply(self, h: Tensor, s: Tensor, v_threshold: float) -> Tensor:
        """The potential after the step."""

    def smooth(self, h: Tensor, s: Tensor, v_threshold: float) -> Tensor:
        """The same for spikes between 0 and 1 (for gradcheck)."""


@dataclass(frozen=True)
class Hard:
    """v = v_reset where the neuron fired, else h.

    v_reset: finite; neurons also start there. detach: no gradient from the reset into the spike.
    Raises ValueError for a v_reset that is not finite.
    """

    v_reset: float = 0.0
    detach: bool = False

    def __post_init__(self) -> None:
        finite('v_reset', self.v_reset)

    @property
    def v_start(self) -> float:
        return self.v_reset

    def apply(self, h: Tensor, s: Tensor, v_threshold: float) -> Tensor:
        return HardReset.apply(h, s.detach() if self.detach else s, self.v_reset)

    def smooth(self, h: Tensor, s: Tensor, v_threshold: float) -> Tensor:
        return h * (1 - s) + self.v_reset * s


@dataclass(frozen=True)
class Soft:
    """v = h - s * v_threshold ("reset by subtraction": nothing of the input is lost).

    detach: no gradient from the reset into the spike. Source: Han et al., CVPR 2020 (RMP-SNN).
    """

    detach: bool = False

    @property
    def v_start(self) -> float:
        return 0.0

    def apply(self, h: Tensor, s: Tensor, v_threshold: float) -> Tensor:
        return h - (s.detach() if self.detach else s) * v_threshold

    smooth = apply


RESETS = (Hard, Soft)


class HardReset(torch.autograd.Function):
    """where(s > 0, v_reset, h), with the derivative of h * (1 - s) + v_reset * s: NaN and inf do not spread."""

    @staticmethod
    def forward(h: Tensor, s: Tensor, v_reset: float) -> Tensor:
        return torch.where(s > 0, v_reset, h)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        h, s, ctx.v_reset = inputs
        ctx.save_for_backward(h, s)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        h, s = ctx.saved_tensors
        return torch.where(s > 0, 0, grad), grad * (ctx.v_reset - h), None
