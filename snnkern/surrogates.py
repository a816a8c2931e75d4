"""Surrogate derivatives: what backward uses in place of the derivative of the spike.

Each surrogate is a smooth step `primal(z)` and its derivative `grad(z)` at z = h - threshold. The forward
pass never uses them; `primal` exists so that the derivative can be proven (tests) and plotted (docs).
The same formulas stand in csrc/math/surrogate.h and backends/triton_math.py; a test compares all three.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from snnkern._checks import positive


class Surrogate(Protocol):
    """A smooth step and its derivative, both of z = h - threshold."""

    def primal(self, z: Tensor) -> Tensor:
        """The smooth step, between 0 and 1 for most surrogates."""

    def grad(self, z: Tensor) -> Tensor:
        """d primal / dz."""


@dataclass(frozen=True)
class ATan:
    """arctan(pi/2 * alpha * z) / pi + 1/2, derivative (alpha/2) / (1 + (pi/2 * alpha * z)^2).

    alpha: steepness, > 0. Source: Fang et al., ICCV 2021 (SpikingJelly's ATan, same default).
    Example: `functional.lif(x, surrogate=ATan(2.0))`. Raises ValueError for alpha <= 0.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        positive('alpha', self.alpha)

    def primal(self, z: Tensor) -> Tensor:
        return torch.atan(math.pi / 2 * self.alpha * z) / math.pi + 0.5

    def grad(self, z: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * z).square())


@dataclass(frozen=True)
class Sigmoid:
    """sigmoid(alpha * z), derivative alpha * y * (1 - y).

    alpha: steepness, > 0. Source: SpikingJelly's Sigmoid (default 4). Raises ValueError for alpha <= 0.
    """

    alpha: float = 4.0

    def __post_init__(self) -> None:
        positive('alpha', self.alpha)

    def primal(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.alpha * z)

    def grad(self, z: Tensor) -> Tensor:
        y = torch.sigmoid(self.alpha * z)
        return self.alpha * (1 - y) * y


@dataclass(frozen=True)
class Triangle:
    """A triangle of height alpha, half-width 1/alpha and area 1 as derivative: max(0, alpha - alpha^2 |z|).

    alpha: height, > 0. Source: BrainCog's QGateGrad (default 2). Raises ValueError for alpha <= 0.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        positive('alpha', self.alpha)

    def primal(self, z: Tensor) -> Tensor:
        u = (self.alpha * z).clamp(-1, 1)
        return 0.5 + u - 0.5 * u * u.abs()

    def grad(self, z: Tensor) -> Tensor:
        return (self.alpha - self.alpha**2 * z.abs()).clamp_min(0)


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of height 1 and half-width 1/alpha as derivative: 1 where |z| < 1/alpha.

    alpha: inverse half-width, > 0; 2 is the |z| < 0.5 of STBP. Source: Wu et al., Front. Neurosci. 2018;
    BrainCog's GateGrad. Raises ValueError for alpha <= 0.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        positive('alpha', self.alpha)

    def primal(self, z: Tensor) -> Tensor:
        return (z + 1 / self.alpha).clamp(0, 2 / self.alpha)

    def grad(self, z: Tensor) -> Tensor:
        return (z.abs() < 1 / self.alpha).to(z.dtype)


SURROGATES = (ATan, Sigmoid, Triangle, Rectangle)

__all__ = ['SURROGATES', 'ATan', 'Rectangle', 'Sigmoid', 'Surrogate', 'Triangle']
