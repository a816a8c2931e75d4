"""The calls whose kernels are looked at without a GPU, and what each launch of them does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch

from benchmarks import gpu_sass
from snnkern import IF, LIF, ATan, Hard, Neuron, Soft, encode, functional
from snnkern.backends import checkpoint_count, native, reference, triton

BACKENDS = {'native': native, 'triton': triton}
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
N, ODD = 4096, 4097
ROLLED = 0.9  # code with markers over code without: below it, loops were unrolled
NEURONS = {
    'LIF': Neuron(LIF(2.0), reset=Hard(), surrogate=ATan(2.0)),
    'LIF soft': Neuron(LIF(2.0), reset=Soft(), surrogate=ATan(2.0)),
    'IF': Neuron(IF(), reset=Hard(), surrogate=ATan(2.0)),
}


class Part(NamedTuple):
    """One direction of a call. steps: element-steps; least: the bytes that must move, or None where no formula says."""

    name: str
    steps: int
    least: float | None


@dataclass(frozen=True)
class Case:
    """A call. run(backend) yields each of its parts when the launches of that part are done."""

    name: str
    run: Callable[[str], Iterator[Part]]


def multistep(neuron: Neuron, dtype: torch.dtype, T: int, N: int, backend: str) -> Iterator[Part]:
    """v0 given and the last state wanted; bytes: x, spikes, both states, and in training the checkpoints."""
    module, e = BACKENDS[backend], dtype.itemsize
    g = torch.Generator().manual_seed(42)
    x = (torch.randint(-5, 17, (T, N), generator=g) / 10).to(dtype)
    v0 = torch.rand(1, N, generator=g)
    kept = 4 * checkpoint_count(T, dtype)
    given = x, v0, None, None, neuron.spec, T
    for name, save in (('training', True), ('inference', False)):
        module.multistep_fwd(*given, save, True, False, False)
        yield Part(name, T * N, N * (2 * e * T + 8 + save * kept))
    checkpoints = reference.multistep_fwd(*given, True, True, False, False)[4]
    grads = torch.randn(T, N, generator=g).to(dtype), torch.randn(1, N, generator=g)
    state = *grads, None, None, x, v0, None, checkpoints, None
    module.multistep_bwd(*state, neuron.spec, T, True, True, False)
    yield Part('backward', T * N, N * (3 * e * T + 12 + kept))


def _moments(dtype: torch.dtype, backend: str) -> Iterator[Part]:
    """x once, and per neuron the two sums that a second pass adds up by channel."""
    x = torch.randn(16, 2, 8, 16, 16).to(dtype)
    BACKENDS[backend].moments(x, 2)
    yield Part('', x.numel(), x.nbytes + 8 * x[0].numel())


def _pack(dtype: torch.dtype, kind: str, backend: str) -> Iterator[Part]:
    """x and its bits or bytes, both once."""
    module: ModuleType = BACKENDS[backend]
    x = torch.randint(0, 2, (16 * N,)).to(dtype)
    packed = module.pack_spikes(x, kind, 1.0, True)
    yield Part('pack', x.numel(), x.nbytes + packed.nbytes)
    module.unpack_spikes(packed, kind, 1.0, x.numel(), dtype)
    yield Part('unpack', x.numel(), x.nbytes + packed.nbytes)


def _poisson(dtype: torch.dtype, backend: str) -> Iterator[Part]:
    """x once, spikes once. A word of Philox serves four steps of an element: x is read for each four."""
    x, T = torch.rand(4, N // 4).to(dtype), 16
    encode.poisson(x, T, backend=backend)
    yield Part('', T * N, (T + 1) * x.nbytes)


def _pool(dtype: torch.dtype, window: tuple[int, ...], last: bool, backend: str) -> Iterator[Part]:
    """The lateral pool. 2x2: x, outputs and one step of counts, each once."""
    x = torch.randint(-1, 4, (8, 2, 8, 16, 16)).to(dtype)
    if last:
        x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
    x.requires_grad_()
    out = functional.lateral_pool2d(x, *window, backend=backend)
    least = x.nbytes + out.nbytes + 4 * x[0].numel()
    yield Part('forward', x.numel(), least if window == (2,) else None)
    torch.autograd.grad(out, x, torch.ones_like(out.detach()))
    yield Part('backward', x.numel(), least + x.nbytes if window == (2,) else None)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def cases() -> list[Case]:
    """All of them. LIF in half precision stands for both of its kinds but for one case."""
    found = []
    for kind, neuron in NEURONS.items():
        for dtype in (F32, F16):
            for T in (4, 16):
                found.append(Case(f'{kind} {_short(dtype)} T={T}', partial(multistep, neuron, dtype, T, N)))
    lif = NEURONS['LIF']
    found.append(Case('LIF bfloat16 T=16', partial(multistep, lif, BF16, 16, N)))
    found += [Case(f'LIF {_short(d)} T=16 N={ODD}', partial(multistep, lif, d, 16, ODD)) for d in (F32, F16)]
    for dtype in (F32, F16):
        found.append(Case(f'moments {_short(dtype)}', partial(_moments, dtype)))
        found += [Case(f'spikes as {kind} {_short(dtype)}', partial(_pack, dtype, kind)) for kind in ('bits', 'counts')]
        found.append(Case(f'poisson {_short(dtype)} T=16', partial(_poisson, dtype)))
        for window, last in (((2,), False), ((2,), True), ((3, 2, 1), True)):
            size = f'{window[0]}x{window[0]}'
            layout = 'channels-last' if last else 'contiguous'
            found.append(Case(f'lateral pool {size} {_short(dtype)} {layout}', partial(_pool, dtype, window, last)))
    return found


class Launch(NamedTuple):
    """One launch: the emulator's record, the PTX module, and the machine code where there is some."""

    run: Any
    ptx: str
    cubin: bytes | None = None


