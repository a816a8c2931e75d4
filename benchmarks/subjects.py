"""The words of the suite: a case is one call, a provider runs it, an op says who can and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

FORWARD, BOTH = 'forward', 'forward+backward'
INFERENCE, TRAINING = 'inference', 'training step'
OPS, NEURONS, NETWORKS = 'ops', 'neurons', 'networks'
COPY = 'copy of the same bytes'
NATIVE, REFERENCE, TRITON = 'snnkern native', 'snnkern reference', 'snnkern triton'
HALF = torch.float16, torch.bfloat16
Run = Callable[[Tensor], Tensor]


class WrongError(Exception):
    """A network's results are not those expected."""


@dataclass(frozen=True)
class Case:
    """One call on T steps of N neurons (of a network: N images).

    direction: `FORWARD` (no graph) or `BOTH`; of networks `INFERENCE` or `TRAINING`. threads: 0 is as many as the run
    has. moves: elements that must be read and written an element-step, forward and forward+backward (reads x, writes s;
    reads x and grad_s, writes grad_x); holds: tensors of [T, N] that are in memory then.
    """

    op: str
    T: int
    N: int
    dtype: torch.dtype
    direction: str
    threads: int = 0
    group: str = OPS
    moves: tuple[float, float] = (2.0, 5.0)
    holds: tuple[float, float] = (2.0, 4.0)

    def __str__(self) -> str:
        threads = f'-threads{self.threads}' if self.threads else ''
        return f'{self.op}-{self.direction}-T{self.T}-N{self.N}-{str(self.dtype)[6:]}{threads}'

    @property
    def steps(self) -> int:
        """Element-steps; of a network, images times steps."""
        return self.T * self.N

    @property
    def traffic(self) -> int:
        """Bytes that must move; 0 for a network, which has no such bound."""
        return self._bytes(self.moves)

    @property
    def footprint(self) -> int:
        """Bytes of all tensors of the case."""
        return self._bytes(self.holds)

    def _bytes(self, elements: tuple[float, float]) -> int:
        if self.group == NETWORKS:
            return 0
        return int(self.steps * self.dtype.itemsize * elements[self.direction == BOTH])

    def inputs(self, seed: int = 42) -> tuple[Tensor, Tensor]:
        """x and the upstream gradient. x as in the tests: multiples of 0.1 show another order of operations."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(-5, 17, (self.T, self.N), generator=g).to(self.dtype) / 10
        return x.requires_grad_(self.direction == BOTH), torch.randn(self.T, self.N, generator=g).to(self.dtype)


@dataclass(frozen=True)
class Provider:
    """Who runs a case. make: its function; of a network, its call.

    needs: modules it imports; compiled: through torch.compile; ours: snnkern's.
    flips: the share of neurons whose spikes may differ, where the order of operations is another. widens: half
    precision runs as x.float(), and the spikes go back: its potentials would be rounded to it, ours are not.
    saves: tensors of [T, N] in float32 that it holds at most, forward and forward+backward: no machine is to run out.
    absent: why it is never run here.
    """

    name: str
    make: Callable[[], Any]
    needs: tuple[str, ...] = ()
    compiled: bool = False
    ours: bool = False
    flips: float = 0.0
    widens: bool = False
    saves: tuple[float, float] = (2.0, 4.0)
    absent: str = ''

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        lacking = [name for name in self.needs if find_spec(name) is None]
        return self.absent or (f'{", ".join(lacking)} is not installed' if lacking else None)

    def build(self, dtype: torch.dtype = torch.float32) -> Run:
        """A fresh function: a compiled one is compiled for the one shape that it will see."""
        run = self.make()
        if self.widens and dtype in HALF:
            run = _widened(run)
        return torch.compile(run, dynamic=False) if self.compiled else run

    def demand(self, case: Case) -> int:
        """Bytes that it needs at most, by estimate."""
        return int(case.steps * 4 * self.saves[case.direction == BOTH])


def _widened(run: Run) -> Run:
    return lambda x: run(x.float()).to(x.dtype)


Inputs = Callable[[Case], tuple[Tensor, Tensor]]
Gate = Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], str | None]


@dataclass(frozen=True)
class Op:
    """What is measured, and by whom.

    inputs: x and the upstream gradient, if not the case's own. gate: how a result is wrong, if it is not to be compared
    with the reference. columnwise: neurons do not know each other, so that the reference may run on a part of them.
    """

    name: str
    group: str
    providers: tuple[Provider, ...]
    inputs: Inputs = Case.inputs
    gate: Gate | None = None
    columnwise: bool = True
    moves: tuple[float, float] = (2.0, 5.0)
    holds: tuple[float, float] = (2.0, 4.0)

    def case(self, T: int, N: int, dtype: torch.dtype, direction: str, threads: int = 0) -> Case:
        """A case of this op."""
        return Case(self.name, T, N, dtype, direction, threads, self.group, self.moves, self.holds)

    @property
    def reference(self) -> Provider:
        """Who says what is right."""
        return next(p for p in self.providers if p.name == REFERENCE)
