"""Surrogate derivatives: what backward uses in place of the derivative of the spike.

Each surrogate is a smooth step `primal(z)` and its derivative `grad(z)` at z = h - threshold. The forward
pass never uses them; `primal` exists so that the derivative can be proven (tests) and plotted (docs). Where
alpha can be learned, `grad_alpha(z)` is d primal / d alpha. alpha is a number, or a tensor while a call binds it.
The same formulas stand in csrc/math/surrogate.h and backends/triton/math.py; a test compares all three.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnkern._checks import finite, positive


class Surrogate:
    """A smooth step and its derivative, both of z = h - threshold."""

    learns_alpha: ClassVar[bool] = False

    def primal(self, z: Tensor) -> Tensor:
        """The smooth step, between 0 and 1 for most surrogates."""
        raise NotImplementedError

    def grad(self, z: Tensor) -> Tensor:
        """d primal / dz."""
        raise NotImplementedError

    def grad_alpha(self, z: Tensor) -> Tensor:
        """d primal / d alpha, where `learns_alpha`."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Steep(Surrogate):
    """What one positive number alpha describes."""

    alpha: float = 2.0

    def __post_init__(self) -> None:
        positive('alpha', self.alpha)
        for other in fields(self)[1:]:
            finite(other.name, getattr(self, other.name))


@dataclass(frozen=True)
class ATan(_Steep):
    """arctan(pi/2 * alpha * z) / pi + 1/2, derivative (alpha/2) / (1 + (pi/2 * alpha * z)^2).

    alpha: steepness, > 0; it can be learned. Source: Fang et al., ICCV 2021 (SpikingJelly's ATan, same
    default). Example: `functional.lif(x, surrogate=ATan(2.0))`. Raises ValueError for alpha <= 0.
    """

    alpha: float = 2.0
    learns_alpha = True

    def primal(self, z: Tensor) -> Tensor:
        return torch.atan(math.pi / 2 * self.alpha * z) / math.pi + 0.5

    def grad(self, z: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * z).square())

    def grad_alpha(self, z: Tensor) -> Tensor:
        return z / 2 / (1 + (math.pi / 2 * self.alpha * z).square())


@dataclass(frozen=True)
class Sigmoid(_Steep):
    """sigmoid(alpha * z), derivative alpha * y * (1 - y).

    alpha: steepness, > 0. Source: SpikingJelly's Sigmoid (default 4). Raises ValueError for alpha <= 0.
    """

    alpha: float = 4.0

    def primal(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.alpha * z)

    def grad(self, z: Tensor) -> Tensor:
        y = torch.sigmoid(self.alpha * z)
        return self.alpha * (1 - y) * y


@dataclass(frozen=True)
class Triangle(_Steep):
    """A triangle of height alpha, half-width 1/alpha and area 1 as derivative: max(0, alpha - alpha^2 |z|).

    alpha: height, > 0. Source: BrainCog's QGateGrad (default 2), SpikingJelly's PiecewiseQuadratic. Raises
    ValueError for alpha <= 0.
    """

    def primal(self, z: Tensor) -> Tensor:
        u = (self.alpha * z).clamp(-1, 1)
        return 0.5 + u - 0.5 * u * u.abs()

    def grad(self, z: Tensor) -> Tensor:
        return (self.alpha - self.alpha**2 * z.abs()).clamp_min(0)


@dataclass(frozen=True)
class Rectangle(_Steep):
    """A rectangle of height 1 and half-width 1/alpha as derivative: 1 where |z| < 1/alpha.

    alpha: inverse half-width, > 0; 2 is the |z| < 0.5 of STBP, BackEI and EI. Source: Wu et al., Front.
    Neurosci. 2018; BrainCog's GateGrad. Raises ValueError for alpha <= 0.
    """

    def primal(self, z: Tensor) -> Tensor:
        return (z + 1 / self.alpha).clamp(0, 2 / self.alpha)

    def grad(self, z: Tensor) -> Tensor:
        return (z.abs() < 1 / self.alpha).to(z.dtype)


@dataclass(frozen=True)
class LeakyReLU(_Steep):
    """alpha * z above 0 and leak * z below; derivative alpha where z > 0, else leak.

    alpha: > 0; it can be learned. leak: finite. Source: BrainCog's ReLUGrad (alpha 2, leak 0) and StdpGrad
    (alpha 1, leak 0); SpikingJelly's LeakyKReLU. Raises ValueError for alpha <= 0.
    """

    leak: float = 0.0
    learns_alpha = True

    def primal(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, self.alpha * z, self.leak * z)

    def grad(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, self.alpha + 0 * z, self.leak + 0 * z)

    def grad_alpha(self, z: Tensor) -> Tensor:
        return z.clamp_min(0)


@dataclass(frozen=True)
class Window(Surrogate):
    """Derivative 1 where low < z < high: the straight-through estimator inside a clamp.

    The defaults are those of BrainCog's RoundGrad; an infinite window, the straight-through estimator itself, is
    `STE`. Raises ValueError unless low < high, both finite.
    """

    low: float = -0.5
    high: float = 4.5

    def __post_init__(self) -> None:
        finite('low', self.low)
        finite('high', self.high)
        if self.low >= self.high:
            raise ValueError(f'high must be above low = {self.low}, got {self.high}')

    def primal(self, z: Tensor) -> Tensor:
        return z.clamp(self.low, self.high) - self.low

    def grad(self, z: Tensor) -> Tensor:
        return ((z > self.low) & (z < self.high)).to(z.dtype)


