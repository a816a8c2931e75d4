"""How things are measured: interleaved rounds, medians with their spread, peak memory.

Every round runs each contestant once, in an order that rotates, so that a slow moment of the machine hits all of them
alike. A sample is as many calls as fill 4 ms, at most 100; where there are several, after one that does not count: the
others' data has left the caches by then. Outputs are fresh in every call, as their users get them, and gone before the
next one.
"""

import ctypes
import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor

from benchmarks.subjects import BOTH, Case, Run

Call = Callable[[], Any]
SAMPLE_S = 4e-3


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all rounds. low, high: the quartiles; cpu: of all threads together (median).

    Where other programs run, a median of wall time counts their time slices, too; `cpu` and `least` hardly do.
    """

    median: float
    low: float
    high: float
    least: float
    cpu: float
    rounds: int

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


Sample = tuple[float, float]


def summary(samples: list[Sample]) -> Timing:
    """The statistics of one contestant's samples."""
    wall, cpu = zip(*samples, strict=True)
    low, _, high = quantiles(wall, n=4, method='inclusive') if len(wall) > 1 else wall * 3
    return Timing(median(wall), low, high, min(wall), median(cpu), len(wall))


def call_of(run: Run, case: Case, x: Tensor, grad: Tensor) -> Call:
    """One call of the case: forward without a graph, or forward and backward. Returns what it computed."""

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (run(x),)

    def both() -> tuple[Tensor, ...]:
        s = run(x)
        return s.detach(), *torch.autograd.grad(s, x, grad)

    return both if case.direction == BOTH else forward


def copy_call(case: Case) -> Call:
    """A copy that reads and writes together as many bytes as the case must move, in memory touched before."""
    source = torch.ones(case.traffic // 2, dtype=torch.uint8)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)


def sample(call: Call, calls: int) -> Sample:
    """Seconds per call: wall time, and time of the processors."""
    if calls > 1:
        call()
    start, cpu = perf_counter(), process_time()
    for _ in range(calls):
        call()
    return (perf_counter() - start) / calls, (process_time() - cpu) / calls


def interleave(
    contestants: dict[str, Call], rounds: int, sample: Callable[[Call, int], Sample] = sample
) -> dict[str, Timing]:
    """Time all contestants in `rounds` rounds, after two calls of each that do not count. sample: the clock."""
    calls = {}
    for name, call in contestants.items():
        call()
        calls[name] = max(1, min(100, int(SAMPLE_S / sample(call, 1)[0])))
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    names = list(contestants)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            samples[name].append(sample(contestants[name], calls[name]))
    return {name: summary(s) for name, s in samples.items()}


def _status(field: str) -> int:
    """Bytes that /proc/self/status says for this field."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


def _release() -> None:
    """Give back idle memory, so that using it again counts: glibc's free pages and snnkern's kept blocks."""
    gc.collect()
    try:
        from snnkern import _cpu

        limit = _cpu.keep_limit()
        _cpu.set_keep_limit(0)
        _cpu.set_keep_limit(limit)
    except ImportError:
        pass
    ctypes.CDLL(None).malloc_trim(0)


def peak_bytes(call: Call) -> int | None:
    """The most physical memory that one call needs beyond its inputs; None where Linux does not tell.

    Linux keeps the peak of the resident set (VmHWM) and forgets it on request (clear_refs), so the number holds
    for every allocator. Outputs count.
    """
    try:
        _release()
        Path('/proc/self/clear_refs').write_text('5')
        before = _status('VmRSS')
        call()
        return max(0, _status('VmHWM') - before)
    except (OSError, AttributeError):
        return None
