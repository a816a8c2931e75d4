"""How input charges the membrane potential: h = charge(v, x), frozen dataclasses of parameters with the formula.

The same formulas stand in csrc/math/neuron.h and in backends/triton/math.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnkern._checks import finite, positive


def divide(a: Tensor, b: float) -> Tensor:
    """a / b, correctly rounded on every device: torch's CUDA kernel multiplies by 1 / b if b is a scalar."""
    return a / torch.full((), b, dtype=a.dtype, device=a.device)


class Charge:
    """What the reference needs of a charge: formulas, and a constant current c, added to the potential.

    The numbers that `learns` names may be tensors while a call binds them.
    """

    learns: ClassVar[tuple[str, ...]] = ('c',)
    extra: ClassVar[bool] = False
    c: float

    def current(self, i: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The input that charges v, and the charge's own state after this step, where it has one."""
        raise NotImplementedError

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        """The potential before firing."""
        raise NotImplementedError

    def line(self) -> tuple[Any, Any, Any]:
        """a, b and c of the `Affine` charge that this one is, up to rounding. Raises TypeError if it is none."""
        raise TypeError(f'charge must be IF, LIF, PLIF or Affine to be written as a * v + b * x + c, got {self!r}')


@dataclass(frozen=True)
class IF(Charge):
    """Integrate-and-fire: h = v + x + c. c: a constant current (0)."""

    c: float = 0.0

    def __post_init__(self) -> None:
        finite('c', self.c)

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        return v + x + self.c

    def line(self) -> tuple[Any, Any, Any]:
        return 1.0, 1.0, self.c


@dataclass(frozen=True)
class LIF(Charge):
    """Leaky integrate-and-fire: h = v + (x - (v - v_rest)) / tau + c, or h = v - (v - v_rest) / tau + x + c.

    tau: time constant in steps, > 0. v_rest: the potential that v decays to. decay_input: the first form
    (input divided by tau, too) or the second. c: a constant current (BrainCog's BiasLIF: 0.1).
    Source: SpikingJelly's LIFNode, whose v_rest is v_reset.
    Example: `Neuron(LIF(tau=4.0))`. Raises ValueError for tau <= 0.
    """

    tau: float = 2.0
    v_rest: float = 0.0
    decay_input: bool = True
    c: float = 0.0

    def __post_init__(self) -> None:
        positive('tau', self.tau)
        finite('v_rest', self.v_rest)
        finite('c', self.c)

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        leak = v - self.v_rest
        h = v + divide(x - leak, self.tau) if self.decay_input else v - divide(leak, self.tau) + x
        return h + self.c

    def line(self) -> tuple[Any, Any, Any]:
        rate = 1.0 / self.tau
        return 1.0 - rate, rate if self.decay_input else 1.0, self.v_rest * rate + self.c


@dataclass(frozen=True)
class PLIF(Charge):
    """LIF by a factor: h = v + (x - (v - v_rest)) * k + c, or h = v - (v - v_rest) * k + x + c.

    k: 1 / tau, the part of the potential that leaks in a step; it can be learned (k = sigmoid(w)). A product is not
    the quotient of `LIF` to the last bit. Other numbers and errors as for `LIF`.
    Source: Fang et al., ICCV 2021 (SpikingJelly's ParametricLIFNode). Example: `Neuron(PLIF(0.25))`.
    """

    learns = ('k', 'c')
    k: float = 0.5
    v_rest: float = 0.0
    decay_input: bool = True
    c: float = 0.0

    def __post_init__(self) -> None:
        for name in ('k', 'v_rest', 'c'):
            finite(name, getattr(self, name))

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        leak = v - self.v_rest
        return (v + (x - leak) * self.k if self.decay_input else v - leak * self.k + x) + self.c

    def line(self) -> tuple[Any, Any, Any]:
        return 1.0 - self.k, self.k if self.decay_input else 1.0, self.v_rest * self.k + self.c


@dataclass(frozen=True)
class Affine(Charge):
    """The general linear charge: h = a * v + b * x + c, each of which can be learned, for all or per channel.

    It is snnTorch's Leaky (a = beta), BrainCog's LIFSTDP (a = tau), and BatchNorm fused with its neuron
    (b = gamma / sigma, c = beta - gamma * mu / sigma). Raises ValueError for numbers that are not finite.
    Example: `Neuron(Affine(0.9), Binary(strict=True), Delayed())`.
    """

    learns = ('a', 'b', 'c')
    a: float = 0.9
    b: float = 1.0
    c: float = 0.0

    def __post_init__(self) -> None:
        for name in ('a', 'b', 'c'):
            finite(name, getattr(self, name))

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        return self.a * v + self.b * x + self.c

    def line(self) -> tuple[Any, Any, Any]:
        return self.a, self.b, self.c


@dataclass(frozen=True)
class Synaptic(Affine):
    """A current that charges the potential (CUBA): i = decay * i + x, h = a * v + b * i + c.

    a, b, c: as in `Affine`. decay: of the current in one step. delayed: the current of the step before charges v
    (Norse's LSNN). State i starts at 0; gradients flow through it. Raises ValueError for numbers that are not finite.
    Source: snnTorch's Synaptic (decay = alpha, a = beta); Norse's LIF.
    Example: `Neuron(Synaptic(0.8, decay=0.9), Binary(strict=True), Delayed())`.
    """

    a: float = 0.8
    decay: float = 0.9
    delayed: bool = False
    extra = True

    def __post_init__(self) -> None:
        super().__post_init__()
        finite('decay', self.decay)

    def current(self, i: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = self.decay * i + x
        return (i if self.delayed else after), after

    def line(self) -> tuple[Any, Any, Any]:
        return Charge.line(self)


CHARGES = (IF, LIF, PLIF, Affine, Synaptic)
