"""What a neuron is: charge, fire, reset and a surrogate, all plain frozen data.

Per time step: h = charge(v, x); s = fire(h); v = reset(h, s). A `Neuron` names the four parts, and every
backend reads the same data: as text (`Neuron.spec`, what the torch ops carry) or packed (`Program.packed`,
what the native kernels read). Some of its numbers may be tensors in a call (`Neuron.coefficients`): `Program`
says which. The parts stand in charges.py, fires.py, resets.py and surrogates.py.
"""

import re
import struct
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from snnkern.charges import CHARGES, LIF, Charge
from snnkern.fires import FIRES, Binary, Fire
from snnkern.resets import RESETS, Hard, Reset
from snnkern.surrogates import SURROGATES, ATan, Custom, Surrogate

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
    `SignedMemory`, `Integer`, `Adaptive`, `MultiSpike`; reset: `Hard`, `Soft`, `NoReset`, `Delayed`, `Bounded`;
    surrogate: one of snnkern.surrogates. Example: `Neuron(LIF(tau=2.0), Burst(1.0, 4), Soft())`. Raises TypeError
    if a part is not one of its axis or two do not go together. Inside a function that torch.compile traces, name all
    four parts (it cannot make default ones) or build the neuron outside.

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


def _values(part: Any) -> list[float]:
    """The fields of a part as floats."""
    return [float(getattr(part, f.name)) for f in fields(part)]


def _padded(values: list[float], count: int = MAX_VALUES) -> list[float]:
    return [*values, *[0.0] * count][:count]


def _text(part: Any) -> str:
    return f'{type(part).__name__}({", ".join(f"{v}" for v in _values(part))})'


def _part(axis: str, name: str, values: str) -> Any:
    """The dataclass of this name with its fields in their own types; those that an older text lacks have defaults."""
    kinds = {kind.__name__: kind for kind in AXES[axis]}
    if name not in kinds:
        raise ValueError(f'unknown {axis} {name!r}, expected one of {", ".join(kinds)}')
    kind = kinds[name]
    types: list[Any] = [f.type for f in fields(kind)]
    given = list(filter(None, values.split(', ')))
    if not sum(f.default is MISSING for f in fields(kind)) <= len(given) <= len(types):
        wanted = ', '.join(f.name for f in fields(kind))
        raise ValueError(f'{axis} {name} must have the values of {wanted or "nothing"}, got {name}({values})')
    return kind(*[cast(float(v)) for cast, v in zip(types, given, strict=False)])
