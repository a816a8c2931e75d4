"""How a charged membrane potential h becomes spikes: the fire axis of a neuron.

A fire counts the thresholds that h has crossed: `up` of them at (first + k) * v_threshold, k = 0, 1, ...,
and, where spikes have a sign, `down` at -(negative.first + k * negative.spacing) * v_threshold. It emits
s = up - down; backward adds the surrogate's derivative at each of these levels (`MultiSpike`: at the first). A NaN in
h gives no spike, and a fire that counts emits none where its threshold is not positive, as a learned one may become.
A fire with `extra` has a state m of its own. Formulas are spelled in tensors of one dtype, here, in
csrc/math/fire.h and in backends/triton/math.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from snnkern._checks import finite, positive, whole

MOST = 2**20


class Levels(NamedTuple):
    """Thresholds first, first + spacing, ..., `count` of them, in units of v_threshold."""

    first: float
    spacing: float
    count: int  # type: ignore[assignment]


class Fire:
    """What the reference needs of a fire. v_threshold may be a tensor while a call binds it."""

    v_threshold: float
    real_units: bool
    strict: bool = False
    extra: ClassVar[bool] = False

    @property
    def most(self) -> int:
        """The spikes of one sign in one step, at most."""
        return getattr(self, 'max_spikes', 1)

    @property
    def positive(self) -> Levels:
        """The levels of positive spikes."""
        return Levels(1.0, 1.0, self.most)

    @property
    def negative(self) -> Levels | None:
        """The levels of negative spikes, mirrored at 0, or None."""
        return None

    def up(self, h: Tensor, theta: Tensor) -> Tensor:
        """The number of positive spikes."""
        count = (h / theta).floor().clamp_max(self.most)
        fired = h > theta if self.strict else h >= theta
        return torch.where(fired & (theta > 0), count, torch.zeros_like(h))

    def down(self, h: Tensor, theta: Tensor, m: Tensor | None) -> Tensor | None:
        """The number of negative spikes, or None."""
        return None

    def bar(self, theta: Tensor, m: Tensor | None) -> Tensor:
        """The threshold of this step."""
        return theta

    def remember(self, m: Tensor, s: Tensor) -> Tensor:
        """The fire's own state after it emitted s, where it has one."""
        return m


@dataclass(frozen=True)
class Binary(Fire):
    """One spike where h >= v_threshold.

    v_threshold: finite. real_units: emit v_threshold instead of 1 (what converted networks carry). strict: a
    spike where h > v_threshold (snnTorch, BrainCog's atan and gates). Example: `Neuron(LIF(), Binary(0.5))`.
    Raises ValueError for a threshold that is not finite.
    """

    v_threshold: float = 1.0
    real_units: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        finite('v_threshold', self.v_threshold)

    def up(self, h: Tensor, theta: Tensor) -> Tensor:
        return (h > theta if self.strict else h >= theta).to(h.dtype)


@dataclass(frozen=True)
class Burst(Fire):
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
        whole('max_spikes', self.max_spikes, at_most=MOST)


@dataclass(frozen=True)
class Integer(Burst):
    """The nearest count: clamp(round(h / v_threshold), 0, max_spikes), halves to even (I-LIF).

    Arguments and errors as for `Burst`. Source: Luo et al., ECCV 2024 (SpikeYOLO), whose surrogate is
    `Rectangle(2.0)`: 1 inside the clamp. Example: `Neuron(LIF(4/3), Integer(1.0, 4), Soft(), Rectangle(2.0))`.
    """

    max_spikes: int = 4

    @property
    def positive(self) -> Levels:
        return Levels(0.5, 1.0, self.max_spikes)

    def up(self, h: Tensor, theta: Tensor) -> Tensor:
        count = (h / theta).clamp_max(self.max_spikes)
        return torch.where((count > 0) & (theta > 0), count, torch.zeros_like(h)).round()


@dataclass(frozen=True)
class MultiSpike(Burst):
    """As many spikes as h holds thresholds, as `Burst`, but backward takes the surrogate at the first of them alone.

    Arguments and errors as for `Burst`; 2^20, the most, is as good as no limit. Backward takes the time of one level.
    Source: sinabs' MultiSpike and MaxSpike. Example: `Neuron(IF(), MultiSpike(), Soft(), PiecewiseExp(2.0, 2.0))`.
    """

    max_spikes: int = MOST

    @property
    def positive(self) -> Levels:
        return Levels(1.0, 1.0, 1)


class _Signed(Fire):
    """Fires of both signs: a positive side like `Burst`, a negative one at levels of its own."""

    max_spikes: int

    @property
    def negative(self) -> Levels:
        raise NotImplementedError

    def down(self, h: Tensor, theta: Tensor, m: Tensor | None) -> Tensor:
        first, spacing, count = self.negative
        lowest = theta * first
        strict = self.strict or first == 0
        depth = (-h - lowest) / (theta * spacing)
        deep = depth.ceil() if strict else depth.floor() + 1
        fired = h < -lowest if strict else h <= -lowest
        found = torch.where(fired & (theta > 0), deep.clamp(1, count), torch.zeros_like(h))
        return found if m is None else torch.minimum(found, m.clamp_min(0))


@dataclass(frozen=True)
class Ternary(_Signed):
    """Spikes of both signs at symmetric thresholds: H(h - v_threshold) - H(-h - v_threshold).

    v_threshold: > 0. max_spikes: of each sign in one step. real_units: emit s * v_threshold. strict: compare
    by > and < (max_spikes = 1 only). Raises ValueError for bad numbers. Example: `Neuron(LIF(), Ternary(0.5))`.
    Source: Sun et al., "Ternary spike", AAAI 2024.
    """

    v_threshold: float = 1.0
    max_spikes: int = 1
    real_units: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        positive('v_threshold', self.v_threshold)
        whole('max_spikes', self.max_spikes, at_most=MOST)
        _strict_is_single(self)

    @property
    def negative(self) -> Levels:
        return Levels(1.0, 1.0, self.max_spikes)


