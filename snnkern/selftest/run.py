"""Run the suite on a device, backend by backend, and say what came out."""

import platform
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

import torch

import snnkern
from snnkern import backends
from snnkern.selftest import ahead, common, suite
from snnkern.selftest.compare import Results, compare

CPU = torch.device('cpu')
OnProgress = Callable[[str, float], None]
DTYPES = tuple(str(dtype).removeprefix('torch.') for dtype in common.DTYPES)
DEAD = 'the device no longer answers: nothing after this was run'


@dataclass(frozen=True)
class Settings:
    """What a run is asked for. device: "cpu", "cuda", "cuda:1"; backends: their names, () for all that run there;
    quick: a part of the cases. Raises ValueError for a device that is not there and a backend that does not run on it.
    """

    device: str = 'cpu'
    backends: tuple[str, ...] = ()
    quick: bool = False

    def __post_init__(self) -> None:
        device = place(self.device)
        for name in self.backends:
            if reason := backends.module(name).refusal('multistep', device, torch.float32):
                raise ValueError(f'backend {name!r} cannot run on {self.device}: {reason}')
        if device.type == 'cpu' and 'reference' in self.backends:
            raise ValueError("backend 'reference' on cpu is what the others are compared with")
        if not self.chosen():
            raise ValueError(f'device {self.device} must have a backend beside the reference, see `snnkern explain`')

    def chosen(self) -> tuple[str, ...]:
        """The backends to test. On a CPU the reference is what all are compared with; on a GPU it runs on it, too."""
        if self.backends:
            return self.backends
        device = place(self.device)
        names = [name for name in backends.ORDER if name != 'reference' or device.type != 'cpu']
        return tuple(n for n in names if backends.module(n).refusal('multistep', device, torch.float32) is None)


