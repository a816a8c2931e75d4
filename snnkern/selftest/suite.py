"""Which cases the selftest runs: `cases(...)`."""

from collections.abc import Iterator
from itertools import product
from typing import Any, Protocol

import torch

from snnkern import (
    IF,
    LIF,
    Adaptive,
    Affine,
    Binary,
    Burst,
    Delayed,
    Hard,
    Integer,
    Neuron,
    SignedMemory,
    Soft,
    Synaptic,
)
from snnkern.selftest.calls import LAYOUTS, BatchNorm, Layout, Moments, Pack, Poisson, Saved
from snnkern.selftest.cases import AXES, CASES, FEW, Case, pairwise
from snnkern.selftest.common import DTYPES, common_cases, converted_cases
from snnkern.selftest.compare import Results
from snnkern.selftest.device import CHECKS, DeviceCase
from snnkern.selftest.parity import Recurrence
from snnkern.selftest.pools import FUNCTIONS, WINDOWS, PoolCase

F32, F16, BF16 = DTYPES
SIZES = (0, 1, 3, 4, 5, 7, 8, 9, 31, 33, 1001)
LARGE = 1 << 18, (1 << 18) + 5  # of whole vectors, and not
BLOCKS = 1544  # whole vectors of every dtype, and more than one block of them
SECOND = (
    Neuron(),
    Neuron(Affine(0.9, 0.7, -0.05), Binary(0.7), Soft()),
    Neuron(Affine(0.5, 0.5), Binary(strict=True), Delayed()),
    Neuron(Synaptic(0.8, decay=0.7), SignedMemory(0.5, 4), Soft()),
    Neuron(LIF(3.0, 0.1), Adaptive(0.6, 0.3, 0.9), Hard(-0.2, detach=True)),
)
ODD = (
    Neuron(),
    *(
        Neuron(IF(), fire, Soft())
        for fire in (Binary(0.5, strict=True), Burst(0.5, 3), Integer(0.5, 3), SignedMemory(0.5, 3))
    ),
    Neuron(reset=Hard(detach=True)),
)
NORMED = Neuron(LIF(2.0)), Neuron(LIF(3.0, 0.25, False), Burst(0.75, 3), Soft())
PACKED = Neuron(), Neuron(IF(), Burst(0.5, 5, real_units=True), Soft()), Neuron(IF(), SignedMemory(0.5, 7), Soft())


