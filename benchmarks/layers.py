"""Ops beside the neurons: BatchNorm with neurons, pools of spikes, Poisson spikes. Cases are [T, N], seen as images."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import snnkern
from benchmarks import batchnorm, encoders, pools
from benchmarks.lif import EAGER, LOOP, SJ, SLOW, restarted
from benchmarks.subjects import BOTH, NATIVE, OPS, REFERENCE, Case, Op, Provider, Run
from snnkern import encode, functional

B, SIDE = 16, 16  # images, and pixels a side
FLIPS = 1e-3  # BatchNorm adds in another order
BANDS = 8  # of the rates of Poisson spikes


def _images(x: Tensor) -> Tensor:
    return x.view(x.shape[0], B, -1, SIDE, SIDE)


def _norm_inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Currents with a normal distribution, as a convolution gives."""
    x, grad = (torch.randn(case.T, case.N, generator=torch.Generator().manual_seed(i)).to(case.dtype) for i in (1, 2))
    return x.requires_grad_(case.direction == BOTH), grad


def _made(make: Callable[[int], Run]) -> Run:
    """A function whose modules are made for the channels that it sees first."""
    found: list[Run] = []

    def run(x: Tensor) -> Tensor:
        seen = _images(x)
        if not found:
            found.append(make(seen.shape[2]))
        return found[0](seen).flatten(1)

    return run


def _norm_neuron(backend: str) -> Run:
    def make(C: int) -> Run:
        return restarted(snnkern.nn.BatchNormNeuron(C, snnkern.Neuron(snnkern.LIF(2.0)), backend=backend))

    return _made(make)


def _in_two() -> Run:
    def make(C: int) -> Run:
        norm = nn.BatchNorm2d(C)
        return lambda x: functional.lif(norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]))

    return _made(make)


def _norm_spikingjelly() -> Run:
    def make(C: int) -> Run:
        norm, node = batchnorm.spikingjelly(C)
        neurons = restarted(node)
        return lambda x: neurons(norm(x))

    return _made(make)


def _spikes(case: Case) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    x = (torch.rand(case.T, case.N, generator=g) < 0.3).to(case.dtype)
    grad = torch.randn(case.T, case.N // 4, generator=g).to(case.dtype)
    return x.requires_grad_(case.direction == BOTH), grad


def _pooled(pool: pools.Pool, *window: int) -> Run:
    return lambda x: pool(_images(x), *window).flatten(1)


def _pixels(N: int) -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(4))


def _rates(case: Case) -> tuple[Tensor, Tensor]:
    """Pixels, the same in each step, and no gradient."""
    return _pixels(case.N).to(case.dtype).expand(case.T, case.N), torch.empty(0)


def _poisson(name: str) -> Run:
    encoder = encoders.encoders()[name]  # random numbers of half precision would be rounded, and rates with them
    return lambda x: encoder(x[0].float(), len(x)).to(x.dtype)


def _fair(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> str | None:
    """Spikes are random: in bands of rates as many as there should be, and as many in two steps on end.

    Within seven standard deviations; those of neighbouring pairs, which share a step, are at most sqrt(3) times those
    of independent ones.
    """
    s, (T, N) = found[0], expected[0].shape
    if s.shape != (T, N) or not ((s == 0) | (s == 1)).all():
        return 'no spikes of the shape [T, N]'
    rates, s = _pixels(N).to(s.dtype).double(), s.double()
    bands = (rates * BANDS).long().clamp(max=BANDS - 1)
    add = lambda each: torch.zeros(BANDS, dtype=torch.float64).index_add(0, bands, each)  # noqa: E731
    counts = {'spikes': (s, rates, 1), 'spikes in two steps on end': (s[1:] * s[:-1], rates**2, 3)}
    for what, (count, p, factor) in counts.items():
        off = add(count.sum(0) - len(count) * p)
        allowed = 7 * add(factor * len(count) * p * (1 - p)).sqrt()
        if (off.abs() > allowed).any():
            i = int((off.abs() / allowed).argmax())
            return f'{off[i]:+.0f} {what} at rates from {i / BANDS:g} on, allowed {allowed[i]:.0f}'
    return None


LAYERS = (
    Op(
        'batchnorm+lif',
        OPS,
        (
            Provider(NATIVE, partial(_norm_neuron, 'native'), ours=True, flips=FLIPS),
            Provider(REFERENCE, partial(_norm_neuron, 'reference'), ours=True, saves=SLOW),
            Provider('BatchNorm2d + lif', _in_two, ours=True, flips=FLIPS, widens=True),
            Provider(SJ, _norm_spikingjelly, ('spikingjelly',), flips=FLIPS, widens=True, saves=EAGER),
        ),
        _norm_inputs,
        columnwise=False,
        moves=(3.0, 9.0),
    ),
    Op(
        'lateral_pool2d',
        OPS,
        (
            Provider(NATIVE, lambda: _pooled(partial(functional.lateral_pool2d, backend='native'), 2, 2, 0), ours=True),
            Provider(
                REFERENCE,
                lambda: _pooled(partial(functional.lateral_pool2d, backend='reference'), 2, 2, 0),
                ours=True,
                saves=SLOW,
            ),
            Provider(LOOP, lambda: _pooled(pools.loop, 2, 2, 0), widens=True, saves=EAGER),
        ),
        _spikes,
        columnwise=False,
        moves=(1.25, 3.5),
        holds=(1.25, 2.5),
    ),
    Op(
        'poisson',
        OPS,
        (
            Provider(NATIVE, lambda: lambda x: encode.poisson(x[0], len(x), backend='native'), ours=True),
            Provider(REFERENCE, lambda: lambda x: encode.poisson(x[0], len(x), backend='reference'), ours=True),
            Provider('torch.bernoulli', partial(_poisson, 'torch.bernoulli')),
            Provider(SJ, partial(_poisson, 'SpikingJelly PoissonEncoder'), ('spikingjelly',)),
            Provider('snnTorch', partial(_poisson, 'snnTorch spikegen.rate'), ('snntorch',)),
        ),
        _rates,
        _fair,
        moves=(1.0, 1.0),
        holds=(1.0, 1.0),
    ),
)
