"""How calls are timed on a GPU: by its own clock, with the host ahead of it, over data that its cache does not hold.

A sample first lets the GPU wait (`torch.cuda._sleep`) while the host launches all calls, so that the events around them
hold the time of the kernels, and nothing of Python. The time in which the host launched them stands beside it. On a CPU
the same functions use `timing.sample`, so that everything else can be tested there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.registry import ALPHA, TAU, THRESHOLD
from benchmarks.timing import Call, Sample, Timing
from snnkern import ATan, functional
from snnkern.backends import checkpoint_count

INFERENCE, TRAINING, BACKWARD = DIRECTIONS = 'inference', 'training', 'backward'
AHEAD = 400_000  # cycles that the GPU waits for each call that the host launches: a fifth of a millisecond
CACHES = 8  # inputs are so many times larger than the second-level cache
LEAST, MOST = 1 << 28, 1 << 30  # bytes of an input on a GPU
ON_CPU = 1 << 22
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One direction of LIF on [T, N]. INFERENCE: no graph; TRAINING: forward with one; BACKWARD: alone."""

    direction: str
    T: int
    N: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f'{self.direction} T={self.T} N={self.N} {str(self.dtype)[6:]}'

    @property
    def traffic(self) -> int:
        """Bytes that must move (README, Bytes): x and spikes; backward x and both gradients; checkpoints."""
        kept = 4 * checkpoint_count(self.T, self.dtype) if self.direction != INFERENCE else 0
        rows = 3 if self.direction == BACKWARD else 2
        return self.N * (rows * self.dtype.itemsize * self.T + kept)

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """x in multiples of 0.1, and the upstream gradient (of one element where none is taken)."""
        g = torch.Generator(device).manual_seed(42)
        shape = (self.T, self.N)
        x = torch.randint(-5, 17, shape, generator=g, device=device, dtype=torch.int8).to(self.dtype).div_(10)
        upstream = torch.randn(shape if self.direction == BACKWARD else 1, generator=g, device=device).to(self.dtype)
        return x.requires_grad_(self.direction != INFERENCE), upstream


def ours(backend: str) -> Run:
    """LIF by one of our backends."""
    return lambda x: functional.lif(x, TAU, THRESHOLD, surrogate=ATan(ALPHA), backend=backend)


def neurons(T: int, dtype: torch.dtype, device: torch.device, small: bool) -> int:
    """N for which an input lies beyond all caches; small: for trying things out."""
    if device.type == 'cuda':
        cache = torch.cuda.get_device_properties(device).L2_cache_size
        size = min(MOST, max(LEAST, CACHES * cache)) // (4 if small else 1)
    else:
        size = ON_CPU // (16 if small else 1)
    return size // (T * dtype.itemsize) // 1024 * 1024


def call_of(run: Run, case: Case, x: Tensor, upstream: Tensor) -> Call:
    """One call of the case. That of BACKWARD keeps its graph, as it would be after forward."""
    if case.direction == INFERENCE:

        def infer() -> Tensor:
            with torch.no_grad():
                return run(x)

        return infer
    if case.direction == TRAINING:
        return lambda: run(x)
    s = run(x)
    return lambda: torch.autograd.grad(s, x, upstream, retain_graph=True)


def copy_of(nbytes: int, device: torch.device) -> Call:
    """A copy on the device that reads and writes together so many bytes: the yardstick."""
    source = torch.ones(nbytes // 2, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)


def gpu_sample(call: Call, calls: int) -> Sample:
    """Seconds per call: of the GPU, and of the host to launch it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(AHEAD * calls)
    start.record()
    began = perf_counter()
    for _ in range(calls):
        call()
    host = perf_counter() - began
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3 / calls, host / calls


def clock(device: torch.device) -> Callable[[Call, int], Sample]:
    """What takes a sample on a device."""
    return gpu_sample if device.type == 'cuda' else timing.sample


def interleave(contestants: dict[str, Call], rounds: int, device: torch.device) -> dict[str, Timing]:
    """`timing.interleave` by the clock of the device; `Timing.cpu` is the host's part there."""
    return timing.interleave(contestants, rounds, clock(device))


def eager_and_replayed(call: Callable[[], Any], rounds: int, device: torch.device) -> dict[str, Timing]:
    """A call launched from Python, and as a CUDA graph."""
    from snnkern.selftest.device import captured

    _, replay = captured(lambda x: call(), torch.empty(0, device=device))
    return interleave({'eager': call, 'graph': replay}, rounds, device)


def at_once(calls: list[Call], device: torch.device) -> Call:
    """All calls, each on a stream of its own, between two points of the current stream."""
    streams = [torch.cuda.Stream(device) for _ in calls]

    def run() -> None:
        current = torch.cuda.current_stream(device)
        for stream, call in zip(streams, calls, strict=True):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                call()
        for stream in streams:
            current.wait_stream(stream)

    return run
