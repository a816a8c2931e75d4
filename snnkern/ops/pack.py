"""Spikes as bits or bytes, and back: two ops without gradients, for what is kept rather than computed with."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from snnkern import backends
from snnkern.backends import layout
from snnkern.backends.reference.pack import KINDS, counts_of
from snnkern.ops._library import define, plain

OP = 'pack_spikes'


class PackedSpikes(NamedTuple):
    """Spikes as bits or bytes (`functional.pack_spikes`).

    data: [ceil(n / 8)] uint8 for kind "bits", [n] uint8 for "counts", [n] int8 for "signed", in the order of memory.
    scale: what one spike is worth. shape, strides, dtype: of the tensor that was packed.
    """

    data: Tensor
    kind: str
    scale: float
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of `data`."""
        return self.data.nbytes

    def unpack(self) -> Tensor:
        """The tensor that was packed, to the bit (`functional.unpack_spikes`)."""
        return unpack(self)


def one_block(x: Tensor) -> Tensor:
    """x itself if it fills one block of memory in any order, else a contiguous copy."""
    x = x.detach().resolve_neg()
    return x if x.numel() == 0 or layout.dense(x.shape, x.stride()) else x.contiguous()


def try_pack(x: Tensor, kind: str, scale: float, check: bool, backend: str = '') -> Tensor | None:
    """The data of a real tensor that is one block; None if it is checked and holds something else."""
    chosen = backends.select(OP, x.device, x.dtype, backend)
    return chosen.pack_spikes(x.as_strided((x.numel(),), (1,)), kind, scale, check)  # type: ignore[no-any-return]


def _pack(x: Tensor, kind: str, scale: float, check: bool, backend: str) -> Tensor:
    data = try_pack(one_block(x), kind, scale, check, backend)
    if data is None:
        raise ValueError(_refusal(x.detach(), kind, scale))
    return data


def _refusal(x: Tensor, kind: str, scale: float) -> str:
    """What of x is no spike, and where."""
    exact = counts_of(x.contiguous(), kind, scale)[1].flatten()
    at = int(exact.to(torch.uint8).argmin())
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), x.shape))
    least, most = KINDS[kind]
    wanted = f'0 or {scale}' if kind == 'bits' else f'whole multiples {least}..{most} of {scale}'
    return f'x must hold spikes ({wanted}), got {x[place].item()!r} at {place}'


def _pack_fake(x: Tensor, kind: str, scale: float, check: bool, backend: str) -> Tensor:
    n = x.numel()
    return x.new_empty((n + 7) // 8 if kind == 'bits' else n, dtype=torch.int8 if kind == 'signed' else torch.uint8)


def _unpack(
    data: Tensor,
    kind: str,
    scale: float,
    shape: Sequence[int],
    strides: Sequence[int],
    dtype: torch.dtype,
    backend: str,
) -> Tensor:
    n, wanted = prod(shape), torch.int8 if kind == 'signed' else torch.uint8
    size = (n + 7) // 8 if kind == 'bits' else n
    if data.dtype != wanted or data.numel() != size:
        got = f'{data.numel()} of {data.dtype}'
        raise ValueError(f'data of {kind} of shape {tuple(shape)} must hold {size} of {wanted}, got {got}')
    data = data.contiguous()
    chosen = backends.select(OP, data.device, dtype, backend)
    x: Tensor = chosen.unpack_spikes(data, kind, scale, n, dtype)
    return x.as_strided_(tuple(shape), tuple(strides))


def _unpack_fake(
    data: Tensor,
    kind: str,
    scale: float,
    shape: Sequence[int],
    strides: Sequence[int],
    dtype: torch.dtype,
    backend: str,
) -> Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device=data.device)


_pack_op = define(OP, '(Tensor x, str kind, float scale, bool check, str backend) -> Tensor', _pack, _pack_fake)
_unpack_op = define(
    'unpack_spikes',
    '(Tensor data, str kind, float scale, SymInt[] shape, SymInt[] strides, ScalarType dtype, str backend) -> Tensor',
    _unpack,
    _unpack_fake,
)


def smallest(x: Tensor, scale: float, backend: str = '') -> tuple[Tensor, str] | None:
    """The data and the smallest kind that holds x, a real tensor that is one block, or None."""
    for kind in KINDS:
        data = try_pack(x, kind, scale, True, backend)
        if data is not None:
            return data, kind
    return None


def pack(x: Tensor, kind: str | None, scale: float, check: bool, backend: str) -> PackedSpikes:
    """Packed spikes; checked arguments only. Raises ValueError for what is no spike."""
    x = one_block(x)
    if kind is None:
        found = smallest(x, scale, backend)
        if found is None:
            raise ValueError(_refusal(x, 'counts' if float(x.max()) / scale > 127 else 'signed', scale))
        data, kind = found
    else:
        data = (_pack if plain(x) else _pack_op)(x, kind, scale, check, backend)
    return PackedSpikes(data, kind, scale, tuple(x.shape), tuple(x.stride()), x.dtype)


def unpack(packed: PackedSpikes, backend: str = '') -> Tensor:
    """The tensor that was packed."""
    run = _unpack if plain(packed.data) else _unpack_op
    return run(*packed, backend)  # type: ignore[no-any-return]