def place(name: str) -> torch.device:
    """The device of a name, with its index. Raises ValueError for an unknown or an absent one."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ('cpu', 'cuda'):
        raise ValueError(f'device must be cpu, cuda or cuda:N, got {name!r}')
    if device.type == 'cpu':
        return CPU
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ValueError(f'device {name}: torch {torch.__version__} sees no CUDA device')
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        there = 'is 1 CUDA device' if count == 1 else f'are {count} CUDA devices'
        raise ValueError(f'device {name}: there {there}, the last is cuda:{count - 1}')
    return torch.device('cuda', index)


@dataclass
class Row:
    """A line of the table: an op on a backend in a dtype. worst: deviation, relative to the largest value."""

    op: str
    backend: str
    dtype: str
    cases: int = 0
    passed: int = 0
    worst: float = 0.0
    seconds: float = 0.0


@dataclass
class Outcome:
    """What a run has found so far. skipped: (op, backend) -> why; expected: results of the
    reference, which several backends are compared with; dead: the device broke."""

    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)
    expected: dict[suite.Comparison, Results] = field(default_factory=dict)
    dead: bool = False


def check(case: suite.Comparison, backend: str, device: str | torch.device, expected: Results | None = None) -> float:
    """Compare a case on a backend and device with the reference on the CPU; returns the worst deviation.

    The line of a failure in the report calls it. Raises AssertionError that says what differs.
    Example: `check(Recurrence(Case(Neuron(), T=4, N=33)), 'native', 'cuda')`.
    """
    device = place(str(device))
    poison(device)
    found = case.results(backend, device)
    return compare(found, expected if expected is not None else case.results('reference', CPU))


def poison(device: torch.device) -> None:
    """Leave NaN in memory that the next tensors are likely to get: what no kernel writes shows."""
    if device.type == 'cuda':
        # Bytes of ones: NaN in every dtype, and 255.
        blocks = [
            torch.full((size,), 255, dtype=torch.uint8, device=device) for size in (1 << 10, 1 << 16, 1 << 19, 1 << 22)
        ]
        del blocks


def reproduce(case: suite.Comparison, backend: str, device: str) -> str:
    """A line of Python that runs one case again."""
    return f'from snnkern import *; from snnkern.selftest import *; check({case!r}, {backend!r}, {device!r})'


def run(settings: Settings, progress: OnProgress = lambda what, share: None) -> dict[str, Any]:
    """The whole suite, as a report that JSON can hold: passed, table, failures, what was not run, the machine."""
    start, outcome, device = perf_counter(), Outcome(), place(settings.device)
    names, about = settings.chosen(), machine(device)  # asked before anything can break the device
    if 'triton' in names and device.type == 'cuda':
        ahead.compile_all(device, settings.quick, progress)
    work = [(name, case) for name in names for case in _cases(name, settings.quick)]
    for i, (name, case) in enumerate(work):
        progress(f'{name}: {case.op}', i / len(work))
        _one(outcome, case, name, device)
        if outcome.dead:
            break
    ops = list(dict.fromkeys(row.op for row in outcome.rows.values()))
    rows = sorted(
        outcome.rows.values(), key=lambda row: (names.index(row.backend), ops.index(row.op), DTYPES.index(row.dtype))
    )
    return {
        'passed': not outcome.failures,
        'device': settings.device,
        'backends': list(names),
        'quick': settings.quick,
        'cases': sum(row.cases for row in rows),
        'table': [vars(row) for row in rows],
        'failures': outcome.failures,
        'not_run': [{'op': op, 'backend': name, 'why': why} for (op, name), why in outcome.skipped.items()],
        'machine': about,
        'seconds': round(perf_counter() - start, 2),
    }


def _cases(backend: str, quick: bool) -> list[suite.Comparison]:
    """Of the reference on a GPU a part: each of its steps is a dozen launches."""
    if backend == 'reference':
        return suite.cases(quick=True, compiles=True)[::2]
    return suite.cases(quick, backend == 'triton')


def _one(outcome: Outcome, case: suite.Comparison, backend: str, device: torch.device) -> None:
    """Run a case and keep what came out."""
    if reason := case.refusal(device) or backends.module(backend).refusal(case.needs, device, case.dtype):
        outcome.skipped[case.op, backend] = reason
        return
    dtype = str(case.dtype).removeprefix('torch.')
    row = outcome.rows.setdefault((case.op, backend, dtype), Row(case.op, backend, dtype))
    start = perf_counter()
    row.cases += 1
    try:
        if case not in outcome.expected:
            outcome.expected[case] = case.results('reference', CPU)
        row.worst = max(row.worst, check(case, backend, device, outcome.expected[case]))
        row.passed += 1
    except Exception as error:  # whatever a kernel does wrong is a finding, not the end of the test
        row.worst = max(row.worst, getattr(error, 'deviation', 0.0))
        outcome.failures.append(_failure(case, backend, device, error))
        outcome.dead = not alive(device)
        if outcome.dead:
            outcome.failures[-1]['error'] += f' ({DEAD})'
    row.seconds += perf_counter() - start


def _failure(case: suite.Comparison, backend: str, device: torch.device, error: Exception) -> dict[str, str]:
    wrong = str(error) if isinstance(error, AssertionError) else f'{type(error).__name__}: {error}'
    where = '' if isinstance(error, AssertionError) else traceback.format_exc(limit=-3)
    line = reproduce(case, backend, str(device))
    found = {'op': case.op, 'backend': backend, 'dtype': str(case.dtype).removeprefix('torch.'), 'error': wrong}
    return found | {'reproduce': line} | ({'traceback': where} if where else {})


def alive(device: torch.device) -> bool:
    """Whether a device still runs anything: an invalid access ends all work of a process on it."""
    if device.type != 'cuda':
        return True
    try:
        torch.cuda.synchronize(device)
        return bool(torch.ones(1, device=device).item() == 1)
    except RuntimeError:
        return False


def machine(device: torch.device) -> dict[str, Any]:
    """What ran the test: processor or GPU, driver, versions, `explain()`."""
    facts: dict[str, Any] = {
        'platform': platform.platform(),
        'python': platform.python_version(),
        'snnkern': snnkern.__version__,
        'torch': str(torch.__version__),
        'triton': _version('triton'),
        'threads': torch.get_num_threads(),
        'explain': str(snnkern.explain()).splitlines(),
    }
    if device.type == 'cuda':
        facts |= gpu(device)
    return facts


def gpu(device: torch.device) -> dict[str, Any]:
    """Name, compute capability, memory, driver and runtime of a GPU."""
    about = torch.cuda.get_device_properties(device)
    facts: dict[str, Any] = {
        'gpu': about.name,
        'compute capability': f'{about.major}.{about.minor}',
        'multiprocessors': about.multi_processor_count,
        'memory': f'{about.total_memory / 2**30:.1f} GiB',
        'devices': torch.cuda.device_count(),
        'cuda of torch': torch.version.cuda or f'HIP {torch.version.hip}',
    }
    return facts | {'driver': driver()}


def driver() -> str:
    """The version of NVIDIA's driver, as its own program tells it."""
    query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return 'unknown (no nvidia-smi)'
    return next(iter(told.split()), 'unknown')


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'
