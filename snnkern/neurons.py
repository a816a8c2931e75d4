"""What a neuron is: charge, fire, reset and a surrogate, all plain frozen data.

Per time step: h = charge(v, x); s = fire(h); v = reset(h, s). A `Neuron` names the four parts, and every
backend reads the same data: as text (`Neuron.spec`, what the torch ops carry) or packed (`Program.packed`,
what the native kernels read). Some of its numbers may be tensors in a call (`Neuron.coefficients`): `Program`
says which. The formulas of the charges stand here, in csrc/math/neuron.h and in backends/triton/math.py.
"""

import re
import struct
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnkern._checks import finite, positive
from snnkern.fires import FIRES, Binary, Fire
from snnkern.resets import RESETS, Hard, Reset
from snnkern.surrogates import SURROGATES, ATan, Custom, Surrogate


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


@dataclass(frozen=True)
class IF(Charge):
    """Integrate-and-fire: h = v + x + c. c: a constant current (0)."""

    c: float = 0.0

    def __post_init__(self) -> None:
        finite('c', self.c)

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        return v + x + self.c


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


CHARGES = (IF, LIF, PLIF, Affine, Synaptic)
AXES: dict[str, tuple[type, ...]] = {
    'charge': CHARGES,
    'fire': FIRES,
    'reset': RESETS,
    'surrogate': SURROGATES,
}
MAX_VALUES = 6
# A second input: none, added to the spikes (SEW-ResNet), added to x (MS-ResNet: the shortcut of the membrane).
CONNECTS = ('', 'sew', 'ms')
# The numbers of a call that may be tensors, by their places in csrc/math/spec.h: a charge's own, then everyone's.
SLOTS = {'k': 0, 'a': 0, 'b': 1, 'c': 2, 'v_threshold': 3, 'alpha': 4}
LAYOUT = struct.Struct(f'@{len(AXES)}i{len(AXES) * MAX_VALUES}f{max(SLOTS.values()) + 1}i')


@dataclass(frozen=True)
class Neuron:
    """One kind of neuron, ready for `functional.multistep`.

    charge: `IF`, `LIF`, `PLIF`, `Affine`, `Synaptic`; fire: `Binary`, `Burst`, `Ternary`, `Signed`,
    `SignedMemory`, `Integer`, `Adaptive`; reset: `Hard`, `Soft`, `NoReset`, `Delayed`; surrogate: one of
    snnkern.surrogates. Example: `Neuron(LIF(tau=2.0), Burst(1.0, 4), Soft())`. Raises TypeError if a part is
    not one of its axis or two do not go together. Inside a function that torch.compile traces, name all four
    parts (it cannot make default ones) or build the neuron outside.

    spec: the neuron as text, e.g. "IF(0.0) Binary(1.0, 0.0, 0.0) Soft(0.0, 0.0) ATan(2.0)"; `Neuron.parse` reads it.
    states: the names of the state variables: v, the charge's current i, the fire's m, where there are such.
    """

    charge: Charge = field(default_factory=LIF)
    fire: Fire = field(default_factory=Binary)
    reset: Reset = field(default_factory=Hard)
    surrogate: Surrogate = field(default_factory=ATan)
    spec: str = field(init=False, repr=False, compare=False)
    states: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for axis, kinds in AXES.items():
            part = getattr(self, axis)
            if not isinstance(part, kinds):
                names = ', '.join(kind.__name__ for kind in kinds)
                raise TypeError(f'{axis} must be one of {names}, got {part!r}')
        if self.reset.delayed and self.fire.extra:
            name = type(self.fire).__name__
            raise TypeError(f'reset must not be Delayed for the fire {name}: its state is that of the step before')
        # once: every call needs them
        object.__setattr__(self, 'spec', ' '.join(map(_text, self.parts)))
        extra = (['i'] if self.charge.extra else []) + (['m'] if self.fire.extra else [])
        object.__setattr__(self, 'states', ('v', *extra))

    def __reduce__(self) -> tuple[Any, ...]:
        return Neuron, self.parts  # the text is made anew: a Custom surrogate may get another number

    @property
    def parts(self) -> tuple[Any, ...]:
        """Charge, fire, reset, surrogate."""
        return self.charge, self.fire, self.reset, self.surrogate

    @property
    def coefficients(self) -> tuple[str, ...]:
        """The names of the numbers that may be tensors in a call, with gradients: `multistep(coefficients=...)`."""
        return *self.charge.learns, 'v_threshold', *(['alpha'] if self.surrogate.learns_alpha else [])

    @property
    def fused(self) -> bool:
        """Whether kernels can run it: not if its surrogate is a Python function."""
        return not isinstance(self.surrogate, Custom)

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(spec: str) -> 'Neuron':
        """The neuron that a `spec` text describes. Raises ValueError if it describes none."""
        words = re.findall(r'(\w+)\(([^)]*)\)', spec)
        if len(words) != len(AXES):
            raise ValueError(f'spec must name {len(AXES)} parts ({", ".join(AXES)}), got {spec!r}')
        return Neuron(*[_part(axis, *word) for axis, word in zip(AXES, words, strict=True)])


@dataclass(frozen=True)
class Program:
    """What a call runs: a neuron, which of its numbers are rows of the coefficients [P, 1|T, 1|C], and a second input.

    names: of the rows. channel_dim: the dimension of x [T, ...] that C counts, from the front. connect: what the
    second input is added to, one of CONNECTS. As text: the neuron's spec, and for coefficients
    " @channel_dim name name", for a second input " +connect".
    """

    neuron: Neuron
    names: tuple[str, ...] = ()
    channel_dim: int = 2
    connect: str = ''

    @cached_property
    def packed(self) -> bytes:
        """As csrc/math/spec.h reads it: four ids, the fields of each part padded (a charge's c comes last), the row of
        each slot or -1."""
        parts = self.neuron.parts
        ids = [kinds.index(type(part)) for kinds, part in zip(AXES.values(), parts, strict=True)]
        charge = [value for f, value in zip(fields(parts[0]), _values(parts[0]), strict=True) if f.name != 'c']
        rows = [[*_padded(charge, MAX_VALUES - 1), parts[0].c], *[_padded(_values(part)) for part in parts[1:]]]
        slots = {SLOTS[name]: row for row, name in enumerate(self.names)}
        return LAYOUT.pack(
            *ids, *chain.from_iterable(rows), *[slots.get(i, -1) for i in range(max(SLOTS.values()) + 1)]
        )

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(spec: str) -> 'Program':
        """The program of a text. Raises ValueError if it is none."""
        text, _, connect = spec.partition(' +')
        text, _, call = text.partition('@')
        dim, *names = call.split() or ['2']
        neuron = Neuron.parse(text)
        unknown = set(names) - set(neuron.coefficients)
        if unknown:
            raise ValueError(f'spec must name coefficients of {neuron.coefficients}, got {sorted(unknown)}')
        if connect not in CONNECTS:
            raise ValueError(f'spec must connect by one of {CONNECTS}, got {connect!r}')
        return Program(neuron, tuple(names), int(dim), connect)


def divide(a: Tensor, b: float) -> Tensor:
    """a / b, correctly rounded on every device: torch's CUDA kernel multiplies by 1 / b if b is a scalar."""
    return a / torch.full((), b, dtype=a.dtype, device=a.device)


def _values(part: Any) -> list[float]:
    """The fields of a part as floats."""
    return [float(getattr(part, f.name)) for f in fields(part)]


def _padded(values: list[float], count: int = MAX_VALUES) -> list[float]:
    return [*values, *[0.0] * count][:count]


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
