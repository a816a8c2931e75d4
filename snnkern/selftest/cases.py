"""The one table of calls of neurons that the selftest and the tests share: neurons, shapes, dtypes, chosen pairwise.

`CASES` contains every pair of values of any two axes at least once, `FEW` is a handful for expensive checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from random import Random
from typing import Any

import torch
from torch import Tensor

from snnkern import (
    IF,
    LIF,
    PLIF,
    STE,
    Adaptive,
    Affine,
    ATan,
    Binary,
    Bounded,
    Burst,
    Delayed,
    Erf,
    FastSigmoid,
    Hard,
    Integer,
    LeakyReLU,
    MultiSpike,
    Neuron,
    NoReset,
    PiecewiseExp,
    Rectangle,
    Sigmoid,
    Signed,
    SignedMemory,
    Soft,
    SoftSign,
    SuperSpike,
    Synaptic,
    Ternary,
    Triangle,
    Window,
)

# Thresholds of bursts are dyadic: at a jump of `Rectangle` k * v_threshold must not depend on its rounding.
AXES = {
    'charge': (
        IF(),
        LIF(2.0),
        LIF(3.0, 0.1, decay_input=False),
        LIF(1.5, -0.2, c=0.1),
        PLIF(0.3),
        PLIF(0.4, 0.1, decay_input=False, c=0.1),
        Affine(0.9, 0.7, -0.05),
        Synaptic(0.8, decay=0.7),
        Synaptic(0.75, 0.5, 0.05, 0.6, delayed=True),
    ),
    'fire': (
        Binary(),
        Binary(0.7, real_units=True),
        Binary(0.5, strict=True),
        Burst(0.75, 3),
        Burst(0.5, 5, real_units=True),
        Ternary(0.5),
        Ternary(0.75, 3, real_units=True),
        Ternary(0.5, strict=True),
        Signed(0.25, negative_threshold=-2.0, negative_reset=2.0),
        Signed(0.5, 3, True, -1.5, 0.5),
        Signed(0.5, negative_threshold=1.0, negative_reset=1.0, strict=True),
        SignedMemory(0.5, 4),
        SignedMemory(0.75, 1, True, -1.0),
        SignedMemory(1.0, 3, False, -0.001),
        Integer(0.5, 4),
        Integer(0.75, 3, real_units=True),
        Adaptive(0.6, 0.3, 0.9),
        Adaptive(0.8, -0.1, 0.5, real_units=True),
        MultiSpike(0.5),
        MultiSpike(0.75, 3, real_units=True),
    ),
    'reset': (
        Hard(),
        Hard(-0.2, detach=True),
        Hard(0.1, detach_v=True),
        Soft(),
        Soft(detach=True),
        Soft(detach_v=True),
        NoReset(),
        Delayed(),
        Delayed(detach=True),
        Bounded(-0.15),
        Bounded(0.1, detach=True),
    ),
    'surrogate': (
        ATan(2.0),
        Sigmoid(4.0),
        Triangle(2.0),
        Rectangle(2.0),
        LeakyReLU(2.0, 0.1),
        Window(),
        STE(),
        FastSigmoid(25.0),
        SoftSign(2.0),
        SuperSpike(1.0),
        Erf(2.0),
        PiecewiseExp(1.0),
        PiecewiseExp(2.0, 1.5),
    ),
    'dtype': (torch.float32, torch.float16, torch.bfloat16),
    'T': (1, 3, 4, 16, 17, 40),
    'N': (1, 3, 5, 7, 9, 31, 33, 136, 1000),  # vectors of 4 and 8 +- 1, a warp +- 1, some vectors, more than one block
    'v0': (False, True),
    'state': (False, True),
    'constant': (False, True),
    'v_seq': (False, True),
    'rows': ('', 'one', 'each', 'steps'),
}


@dataclass(frozen=True)
class Case:
    """One call. v0: given states at the start; state: those at the end are wanted; constant: one x; v_seq: the trace
    of v is wanted; rows: coefficients as tensors, '' none, 'one' for all, 'each' neuron its own, those of all 'steps'.
    connect: what a residual is added to; sum: what neurons see is wanted and has a gradient; line: backward adds one;
    want_x: backward gives the gradient of x.
    """

    neuron: Neuron
    dtype: torch.dtype = torch.float32
    T: int = 4
    N: int = 33
    v0: bool = False
    state: bool = False
    constant: bool = False
    v_seq: bool = False
    rows: str = ''
    connect: str = ''
    sum: bool = False
    line: bool = False
    want_x: bool = True

    def __str__(self) -> str:
        given = ('v0', 'state', 'constant', 'v_seq', 'sum', 'line')
        flags = ''.join(f'-{name}' for name in given if getattr(self, name))
        flags += ''.join(f'-{text}' for text in (self.rows, self.connect, '' if self.want_x else 'no_x') if text)
        return f'{str(self.dtype)[6:]}-T{self.T}-N{self.N}{flags}-{self.neuron.spec}'.replace(' ', '_')

    @property
    def spec(self) -> str:
        """What the op is given: all numbers that may be tensors are, if any is."""
        names = f' @1 {" ".join(self.neuron.coefficients)}' if self.rows else ''
        return f'{self.neuron.spec}{names}' + (f' +{self.connect}' if self.connect else '')

    def inputs(self, seed: int = 42) -> tuple[Tensor, Tensor | None]:
        """x [T or 1, N] and states [S, N] or None: multiples of 0.1, which show any other order of operations."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(-5, 17, (1 if self.constant else self.T, self.N), generator=g) / 10
        states = torch.randint(-5, 8, (len(self.neuron.states), self.N), generator=g) / 10
        if isinstance(self.neuron.fire, SignedMemory):
            states[-1] = states[-1].mul(10).floor().clamp_min(0)  # a count
        return x.to(self.dtype), states if self.v0 else None

    def residual(self, seed: int = 45) -> Tensor | None:
        """[T, N] as x, or None."""
        g = torch.Generator().manual_seed(seed)
        rows = torch.randint(-5, 9, (self.T, self.N), generator=g) / 10
        return rows.to(self.dtype) if self.connect else None

    def seen(self, x: Tensor) -> Tensor:
        """What backward gets as x: x + residual, where neurons see that."""
        residual = self.residual()
        return x + residual.to(x.device) if residual is not None and self.connect == 'ms' else x

    def lines(self, seed: int = 46) -> Tensor | None:
        """[2, 1|N], or None."""
        g = torch.Generator().manual_seed(seed)
        return torch.randn(2, self.N if self.rows in ('each', 'steps') else 1, generator=g) if self.line else None

    def gradients(self, seed: int = 43) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Upstream gradients of s [T, N], of the last states [S, N], of v and of the sum [T, N]; None: not wanted."""
        g = torch.Generator().manual_seed(seed)
        grad_s = torch.randn(self.T, self.N, generator=g).to(self.dtype)
        grad_state = torch.randn(len(self.neuron.states), self.N, generator=g) if self.state else None
        grad_v_seq = torch.randn(self.T, self.N, generator=g) if self.v_seq else None
        grad_sum = torch.randn(self.T, self.N, generator=g).to(self.dtype) if self.sum else None
        return grad_s, grad_state, grad_v_seq, grad_sum

    def coefficients(self, seed: int = 44) -> Tensor | None:
        """[P, 1|T, 1|N] around the neuron's own numbers, or None."""
        if not self.rows:
            return None
        g = torch.Generator().manual_seed(seed)
        parts = self.neuron.charge, self.neuron.fire, self.neuron.surrogate
        own = [next(getattr(p, n) for p in parts if hasattr(p, n)) for n in self.neuron.coefficients]
        shape = (self.T if self.rows == 'steps' else 1, 1 if self.rows == 'one' else self.N)
        around = torch.randint(-4, 5, (len(own), *shape), generator=g) / 20
        return torch.tensor(own)[:, None, None] * (1 + around)

    def tensors(self) -> dict[str, Tensor]:
        """The coefficients as `functional.multistep` takes them: numbers, [N] or [T, N]."""
        rows = self.coefficients()
        if rows is None:
            return {}
        shape = {'one': (), 'each': (-1,), 'steps': (self.T, -1)}[self.rows]
        return {name: row.reshape(shape).clone() for name, row in zip(self.neuron.coefficients, rows, strict=True)}


