"""Direct and rate coding."""

from torch import Tensor

from snnkern import _arguments as arguments
from snnkern._checks import whole
from snnkern.encode._inputs import intensity
from snnkern.ops import encode as op


def direct(x: Tensor, T: int) -> Tensor:
    """Direct coding: the same x [...] in every step, [T, ...]; values and dtype are free.

    A view that repeats x without a copy (stride 0 in time): do not write into it. Gradients of all steps add up in
    x. Raises TypeError or ValueError for bad arguments.
    Example: `encode.direct(images, T=4)`.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f'x must be a tensor, got {type(x).__name__}')
    whole('T', T)
    return x.unsqueeze(0).expand(T, *x.shape)


def poisson(
    x: Tensor, T: int, seed: int = 0, offset: int = 0, backend: str | None = None, check: bool = True
) -> Tensor:
    """Rate coding: a spike (1) with probability x in each step, independently, else 0.

    x: [B, ...] in [0, 1], compared as float32. T: steps. seed: 0 to 2^63 - 1. offset: index of the first sample of
    x in the whole batch, so that a part of it, on another device or in a later call, draws what it would draw in
    the whole. backend: see `functional.multistep`. check: look whether all values lie in [0, 1], which on a GPU
    waits for it; never under torch.compile. Unchecked, NaN never spikes and values above 1 always do.

    Returns [T, B, ...] in the dtype of x; the memory layout is x's where that is contiguous or channels-last, else
    contiguous. Spikes depend on nothing but x, seed, offset, the shape of a sample and the step: they are the same
    on every backend, for any number of threads, layout and T. No gradient flows.

    Element e (in contiguous order, over the whole batch) spikes in step t if u < x with u = (word >> 8) * 2^-24,
    word t % 4 of Philox 4x32-10 with the counter (e, e >> 32, t // 4, 0) and the key `seed`.
    Raises TypeError or ValueError for bad arguments, RuntimeError if a forced backend cannot.
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
    Example: `spikes = encode.poisson(images, T=16, seed=step)`.
    """
    intensity(x, T, check)
    if x.dim() == 0:
        raise ValueError('x must be [B, ...], got shape ()')
    whole('seed', seed, at_least=0)
    whole('offset', offset, at_least=0, at_most=2**63 // max(1, x[:1].numel()) - x.shape[0] - 1)
    return op.poisson(x, T, seed, offset, arguments.backend(backend))