def facts(launches: list[Launch], part: Part, whole: bool = False) -> dict[str, Any]:
    """What the launches of a part do, per element-step where it is a sum. Everything but `sass`, `special` and the
    loads in flight is exact. whole: look, too, whether the assembler would unroll what the estimate has rolled."""
    moved = [launch.run.traffic() for launch in launches]
    bytes_moved = sum(m.load + m.store for m in moved)
    ran = [gpu_sass.executed(launch.ptx, launch.run) for launch in launches]
    threads = 32 / part.steps
    found = {
        'bytes': round(bytes_moved / part.steps, 4),
        'loaded': round(sum(m.load for m in moved) / part.steps, 4),
        'over_least': round(bytes_moved / part.least, 4) if part.least else None,
        'sectors': round(sum(m.sectors for m in moved) / max(1, sum(m.ideal for m in moved)), 3),
        'narrowest': min(m.min_width for m in moved),
        'ptx': round(sum(launch.run.warp_instructions for launch in launches) * threads, 2),
        'sass': round(sum(r.instructions for r in ran) * threads, 2),
        'special': round(sum(r.special for r in ran) * threads, 3),
        'in_flight': max(r.loads_in_flight for r in ran),
        'bytes_in_flight': max(r.bytes_in_flight for r in ran),
        'block': max(launch.run.block_size for launch in launches),
        'shared': max(launch.run.shared_bytes for launch in launches),
    }
    if len(launches) > 1:
        found['launches'] = len(launches)
    if whole and min(gpu_sass.distortion(launch.ptx, launch.run.kernel) for launch in launches) < ROLLED:
        found['rolled'] = True
    return found


def measure(case: Case, backend: str, taken: Callable[[], list[Launch]]) -> Iterator[tuple[str, list[Launch], Part]]:
    """Runs a case on a backend; name, launches and part of each part. taken: gives the launches since its last call."""
    taken()
    for part in case.run(backend):
        yield f'{backend} {case.name} {part.name}'.strip(), taken(), part
