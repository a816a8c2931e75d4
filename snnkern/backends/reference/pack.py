"""Packed spikes in plain torch."""

import torch
from torch import Tensor

KINDS = {'bits': (0, 1), 'counts': (0, 255), 'signed': (-128, 127)}  # and their counts


def _numbers(scale: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """scale and its inverse in the dtype that is computed in: float32, or float64 for float64."""
    number = torch.full((), scale, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
    return number, number.reciprocal()


def _bits(x: Tensor) -> Tensor:
    """Values as whole numbers, to the bit: 0.0 and -0.0 differ, a NaN equals itself."""
    return x.view({8: torch.int64, 4: torch.int32, 2: torch.int16}[x.element_size()])


def counts_of(x: Tensor, kind: str, scale: float) -> tuple[Tensor, Tensor]:
    """The nearest counts of x, and whether each is worth its x to the bit."""
    number, inverse = _numbers(scale, x)
    counts = (x.to(number.dtype) * inverse).nan_to_num(0.0).clamp(*KINDS[kind]).round() + 0.0  # not -0.0
    return counts, _bits((counts * number).to(x.dtype)) == _bits(x)


def pack_spikes(x: Tensor, kind: str, scale: float, check: bool) -> Tensor | None:
    """Counts of x [n] as bits or bytes (see functional.pack_spikes); None: x holds something else."""
    counts, exact = counts_of(x, kind, scale)
    if check and not exact.all():
        return None
    if kind != 'bits':
        return counts.to(torch.int8 if kind == 'signed' else torch.uint8)
    padded = torch.nn.functional.pad(counts.to(torch.uint8), (0, -x.numel() % 8)).view(-1, 8)
    return (padded << _places(x)).sum(1, dtype=torch.uint8)


def unpack_spikes(data: Tensor, kind: str, scale: float, n: int, dtype: torch.dtype) -> Tensor:
    """The n values that were packed."""
    number, _ = _numbers(scale, torch.empty(0, dtype=dtype, device=data.device))
    if kind == 'bits':
        data = (data.unsqueeze(1) >> _places(data) & 1).flatten()[:n]
    return (data * number).to(dtype)


def _places(x: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=x.device)
