"""One case: the gate first, then the clock.

Speed counts only behind a green gate: on the very inputs that are timed, spikes of all providers must equal the
reference's and gradients lie within `snnkern.testing`'s tolerances; who fails is not timed. Nor is who would need more
memory than is free, or more time than a case has: each of them is named, with the reason.
"""

import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks, registry
from benchmarks.registry import COPY, OPS, Case, Op, Provider
from benchmarks.subjects import NETWORKS
from benchmarks.targets import cache_bytes
from benchmarks.timing import Call, Timing, call_of, copy_call, interleave, peak_bytes
from snnkern.testing import assert_grads_close, assert_spikes_equal

PART = 1 << 17  # neurons that the reference has at a time: it keeps dozens of tensors
REFERENCE_STEPS = 1 << 20
GATE = 20  # tensors of [T, N] in float32 that comparing takes
SHARE = 0.6  # of the free memory that a provider may need
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """What a case may cost. seconds: of the clock's rounds, and of one call; compile_s: of one compilation."""

    seconds: float
    call_s: float
    compile_s: float
    least: int
    most: int = 60


BUDGETS = {
    registry.QUICK: Budget(0.4, 0.2, 0.0, 3, 15),
    registry.DEFAULT: Budget(1.5, 1.0, 90.0, 5),
    registry.FULL: Budget(8.0, 8.0, 600.0, 5),
}


@dataclass
class Result:
    """One case. timings, peaks: by provider; skipped: provider -> why; failed: provider -> how it was wrong."""

    case: Case
    threads: int = 1
    timings: dict[str, Timing] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    first_call_s: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One row per provider."""
        case, copy = self.case, self.timings.get(COPY)
        return [
            {
                'provider': name,
                'ours': name in ours(case),
                'ns_per_step': t.median / case.steps * 1e9,
                'gb_per_s': case.traffic / t.median * 1e-9 if case.traffic else None,
                'copy_share': copy.median / t.median if copy else None,
                'peak_bytes': self.peaks.get(name),
                'first_call_s': self.first_call_s.get(name),
                'seconds': t.as_dict(),
            }
            for name, t in self.timings.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        c = self.case
        found = {'name': str(c), 'group': c.group, 'op': c.op, 'T': c.T, 'N': c.N, 'dtype': str(c.dtype)[6:]}
        found |= {'direction': c.direction, 'threads': c.threads, 'steps': c.steps, 'traffic': c.traffic}
        found |= {'footprint': c.footprint, 'cache': cache_bytes(c.threads or self.threads)}
        return {**found, 'took_s': self.took_s, 'rows': self.rows(), 'skipped': self.skipped, 'failed': self.failed}


def ours(case: Case) -> set[str]:
    """The providers that are snnkern's."""
    return {p.name for p in registry.providers(case) if p.ours}


def check(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], flips: float = 0.0) -> str | None:
    """How a result differs from the reference, or None.

    Tensors: spikes and, with gradients, that of x. flips: the share of neurons [T, N] whose spikes may differ; if
    some do, gradients may be 0.01 and twice the root of their share of the norm apart: such neurons add to it.
    """
    try:
        if flips:
            _nearly(found, expected, flips)
            return None
        assert_spikes_equal(found[0], expected[0])
        for actual, wanted in zip(found[1:], expected[1:], strict=True):
            assert_grads_close(actual, wanted)
    except AssertionError as error:
        return str(error)
    return None


def _nearly(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], flips: float) -> None:
    assert found[0].shape == expected[0].shape, f'shape {tuple(found[0].shape)}, expected {tuple(expected[0].shape)}'
    flipped = (found[0] != expected[0]).any(0).float().mean().item()
    assert flipped <= flips, f'spikes of {flipped:.2%} of the neurons differ, allowed {flips:.2%}'
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        if not flipped:
            assert_grads_close(actual, wanted)
            continue
        a, b = actual.double(), wanted.double()
        distance, allowed = ((a - b).norm() / b.norm()).item(), 0.01 + 2 * flipped**0.5
        assert distance <= allowed, f'gradients are {distance:.2g} of their norm apart, allowed {allowed:.2g}'


