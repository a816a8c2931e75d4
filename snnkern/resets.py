"""What happens to the membrane potential after a spike: the reset axis of a neuron.

The same formulas stand in csrc/math/reset.h and backends/triton/math.py. `detach` drops the gradient that
flows from the reset into the spike (SpikingJelly's `detach_reset`); `detach_v` drops the one that flows from a
step into the potential before it (BrainCog's `mem_detach`, online learning).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnkern._checks import finite


class Reset:
    """What the reference needs of a reset.

    `up` and `down` are counts of positive and negative spikes (down: None where there are none); what a positive
    spike takes off is theta, what a negative one gives back is `refund`.
    """

    detach: bool
    detach_v: bool = False
    delayed: ClassVar[bool] = False

    @property
    def v_start(self) -> float:
        """The potential that a neuron starts from."""
        return 0.0

    def apply(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        """The potential after the step (for `Delayed`: what the next step starts from, once it is charged)."""
        raise NotImplementedError

    def smooth(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        """The same for spikes between 0 and 1 (for gradcheck)."""
        return self.apply(h, up, down, theta, refund)


@dataclass(frozen=True)
class Hard(Reset):
    """v = v_reset where the neuron fired, else h.

    v_reset: finite; neurons also start there. detach: no gradient from the reset into the spike. detach_v: none
    from a step into the potential before it. Raises ValueError for a v_reset that is not finite.
    """

    v_reset: float = 0.0
    detach: bool = False
    detach_v: bool = False

    def __post_init__(self) -> None:
        finite('v_reset', self.v_reset)

    @property
    def v_start(self) -> float:
        return self.v_reset

    def apply(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        fired = up if down is None else up + down
        return HardReset.apply(h, fired.detach() if self.detach else fired, self.v_reset)

    def smooth(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        fired = up if down is None else up + down
        return h * (1 - fired) + self.v_reset * fired


@dataclass(frozen=True)
class Soft(Reset):
    """v = h - s * v_threshold ("reset by subtraction": nothing of the input is lost).

    detach, detach_v: as in `Hard`. Source: Han et al., CVPR 2020 (RMP-SNN).
    """

    detach: bool = False
    detach_v: bool = False

    def apply(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        v = h - (up.detach() if self.detach else up) * theta
        return v if down is None else v + (down.detach() if self.detach else down) * refund


@dataclass(frozen=True)
class NoReset(Reset):
    """v = h: the potential stays what it is. detach_v: as in `Hard`."""

    detach_v: bool = False
    detach: ClassVar[bool] = False  # type: ignore[misc]

    def apply(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        return h


@dataclass(frozen=True)
class Delayed(Reset):
    """Subtraction one step later, after the decay: h = charge(v, x) - v_threshold * fire(v), v = h.

    An ordinary soft reset is decayed with the potential; this one is not. State v is h, the potential before the
    reset. detach: as in `Hard`. Not for fires with a state of their own. Source: snnTorch's
    reset_mechanism="subtract" with its default reset_delay=True.
    """

    detach: bool = False
    delayed = True
    apply = Soft.apply


@dataclass(frozen=True)
class Bounded(Reset):
    """v = max(h - s * v_threshold, v_min): a soft reset, and no potential below v_min.

    v_min: finite; no gradient flows where the bound holds v. detach, detach_v: as in `Hard`. Computed as
    relu(v - v_min) + v_min. Source: sinabs' min_v_mem (its `from_model` sets -1). Raises ValueError for a v_min that
    is not finite.
    """

    v_min: float = -1.0
    detach: bool = False
    detach_v: bool = False

    def __post_init__(self) -> None:
        finite('v_min', self.v_min)

    def apply(self, h: Tensor, up: Tensor, down: Tensor | None, theta: Tensor, refund: Tensor) -> Tensor:
        return (Soft(self.detach).apply(h, up, down, theta, refund) - self.v_min).relu() + self.v_min


RESETS = (Hard, Soft, NoReset, Delayed, Bounded)


def reset_to(v_reset: float | None, detach: bool) -> Hard | Soft:
    """The reset of SpikingJelly's parameters: to v_reset, or by subtraction for None. Its v_start is their v_rest."""
    return Soft(detach) if v_reset is None else Hard(v_reset, detach)


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
