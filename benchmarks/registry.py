"""What is measured: cases (one call), providers (who runs it) and targets (what is promised).

A provider makes, for a case, the function x [T, N] -> spikes [T, N] that its users would call; autograd does the
rest. All run LIF with tau = 2, v_threshold = 1, hard reset to 0, ATan(2) and decay_input. Rivals that cannot be
imported are skipped by name, with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from snnkern import functional, surrogates

TAU, THRESHOLD, ALPHA = 2.0, 1.0, 2.0
FORWARD, BOTH = 'forward', 'forward+backward'
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One call of an op on [T, N] neurons. direction: `FORWARD` (no graph) or `BOTH`."""

    op: str
    T: int
    N: int
    dtype: torch.dtype
    direction: str

    def __str__(self) -> str:
        return f'{self.op}-{self.direction}-T{self.T}-N{self.N}-{str(self.dtype)[6:]}'

    @property
    def steps(self) -> int:
        """Element-steps."""
        return self.T * self.N

    @property
    def traffic(self) -> int:
        """Bytes that must move: forward reads x and writes s; backward reads x and grad_s and writes grad_x."""
        return self.steps * self.dtype.itemsize * (2 if self.direction == FORWARD else 5)

    def inputs(self, seed: int = 42) -> tuple[Tensor, Tensor]:
        """x and the upstream gradient. x as in the tests: multiples of 0.1 show another order of operations."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(-5, 17, (self.T, self.N), generator=g).to(self.dtype) / 10
        return x.requires_grad_(self.direction == BOTH), torch.randn(self.T, self.N, generator=g).to(self.dtype)


class _ATanSpike(torch.autograd.Function):
    """The spike of a plain torch loop: a step forward, the derivative of an arcus tangent backward."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return (z >= 0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return grad * (ALPHA / 2) / (1 + (torch.pi / 2 * ALPHA * z) ** 2)


def torch_loop(x: Tensor) -> Tensor:
    """The loop that users write; unbind, because indexing x[t] makes backward quadratic in T."""
    v, out = torch.zeros_like(x[0]), []
    for current in x.unbind(0):
        h = v + (current - v) / TAU
        s = _ATanSpike.apply(h - THRESHOLD)
        v = (1 - s) * h
        out.append(s)
    return torch.stack(out)


def _snnkern(backend: str) -> Run:
    lif = partial(functional.lif, tau=TAU, v_threshold=THRESHOLD, surrogate=surrogates.ATan(ALPHA), backend=backend)
    return lif  # type: ignore[return-value]


def _spikingjelly() -> Run:
    from spikingjelly.activation_based import neuron, surrogate

    node = neuron.LIFNode(
        tau=TAU,
        v_threshold=THRESHOLD,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(ALPHA),
        step_mode='m',
    )

    def run(x: Tensor) -> Tensor:
        node.reset()
        return node(x)

    return run


def _spikingjelly_functional() -> Run:
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import surrogate

    spike = surrogate.ATan(ALPHA)

    def run(x: Tensor) -> Tensor:
        return sj.lif_multi_step(x, torch.zeros_like(x[0]), TAU, True, THRESHOLD, 0.0, spike)[0]

    return run


@dataclass(frozen=True)
class Provider:
    """Who runs a case. make: its function; needs: modules it imports; compiled: through torch.compile."""

    name: str
    make: Callable[[], Run]
    needs: tuple[str, ...] = ()
    compiled: bool = False
    ours: bool = False

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f'{", ".join(absent)} is not installed' if absent else None

    def build(self) -> Run:
        """A fresh function: a compiled one is compiled for the one shape that it will see."""
        run = self.make()
        return torch.compile(run, dynamic=False) if self.compiled else run


NATIVE, REFERENCE = 'snnkern native', 'snnkern reference'
SJ, SJ_COMPILED = 'SpikingJelly', 'SpikingJelly op, torch.compile'
PROVIDERS = (
    Provider(NATIVE, partial(_snnkern, 'native'), ours=True),
    Provider(REFERENCE, partial(_snnkern, 'reference'), ours=True),
    Provider('torch loop', lambda: torch_loop),
    Provider('torch loop, torch.compile', lambda: torch_loop, compiled=True),
    Provider(SJ, _spikingjelly, ('spikingjelly',)),
    Provider(SJ_COMPILED, _spikingjelly_functional, ('spikingjelly',), compiled=True),
)
COPY = 'copy of the same bytes'


@dataclass(frozen=True)
class Target:
    """snnkern native is promised to take at most time(`rival`) / `factor`."""

    direction: str
    N: int
    rival: str
    factor: float

    def holds_for(self, case: Case) -> bool:
        """Whether the case is the one that the promise is about."""
        same = (case.direction, case.N) == (self.direction, self.N)
        return same and case.T == 16 and case.dtype == torch.float32


SIZES = (1 << 14, 1 << 18, 1 << 21)
_PROMISED = {FORWARD: (25.0, 14.0, 8.0), BOTH: (20.0, 8.0, 6.0)}
TARGETS = (
    *(Target(d, n, SJ, f) for d, factors in _PROMISED.items() for n, f in zip(SIZES, factors, strict=True)),
    *(Target(d, n, SJ_COMPILED, 1.5) for d in _PROMISED for n in SIZES),
    Target(FORWARD, 1 << 18, COPY, 1 / 1.5),
)


def cases(full: bool = False) -> tuple[Case, ...]:
    """The cases of the targets; full: also other T, and half precision."""
    chosen = [Case('lif', 16, n, torch.float32, d) for d in (FORWARD, BOTH) for n in SIZES]
    if full:
        chosen += [Case('lif', T, 1 << 18, torch.float32, d) for d in (FORWARD, BOTH) for T in (4, 64)]
        halves = (torch.float16, torch.bfloat16)
        chosen += [Case('lif', 16, 1 << 18, dtype, d) for d in (FORWARD, BOTH) for dtype in halves]
    return tuple(chosen)
