"""The Poisson encoder for Triton (encode_kernel.py): how it is launched."""

from torch import Tensor

from snnkern.backends import layout
from snnkern.backends.triton.device import ACCESS, on_device, options, threads

MOST = 1024  # blocks that share out the steps of few elements


def poisson(x: Tensor, T: int, seed: int, first: int) -> Tensor:
    """Spikes [T, ...] with probability x, elements numbered from `first` (see encode.poisson)."""
    s = layout.new_like(x.unsqueeze(0), T)
    if s.numel():
        from snnkern.backends.triton.encode_kernel import draw

        n, (channels, inner) = x.numel(), layout.order(x)
        vector = next(v for v in (ACCESS // x.element_size(), 1) if n % v == 0)
        block = threads() * vector
        across = -(-n // block)
        grid = across, min(-(-T // 4), max(1, MOST // across))
        kind = {'ORDERED': channels == 1, 'VECTOR': vector, 'BLOCK': block, **options()}
        with on_device(x):
            draw[grid](x, s, n // vector, T, seed, first, channels, inner, **kind)
    return s