@dataclass(frozen=True)
class Signed(_Signed):
    """Spikes of both signs, the negative threshold elsewhere: -1 where h <= negative_threshold * v_threshold.

    v_threshold: > 0. max_spikes: of each sign in one step; the k-th negative one needs (k - 1) *
    negative_reset * v_threshold more. real_units: emit s * v_threshold. negative_threshold: < 1, or 1 with
    strict, in units of v_threshold, so that it follows one per channel. negative_reset: > 0, what a negative
    spike adds back in a soft reset, in units of v_threshold. strict: compare by > and < (max_spikes = 1 only).
    Raises ValueError for bad numbers. Source: Kim et al., AAAI 2020 (Spiking-YOLO's imbalanced threshold for a
    leaky ReLU of slope 0.1: the defaults; `Signed.leaky(slope)`). Example: `Neuron(IF(), Signed.leaky(0.1), Soft())`.
    """

    v_threshold: float = 1.0
    max_spikes: int = 1
    real_units: bool = False
    negative_threshold: float = -10.0
    negative_reset: float = 10.0
    strict: bool = False

    def __post_init__(self) -> None:
        positive('v_threshold', self.v_threshold)
        whole('max_spikes', self.max_spikes, at_most=MOST)
        finite('negative_threshold', self.negative_threshold)
        positive('negative_reset', self.negative_reset)
        if self.negative_threshold > 1 or (self.negative_threshold == 1 and not self.strict):
            wanted = '< 1 (times v_threshold), or 1 with strict'  # else a potential could fire both ways
            raise ValueError(f'negative_threshold must be {wanted}, got {self.negative_threshold}')
        _strict_is_single(self)

    @classmethod
    def leaky(cls, slope: float, v_threshold: float = 1.0, max_spikes: int = 1, real_units: bool = False) -> 'Signed':
        """The fire whose mean output follows LeakyReLU(slope), 0 < slope <= 1."""
        positive('slope', slope)
        return cls(v_threshold, max_spikes, real_units, -1 / slope, 1 / slope)

    @property
    def negative(self) -> Levels:
        return Levels(-self.negative_threshold, self.negative_reset, self.max_spikes)


@dataclass(frozen=True)
class SignedMemory(_Signed):
    """Spikes of both signs, negative ones only to take back: at most m, the running sum of what was emitted.

    Arguments as for `Signed`, negative_threshold <= 0. The default, 0, takes back at any h < 0, as many spikes as
    floor(h / v_threshold) says: s = clamp(floor(h / v_threshold), -min(max_spikes, m), max_spikes).
    State m (a whole number) starts at 0. No gradient flows through m.
    Sources: Wang et al., IJCAI 2022 (SNM: negative_threshold=-1.0); Hu et al., TPAMI 2023 (Fast-SNN: -1e-3).
    Example: `Neuron(IF(), SignedMemory(1.0, 15), Soft())`. Raises ValueError for bad numbers.
    """

    v_threshold: float = 1.0
    max_spikes: int = 1
    real_units: bool = False
    negative_threshold: float = 0.0
    negative_reset: float = 1.0
    extra = True

    def __post_init__(self) -> None:
        positive('v_threshold', self.v_threshold)
        whole('max_spikes', self.max_spikes, at_most=MOST)
        finite('negative_threshold', self.negative_threshold)
        positive('negative_reset', self.negative_reset)
        if self.negative_threshold > 0:
            raise ValueError(f'negative_threshold must be <= 0, got {self.negative_threshold}')

    @property
    def negative(self) -> Levels:
        return Levels(-self.negative_threshold + 0.0, self.negative_reset, self.max_spikes)

    def remember(self, m: Tensor, s: Tensor) -> Tensor:
        return m + s.detach()


@dataclass(frozen=True)
class Adaptive(Fire):
    """A threshold that rises with every spike: s = H(h - (v_threshold + beta * m)), m = decay * m + s.

    v_threshold: finite; a soft reset subtracts it without the rise. beta: finite, the rise by one spike. decay: of m
    in one step, finite. real_units: emit s * v_threshold. State m starts at 0; gradients flow through it.
    Source: Bellec et al., NeurIPS 2018 (ALIF of LSNN). Example: `Neuron(LIF(20.0), Adaptive(1.0, 0.2, 0.97))`.
    Raises ValueError for numbers that are not finite.
    """

    v_threshold: float = 1.0
    beta: float = 0.2
    decay: float = 0.97
    real_units: bool = False
    extra = True

    def __post_init__(self) -> None:
        for name in ('v_threshold', 'beta', 'decay'):
            finite(name, getattr(self, name))

    def up(self, h: Tensor, theta: Tensor) -> Tensor:
        return (h >= theta).to(h.dtype)

    def bar(self, theta: Tensor, m: Tensor | None) -> Tensor:
        assert m is not None
        return theta + self.beta * m

    def remember(self, m: Tensor, s: Tensor) -> Tensor:
        return self.decay * m + s


FIRES = (Binary, Burst, Ternary, Signed, SignedMemory, Integer, Adaptive, MultiSpike)


def _strict_is_single(fire: Any) -> None:
    if fire.strict and fire.max_spikes != 1:
        raise ValueError(f'strict needs max_spikes = 1, got {fire.max_spikes}')