def pairwise(*axes: tuple, tries: int = 60, allowed: Callable[[Any], bool] = lambda row: True) -> list[tuple]:
    """Few rows that hold every (allowed) pair of values of any two axes; greedy, the same rows every time."""
    random, rows = Random(0), []
    columns = list(combinations(range(len(axes)), 2))
    missing = {(i, j, a, b) for i, j in columns for a, b in product(range(len(axes[i])), range(len(axes[j])))}

    def values(row: list[int]) -> tuple:
        return tuple(axis[k] for axis, k in zip(axes, row, strict=True))

    def gain(row: list[int]) -> int:
        return sum((i, j, row[i], row[j]) in missing for i, j in columns)

    while missing:
        i, j, a, b = min(missing)
        tried = [[random.randrange(len(axis)) for axis in axes] for _ in range(tries)]
        for row in tried:
            row[i], row[j] = a, b
        tried = [row for row in tried if allowed(values(row))]
        if not tried:  # a pair that no neuron has
            missing.discard((i, j, a, b))
            continue
        best = max(tried, key=gain)
        missing -= {(i, j, best[i], best[j]) for i, j in columns}
        rows.append(values(best))
    return rows


def _possible(row: tuple) -> bool:
    """Whether there is such a call: a delayed reset knows no fire with a state, and no threshold that varies."""
    return not (row[2].delayed and (row[1].extra or row[-1] == 'steps'))


def _case(charge: Any, fire: Any, reset: Any, surrogate: Any, *rest: Any) -> Case:
    return Case(Neuron(charge, fire, reset, surrogate), *rest)


CASES = [_case(*row) for row in pairwise(*AXES.values(), allowed=_possible)]
FEW = [
    Case(Neuron(), T=4, N=4096),
    Case(Neuron(LIF(3.0, 0.1), Burst(0.75, 3), Soft(), Triangle()), torch.float16, 17, 33, True, True),
    Case(Neuron(IF(), Binary(0.7, True), Hard(-0.2, True)), torch.bfloat16, 9, 136, False, True, True),
    Case(Neuron(Synaptic(), SignedMemory(0.5, 4), Soft()), T=20, N=40, v0=True, state=True, v_seq=True, rows='each'),
]
NEURONS = list(dict.fromkeys(case.neuron for case in CASES))
