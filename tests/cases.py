"""The one table of cases that the tests of all backends share: neurons, shapes, dtypes, chosen pairwise.

`CASES` contains every pair of values of any two axes at least once, `FEW` is a handful for expensive checks.
"""

from dataclasses import dataclass
from itertools import combinations, product
from random import Random

import torch
from torch import Tensor

from snnkern import IF, LIF, ATan, Binary, Burst, Hard, Neuron, Rectangle, Sigmoid, Soft, Triangle

# Thresholds of bursts are dyadic: at a jump of `Rectangle` k * v_threshold must not depend on its rounding.
AXES = {
    'charge': (IF(), LIF(2.0), LIF(3.0, 0.1, decay_input=False), LIF(1.5, -0.2)),
    'fire': (Binary(), Binary(0.7, real_units=True), Burst(0.75, 3), Burst(0.5, 5, real_units=True)),
    'reset': (Hard(), Hard(-0.2, detach=True), Soft(), Soft(detach=True)),
    'surrogate': (ATan(2.0), Sigmoid(4.0), Triangle(2.0), Rectangle(2.0)),
    'dtype': (torch.float32, torch.float16, torch.bfloat16),
    'T': (1, 3, 4, 16, 17, 40),
    'N': (1, 3, 5, 7, 9, 31, 33, 136, 1000),  # vectors of 4 and 8 +- 1, a warp +- 1, some vectors, more than one block
    'v0': (False, True),
    'state': (False, True),
    'constant': (False, True),
}


@dataclass(frozen=True)
class Case:
    """One call. v0: given potentials at the start; state: those at the end are wanted; constant: one x."""

    neuron: Neuron
    dtype: torch.dtype = torch.float32
    T: int = 4
    N: int = 33
    v0: bool = False
    state: bool = False
    constant: bool = False

    def __str__(self) -> str:
        flags = ''.join(f'-{name}' for name in ('v0', 'state', 'constant') if getattr(self, name))
        return f'{str(self.dtype)[6:]}-T{self.T}-N{self.N}{flags}-{self.neuron.spec}'.replace(' ', '_')

    def inputs(self, seed: int = 42) -> tuple[Tensor, Tensor | None]:
        """x [T or 1, N] and v0 [1, N] or None: multiples of 0.1, which show any other order of operations."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(-5, 17, (1 if self.constant else self.T, self.N), generator=g) / 10
        v0 = torch.randint(-5, 8, (1, self.N), generator=g) / 10
        return x.to(self.dtype), v0 if self.v0 else None

    def gradients(self, seed: int = 43) -> tuple[Tensor, Tensor | None]:
        """Upstream gradients of s [T, N] and of the last state [1, N], or None if it is not wanted."""
        g = torch.Generator().manual_seed(seed)
        grad_s = torch.randn(self.T, self.N, generator=g).to(self.dtype)
        return grad_s, torch.randn(1, self.N, generator=g) if self.state else None


def pairwise(*axes: tuple, tries: int = 60) -> list[tuple]:
    """Few rows that hold every pair of values of any two axes; greedy, the same rows every time."""
    random, rows = Random(0), []
    columns = list(combinations(range(len(axes)), 2))
    missing = {(i, j, a, b) for i, j in columns for a, b in product(range(len(axes[i])), range(len(axes[j])))}

    def gain(row: list[int]) -> int:
        return sum((i, j, row[i], row[j]) in missing for i, j in columns)

    while missing:
        i, j, a, b = min(missing)
        tried = [[random.randrange(len(axis)) for axis in axes] for _ in range(tries)]
        for row in tried:
            row[i], row[j] = a, b
        best = max(tried, key=gain)
        missing -= {(i, j, best[i], best[j]) for i, j in columns}
        rows.append(tuple(axis[k] for axis, k in zip(axes, best, strict=True)))
    return rows


def _case(charge, fire, reset, surrogate, *rest) -> Case:
    return Case(Neuron(charge, fire, reset, surrogate), *rest)


CASES = [_case(*row) for row in pairwise(*AXES.values())]
FEW = [
    Case(Neuron(), T=4, N=4096),
    Case(Neuron(LIF(3.0, 0.1), Burst(0.75, 3), Soft(), Triangle()), torch.float16, 17, 33, True, True),
    Case(Neuron(IF(), Binary(0.7, True), Hard(-0.2, True)), torch.bfloat16, 9, 136, False, True, True),
]
NEURONS = list(dict.fromkeys(case.neuron for case in CASES))
