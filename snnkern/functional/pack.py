"""Spikes as bits: 32 times smaller than float32, exactly."""

import torch
from torch import Tensor

from snnkern import _arguments as arguments
from snnkern._checks import positive
from snnkern.backends.reference.pack import KINDS
from snnkern.ops import pack as _pack
from snnkern.ops.pack import PackedSpikes

__all__ = ['PackedSpikes', 'pack_spikes', 'unpack_spikes']


def pack_spikes(
    x: Tensor, scale: float = 1.0, kind: str | None = None, check: bool = True, backend: str | None = None
) -> PackedSpikes:
    """Spikes as one bit each, or one byte where they count; `unpack_spikes` gives back x to the bit.

    x: any shape, every value `count * scale`, computed in float32 (float64 for float64) and rounded to the dtype of x,
    as neurons emit it. -0.0 and NaN are no spikes. scale: what one spike is worth, > 0 (the threshold of a neuron with
    real units). kind: "bits" (counts 0 and 1, the least significant bit first), "counts" (0..255), "signed"
    (-128..127), None: the smallest that holds x. check: False skips the search for values that are none of these,
    which are lost then; on GPUs the search waits for the device. kind=None always searches, and cannot run under
    torch.compile. backend: "native", "triton" or "reference" for this call; None: see `snnkern.explain()`.

    Returns a `PackedSpikes`, without gradients: data in the order of x's memory (of a contiguous copy, where x does
    not fill a block), kind, scale, shape, strides, dtype, nbytes and unpack(). x stays as it is.

    Raises ValueError that names the first value that is no spike and its place, or a bad scale or kind, and TypeError
    for a dtype that is not floating. Example: `pack_spikes(lif(x)).nbytes`.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f'x must be a tensor, got {type(x).__name__}')
    if x.dtype not in arguments.FLOATS:
        raise TypeError(f'x must be float32, float16, bfloat16 or float64, got {x.dtype}')
    if x.layout is not torch.strided:
        raise TypeError(f'x must be a dense tensor, got {x.layout}')
    scale = arguments.constant(scale)
    positive('scale', scale)
    if kind is not None and kind not in KINDS:
        raise ValueError(f'kind must be one of {", ".join(KINDS)} or None, got {kind!r}')
    if kind is None and (not check or torch.compiler.is_compiling()):
        reason = 'under torch.compile' if check else 'where check is False'
        raise ValueError(f'kind must be one of {", ".join(KINDS)} {reason}, got None')
    return _pack.pack(x, kind, float(scale), check, arguments.backend(backend))


def unpack_spikes(packed: PackedSpikes, backend: str | None = None) -> Tensor:
    """The tensor that `pack_spikes` packed: same values to the bit, shape, dtype and (if dense) strides; no gradient.

    Raises TypeError for what is no `PackedSpikes`. Example: `unpack_spikes(pack_spikes(s)).equal(s)`.
    """
    if not isinstance(packed, PackedSpikes):
        raise TypeError(f'packed must be a PackedSpikes, got {type(packed).__name__}')
    return _pack.unpack(packed, arguments.backend(backend))
