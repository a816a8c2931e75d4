"""The one registry of the suite: ops, other libraries' neurons and whole networks, and which cases a run has.

A provider makes, for a case, the function x [T, N] -> spikes [T, N] that its users would call; autograd does the rest.
Rivals that cannot be imported are skipped by name, with the reason. Promises: `benchmarks.targets`.
"""

import os
from itertools import product

import torch

from benchmarks import networks
from benchmarks.layers import LAYERS
from benchmarks.lif import ALPHA, LIF, PROVIDERS, SJ, SJ_COMPILED, TAU, THRESHOLD, torch_loop
from benchmarks.rivals import RIVALS
from benchmarks.subjects import BOTH, COPY, FORWARD, NATIVE, NETWORKS, REFERENCE, Case, Op, Provider, Run

__all__ = ['ALPHA', 'BOTH', 'COPY', 'FORWARD', 'NATIVE', 'OPS', 'PROVIDERS', 'REFERENCE', 'SIZES', 'SJ', 'SJ_COMPILED',
           'TAU', 'THRESHOLD', 'Case', 'Op', 'Provider', 'Run', 'cases', 'compiles', 'providers',
           'torch_loop']  # fmt: skip

OPS = {op.name: op for op in (LIF, *LAYERS, *RIVALS)}
QUICK, DEFAULT, FULL = SIZES = 'quick', 'default', 'full'
STEPS, NEURONS = (1, 4, 16, 64), (1 << 6, 1 << 10, 1 << 12, 1 << 14, 1 << 18, 1 << 21)
DIRECTIONS = FORWARD, BOTH
SINGLE, BRAIN = torch.float32, torch.bfloat16
COMPILED = 1 << 14, 1 << 18, 1 << 21  # N that the default run compiles, at T = 16


def cases(size: str = DEFAULT) -> tuple[Case, ...]:
    """The cases of a run, small ones first: "quick", "default" or "full"."""
    found = dict.fromkeys((*_grid(size), *_threads(size), *_ops(size)))
    return (*found, *networks.cases(size))


def providers(case: Case) -> tuple[Provider, ...]:
    """Who can run a case."""
    return networks.providers(case) if case.group == NETWORKS else OPS[case.op].providers


def compiles(case: Case, size: str) -> bool:
    """Whether torch.compile has its turn in this case: it takes half a minute each."""
    usual = case.T == 16 and case.N in COMPILED and case.dtype == SINGLE and not case.threads
    return size == FULL or (size == DEFAULT and usual)


def _grid(size: str) -> list[Case]:
    """LIF over T, N, dtype and direction. The default has T at 2^18 neurons, N at 16 steps, and bfloat16 at those."""
    if size == QUICK:
        chosen = [(16, n, SINGLE) for n in (1 << 6, 1 << 14, 1 << 18)] + [(16, 1 << 14, BRAIN)]
        chosen += [(T, 1 << 14, SINGLE) for T in (1, 4)]
    elif size == FULL:
        chosen = list(product(STEPS, NEURONS, (SINGLE, BRAIN)))
    else:
        chosen = [(16, n, SINGLE) for n in NEURONS] + [(T, 1 << 18, SINGLE) for T in STEPS]
        chosen += [(16, n, BRAIN) for n in (1 << 14, 1 << 18, 1 << 21)]
    return [LIF.case(T, N, dtype, d) for d in DIRECTIONS for T, N, dtype in chosen]


def _threads(size: str) -> list[Case]:
    """LIF on 1, 2, 4, ... threads."""
    counts = [1 << i for i in range((os.cpu_count() or 1).bit_length())]
    wide = {QUICK: (1 << 14,), DEFAULT: (1 << 18,), FULL: (1 << 14, 1 << 18, 1 << 21)}[size]
    return [LIF.case(16, N, SINGLE, d, k) for d in DIRECTIONS for N in wide for k in counts]


def _ops(size: str) -> list[Case]:
    """The other ops, and the neurons of other libraries."""
    wide, found = {QUICK: (1 << 14,), DEFAULT: (1 << 16,), FULL: (1 << 14, 1 << 18)}[size], []
    dtypes = (SINGLE, BRAIN) if size == FULL else (SINGLE,)
    for op, N, dtype in product((*LAYERS, *RIVALS), wide, dtypes):
        directions = (FORWARD,) if op.name == 'poisson' else (BOTH,) if size == QUICK else DIRECTIONS
        found += [op.case(16, N, dtype, d) for d in directions]
    return found
