"""What a neuron is: charge, fire, reset and a surrogate, all plain frozen data.

Per time step: h = charge(v, x); s = fire(h); v = reset(h, s). A `Neuron` names the four parts, and every
backend reads the same data: as text (`Neuron.spec`, what the torch ops carry) or packed (`Neuron.packed`,
what the native kernels read). The formulas of the charges stand here, in csrc/math/neuron.h and in
backends/triton_math.py.
"""

import re
import struct
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Protocol

from torch import Tensor

from snnkern._checks import finite, positive
from snnkern.fires import FIRES, Binary, Fire, divide
from snnkern.resets import RESETS, Hard, Reset
from snnkern.surrogates import SURROGATES, ATan, Surrogate


class Charge(Protocol):
    """What the reference needs of a charge."""

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        """The potential before firing."""


@dataclass(frozen=True)
class IF:
    """Integrate-and-fire: h = v + x."""

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        return v + x


@dataclass(frozen=True)
class LIF:
    """Leaky integrate-and-fire: h = v + (x - (v - v_rest)) / tau, or h = v - (v - v_rest) / tau + x.

    tau: time constant in steps, > 0. v_rest: the potential that v decays to. decay_input: the first form
    (input divided by tau, too) or the second. Source: SpikingJelly's LIFNode, whose v_rest is v_reset.
    Example: `Neuron(LIF(tau=4.0))`. Raises ValueError for tau <= 0.
    """

    tau: float = 2.0
    v_rest: float = 0.0
    decay_input: bool = True

    def __post_init__(self) -> None:
        positive('tau', self.tau)
        finite('v_rest', self.v_rest)

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        leak = v - self.v_rest
        return v + divide(x - leak, self.tau) if self.decay_input else v - divide(leak, self.tau) + x


CHARGES = (IF, LIF)
AXES: dict[str, tuple[type, ...]] = {
    'charge': CHARGES,
    'fire': FIRES,
    'reset': RESETS,
    'surrogate': SURROGATES,
}
MAX_VALUES = 4
LAYOUT = struct.Struct(f'@{len(AXES)}i{len(AXES) * MAX_VALUES}f')


@dataclass(frozen=True)
class Neuron:
    """One kind of neuron, ready for `functional.multistep`.

    charge: `IF`, `LIF`; fire: `Binary`, `Burst`; reset: `Hard`, `Soft`; surrogate: `ATan`, `Sigmoid`,
    `Triangle`, `Rectangle`. Example: `Neuron(LIF(tau=2.0), Burst(1.0, 4), Soft())`. Raises TypeError if a
    part is not one of its axis. Inside a function that torch.compile traces, name all four parts (it cannot
    make default ones) or build the neuron outside.

    spec: the neuron as text, e.g. "IF() Binary(1.0, 0.0) Soft(0.0) ATan(2.0)"; `Neuron.parse` reads it.
    """

    charge: Charge = field(default_factory=LIF)
    fire: Fire = field(default_factory=Binary)
    reset: Reset = field(default_factory=Hard)
    surrogate: Surrogate = field(default_factory=ATan)
    spec: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for axis, kinds in AXES.items():
            part = getattr(self, axis)
            if not isinstance(part, kinds):
                names = ', '.join(kind.__name__ for kind in kinds)
                raise TypeError(f'{axis} must be one of {names}, got {part!r}')
        object.__setattr__(self, 'spec', ' '.join(map(_text, self.parts)))  # once: every call needs it

    @property
    def parts(self) -> tuple[Any, ...]:
        """Charge, fire, reset, surrogate."""
        return self.charge, self.fire, self.reset, self.surrogate

    @cached_property
    def packed(self) -> bytes:
        """The neuron as csrc/math/spec.h reads it: four ids, then the fields of each part padded to four."""
        ids = [kinds.index(type(part)) for kinds, part in zip(AXES.values(), self.parts, strict=True)]
        rows = [[*_values(part), *[0.0] * MAX_VALUES][:MAX_VALUES] for part in self.parts]
        return LAYOUT.pack(*ids, *chain.from_iterable(rows))

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(spec: str) -> 'Neuron':
        """The neuron that a `spec` text describes. Raises ValueError if it describes none."""
        words = re.findall(r'(\w+)\(([^)]*)\)', spec)
        if len(words) != len(AXES):
            raise ValueError(f'spec must name {len(AXES)} parts ({", ".join(AXES)}), got {spec!r}')
        return Neuron(*[_part(axis, *word) for axis, word in zip(AXES, words, strict=True)])


def _values(part: Any) -> list[float]:
    """The fields of a part as floats."""
    return [float(getattr(part, f.name)) for f in fields(part)]


def _text(part: Any) -> str:
    return f'{type(part).__name__}({", ".join(f"{v}" for v in _values(part))})'


def _part(axis: str, name: str, values: str) -> Any:
    """The dataclass of this name with its fields in their own types."""
    kinds = {kind.__name__: kind for kind in AXES[axis]}
    if name not in kinds:
        raise ValueError(f'unknown {axis} {name!r}, expected one of {", ".join(kinds)}')
    kind = kinds[name]
    types: list[Any] = [f.type for f in fields(kind)]
    return kind(*[cast(float(v)) for cast, v in zip(types, filter(None, values.split(', ')), strict=True)])