def expected_of(op: Op, case: Case, x: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """The reference's spikes and gradient, of a part of the neurons after the other where they are independent."""
    run = op.reference.build()
    if not op.columnwise or case.N <= PART or op.gate is not None:
        return call_of(run, case, x, grad)()
    parts = []
    for i in range(0, case.N, PART):
        own = x.detach()[:, i : i + PART].contiguous().requires_grad_(x.requires_grad)
        parts.append(call_of(run, case, own, grad[:, i : i + PART].contiguous())())
    return tuple(torch.cat(columns, 1) for columns in zip(*parts, strict=True))


def free_bytes() -> int:
    """Memory that the system can give; a lot where Linux does not tell."""
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
    except OSError:
        return 1 << 60
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith('MemAvailable'))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after so many seconds; in the main thread."""

    def late(*_: Any) -> None:
        raise TimeoutError(f'not compiled within {seconds:.0f} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reason_not(provider: Provider, case: Case, size: str) -> str | None:
    """Why a provider is not asked, or None."""
    if reason := provider.missing():
        return reason
    if provider.compiled and not registry.compiles(case, size):
        return 'torch.compile has its turn with --full' if size == registry.DEFAULT else 'no torch.compile with --quick'
    if provider.name == registry.REFERENCE and case.steps > REFERENCE_STEPS:
        return f'the reference is there to be right: it is timed up to {REFERENCE_STEPS:,} element-steps'
    if (demand := provider.demand(case)) > SHARE * (free := free_bytes()) and provider.name != registry.NATIVE:
        return f'would need about {demand / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free'
    return None


def _first(call: Call, provider: Provider, budget: Budget) -> tuple[tuple[Tensor, ...], float]:
    """What the first call gives, and its seconds."""
    start = perf_counter()
    if provider.compiled:
        with within(budget.compile_s):
            found = call()
    else:
        found = call()
    return found, perf_counter() - start


def _again(call: Call, first: float, budget: Budget) -> float:
    """Seconds of a call: of the second one, if the first was slow, which may have imported or compiled."""
    if first <= budget.call_s:
        return first
    start = perf_counter()
    call()
    return perf_counter() - start


def _contestants(
    result: Result, providers: Sequence[Provider], size: str, budget: Budget, tell: Tell
) -> dict[str, Call]:
    """The gate: calls of those whose results are right. Notes the others and their reasons."""
    case = result.case
    op, calls = OPS[case.op], {}
    if (demand := GATE * case.steps * 4) > (free := free_bytes()):
        result.skipped['everybody'] = f'the gate would need {demand / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free'
        return {}
    x, grad = op.inputs(case)
    expected = expected_of(op, case, x, grad)
    for provider in providers:
        if reason := reason_not(provider, case, size):
            result.skipped[provider.name] = reason
            continue
        tell(f'{"compiling" if provider.compiled else "checking"} {provider.name}')
        try:
            call = call_of(provider.build(case.dtype), case, x, grad)
            found, first = _first(call, provider, budget)
        except Exception as error:
            _note(result, provider, error)
            continue
        result.first_call_s[provider.name] = first
        wrong = op.gate(found, expected) if op.gate else check(found, expected, provider.flips)
        if wrong is not None:
            result.failed[provider.name] = wrong
        elif provider.name != registry.NATIVE and (again := _again(call, first, budget)) > budget.call_s:
            result.skipped[provider.name] = f'one call takes {again:.1f} s, a case has {budget.call_s:g} s for it'
        else:
            calls[provider.name] = call
    return calls


def measure(
    case: Case, providers: Sequence[Provider] | None = None, size: str = registry.QUICK, rounds: int = 0,
    threads: int = 0, tell: Tell = lambda what: None,
) -> Result:  # fmt: skip
    """Gate, then time all providers and the copy in interleaved rounds, then memory.

    providers: those of the op. rounds: 0 as many as the budget of `size` has. threads: of the run, 0: torch's.
    """
    kept, start = torch.get_num_threads(), perf_counter()
    result, budget = Result(case, threads or kept), BUDGETS[size]
    if case.threads:
        torch.set_num_threads(case.threads)
    try:
        chosen = registry.providers(case) if providers is None else providers
        if case.group == NETWORKS:
            contestants = _network(result, chosen, tell)
        else:
            contestants = _contestants(result, chosen, size, budget, tell)
        everyone = contestants | ({COPY: copy_call(case)} if case.traffic and contestants else {})
        tell('timing')
        result.timings = interleave(everyone, rounds or rounds_of(everyone, budget)) if everyone else {}
        del everyone
        result.peaks = {name: peak_bytes(call) for name, call in contestants.items()}
    finally:
        torch.set_num_threads(kept)
        torch._dynamo.reset()
    result.took_s = perf_counter() - start
    return result


def _network(result: Result, providers: Sequence[Provider], tell: Tell) -> dict[str, Call]:
    """Calls of those who passed the gate, which is in `make`; notes the others and their reasons."""
    calls: dict[str, Call] = {}
    for provider in providers:
        if reason := provider.missing():
            result.skipped[provider.name] = reason
            continue
        tell(f'checking {provider.name}')
        try:
            calls[provider.name] = provider.make()
        except networks.WrongError as error:
            result.failed[provider.name] = str(error)
        except networks.UnknownError as error:
            result.skipped[provider.name] = str(error)
        except Exception as error:
            _note(result, provider, error)
    return calls


def _note(result: Result, provider: Provider, error: Exception) -> None:
    """An exception of ours is an error, one of a rival a reason."""
    where = result.failed if provider.ours else result.skipped
    where[provider.name] = f'fails: {said(error)}'
    if provider.ours:
        traceback.print_exc()


def said(error: Exception) -> str:
    """An exception in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def rounds_of(contestants: dict[str, Call], budget: Budget) -> int:
    """As many rounds as fit into the budget. A call takes 4 ms at least: see `timing.interleave`."""
    each = 0.0
    for call in contestants.values():
        start = perf_counter()
        call()
        each += 2 * max(perf_counter() - start, 4e-3)
    return max(budget.least, min(budget.most, int(budget.seconds / each)))