@dataclass(frozen=True)
class STE(Surrogate):
    """The straight-through estimator: derivative 1 everywhere. Source: Bengio et al., arXiv 1308.3432."""

    def primal(self, z: Tensor) -> Tensor:
        return z + 0.5

    def grad(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)


@dataclass(frozen=True)
class FastSigmoid(_Steep):
    """z / (1 + alpha |z|), derivative 1 / (1 + alpha |z|)^2.

    alpha: steepness, > 0. Source: Zenke and Ganguli, Neural Comput. 2018; snnTorch's fast_sigmoid (slope 25).
    Raises ValueError for alpha <= 0.
    """

    alpha: float = 25.0

    def primal(self, z: Tensor) -> Tensor:
        return z / (1 + self.alpha * z.abs())

    def grad(self, z: Tensor) -> Tensor:
        return (1 + self.alpha * z.abs()).square().reciprocal()


@dataclass(frozen=True)
class SoftSign(_Steep):
    """(alpha z / (1 + |alpha z|) + 1) / 2, derivative (alpha/2) / (1 + |alpha z|)^2.

    alpha: steepness, > 0. Source: SpikingJelly's SoftSign (default 2). Raises ValueError for alpha <= 0.
    """

    def primal(self, z: Tensor) -> Tensor:
        u = self.alpha * z
        return (u / (1 + u.abs()) + 1) / 2

    def grad(self, z: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (self.alpha * z).abs()).square()


@dataclass(frozen=True)
class SuperSpike(_Steep):
    """alpha z / (1 + |z|), derivative alpha / (1 + |z|)^2.

    alpha: height, > 0. Source: SpikingJelly's SuperSpike (default 1), Norse's superspike.
    Raises ValueError for alpha <= 0.
    """

    alpha: float = 1.0

    def primal(self, z: Tensor) -> Tensor:
        return self.alpha * z / (1 + z.abs())

    def grad(self, z: Tensor) -> Tensor:
        return self.alpha / (1 + z.abs()).square()


@dataclass(frozen=True)
class Erf(_Steep):
    """(1 + erf(alpha z)) / 2, derivative alpha / sqrt(pi) * exp(-(alpha z)^2).

    alpha: steepness, > 0. Source: SpikingJelly's Erf (default 2). Raises ValueError for alpha <= 0.
    """

    def primal(self, z: Tensor) -> Tensor:
        return (1 + torch.erf(self.alpha * z)) / 2

    def grad(self, z: Tensor) -> Tensor:
        return self.alpha / math.sqrt(math.pi) * torch.exp(-(self.alpha * z).square())


@dataclass(frozen=True)
class PiecewiseExp(_Steep):
    """exp(alpha z) / 2 below 0 and 1 - exp(-alpha z) / 2 above, times scale; derivative scale alpha/2 exp(-alpha |z|).

    alpha: steepness, > 0. scale: finite. Source: SpikingJelly's PiecewiseExp (default 1); sinabs'
    SingleExponential(w, g) with alpha 1 / (v_threshold w), scale 2 g. Raises ValueError for alpha <= 0.
    """

    alpha: float = 1.0
    scale: float = 1.0

    def primal(self, z: Tensor) -> Tensor:
        tail = torch.exp(-self.alpha * z.abs()) / 2
        return self.scale * torch.where(z < 0, tail, 1 - tail)

    def grad(self, z: Tensor) -> Tensor:
        return self.scale * self.alpha / 2 * torch.exp(-self.alpha * z.abs())


@dataclass(frozen=True)
class Custom(Surrogate):
    """A torch function of yours as derivative: it runs on the reference path, which `explain()` says.

    number: of the function, as `Custom.of(grad, primal)` registered it in this process (a pickle carries the
    function itself). It stays registered: make it once, not in every module. Raises ValueError for a number that
    is none. Example: `nn.LIF(surrogate=Custom.of(lambda z: 1 / (1 + z * z)))`.
    """

    number: int
    functions: ClassVar[list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]]] = []

    def __post_init__(self) -> None:
        if not 0 <= self.number < len(self.functions):
            raise ValueError(f'number must be of a function that Custom.of registered here, got {self.number}')

    def __reduce__(self) -> tuple[Any, ...]:
        return Custom.of, self.functions[self.number]  # another process numbers its own

    @classmethod
    def of(cls, grad: Callable[[Tensor], Tensor], primal: Callable[[Tensor], Tensor] | None = None) -> 'Custom':
        """Register grad(z), the derivative, and primal(z) (for gradcheck). Raises TypeError for no functions."""
        for name, function in (('grad', grad), ('primal', primal or grad)):
            if not callable(function):
                raise TypeError(f'{name} must be a function of a tensor, got {type(function).__name__}')
        if (grad, primal) not in cls.functions:
            cls.functions.append((grad, primal))
        return cls(cls.functions.index((grad, primal)))

    def primal(self, z: Tensor) -> Tensor:
        primal = self.functions[self.number][1]
        if primal is None:
            raise ValueError('primal must be given to Custom.of: nothing else says what grad is the derivative of')
        return primal(z)

    def grad(self, z: Tensor) -> Tensor:
        return self.functions[self.number][0](z)


SURROGATES = (
    *(ATan, Sigmoid, Triangle, Rectangle, LeakyReLU, Window),
    *(STE, FastSigmoid, SoftSign, SuperSpike, Erf, PiecewiseExp, Custom),
)