class Comparison(Protocol):
    """One comparison. op: the row of the table; needs: the op of `backends.OPS` that it runs; repr: Python."""

    @property
    def op(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def needs(self) -> str: ...

    def refusal(self, device: torch.device) -> str | None:
        """Why it cannot run on a device, whatever the backend, or None."""

    def results(self, backend: str, device: torch.device) -> Results:
        """What this backend gives there."""


def cases(quick: bool = False, compiles: bool = False) -> list[Comparison]:
    """All cases of a run.

    quick: some of each kind. compiles: for a backend that compiles each kind of neuron when it is first met, so that
    not every pair of charge, fire, reset and surrogate is worth its seconds.
    """
    neurons = CASES[:9] if quick else covering(CASES) if compiles else CASES
    second = _second(quick or compiles)[:: 2 if compiles else 1]
    common = [*common_cases(BLOCKS)[:: 5 if compiles else 1], *converted_cases(BLOCKS, 17)]
    found: list[Comparison] = [Recurrence(case) for case in (*neurons, *FEW, *common, *second)]
    return [
        *found,
        *_shapes(quick, compiles),
        *_special(quick or compiles),
        *_around(quick, compiles),
        *map(DeviceCase, CHECKS),
    ]


def covering(given: list[Case]) -> list[Case]:
    """Those that show a kind of charge, fire, reset or surrogate, or a value of another axis, as the first."""
    kept: list[Case] = []
    seen: set[Any] = set()
    for case in given:
        values = {*map(type, case.neuron.parts), *((name, getattr(case, name)) for name in list(AXES)[4:])}
        if not values <= seen:
            kept.append(case)
        seen |= values
    return kept


def _second(few: bool) -> list[Case]:
    """A second input, sums, spans of BatchNorm."""
    calls = DTYPES, (1, 16, 20), (33, 136), ('', 'each', 'steps'), ('sew', 'ms'), (False, True), (False, True)
    axes = pairwise(
        SECOND[: 2 if few else None], *calls, allowed=lambda c: not (c[0].reset.delayed and c[4] == 'steps')
    )
    return [
        Case(neuron, dtype, T, N, True, True, False, False, rows, connect, total and connect == 'ms', line)
        for neuron, dtype, T, N, rows, connect, total, line in axes
    ]


def _shapes(quick: bool, compiles: bool) -> Iterator[Comparison]:
    """Sizes, and layouts."""
    for N, dtype in product(SIZES, DTYPES):
        for T in (4,) if quick or compiles else (4, 17):
            yield Recurrence(Case(Neuron(), dtype, T, N, v0=True, state=True))
    for dtype, N in product(DTYPES[: 1 if quick else None], LARGE):
        yield Recurrence(Case(Neuron(), dtype, 20, N // (8 if quick else 1), state=True))
    names = tuple(LAYOUTS)
    dtypes = DTYPES[:1] if quick else (F32, BF16) if compiles else DTYPES
    for x, state, dtype in pairwise(names, names[: 1 if quick else None], dtypes):
        yield Layout(dtype, x, state, Neuron() if compiles else Layout.neuron)


def _special(few: bool) -> Iterator[Comparison]:
    many = product(ODD, DTYPES[: 1 if few else None], (0.0, torch.nan))
    for neuron, dtype, start in (*many, *product(ODD[:1], DTYPES[1:], (0.0,) if few else ())):
        yield Recurrence(Case(neuron, dtype, 3, 12, v0=True, state=True), start)


def _around(quick: bool, compiles: bool) -> Iterator[Comparison]:
    """What stands around neurons."""
    for shape, dtype in product([(7, 5, 3), (5, 8, 4, 4, 4), (3, 2, 9, 33, 31)], DTYPES):
        yield from (Moments(dtype, shape, last) for last in (False, True)[: 1 + (len(shape) == 5)])
    for neuron, dtype, last in product(NORMED[: 1 if quick or compiles else None], DTYPES, (False, True)):
        yield BatchNorm(dtype, neuron, last=last)
    yield from _pools(quick, compiles)
    for dtype in DTYPES:
        yield Poisson(dtype, (3, 7), 5, 2**32 + 9, 2**31)
        yield Poisson(dtype, (2, 8, 5, 6), 8, 2**63 - 1, 2**40, last=True)
        yield from (Poisson(dtype, (2, n), 6, 1, misaligned=True) for n in (512, 513))
        yield from (Pack(dtype, n, kind, 0.7) for n, kind in product((0, 1, 9, 1025), ('bits', 'counts', 'signed')))
        yield Pack(dtype, 1025, 'bits', misaligned=True)
    for neuron, dtype in product(PACKED[: 1 if compiles else None], DTYPES[: 1 if compiles else None]):
        yield Saved(dtype, neuron)


def _pools(quick: bool, compiles: bool) -> Iterator[Comparison]:
    sizes = (3, 2, 3, 7, 6), (2, 1, 8, 6, 8), (4, 2, 9, 17, 15)
    few = pairwise(tuple(FUNCTIONS), DTYPES, WINDOWS[: 2 if quick else None], sizes, (False, True))
    many = pairwise(tuple(product(FUNCTIONS, DTYPES)), WINDOWS, sizes, (False, True))
    for mode, dtype, window, size, last in few if quick or compiles else ((*kind, *rest) for kind, *rest in many):
        counts = mode != 'plain'
        yield PoolCase(mode, window, size, dtype, last, counts, 0.7 if counts and last else 1.0)
