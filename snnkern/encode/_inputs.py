"""What encoders take, checked: one clear error for what does not fit."""

import torch
from torch import Tensor

from snnkern._arguments import FLOATS
from snnkern._checks import whole
from snnkern.ops._library import plain


def floating(name: str, x: Tensor) -> None:
    """Raise TypeError unless x is a tensor of real numbers."""
    if not isinstance(x, Tensor):
        raise TypeError(f'{name} must be a tensor, got {type(x).__name__}')
    if x.dtype not in FLOATS:
        whole_numbers = not (x.dtype.is_floating_point or x.dtype.is_complex)
        hint = ': divide by 255 (or by the largest value there can be) first' if whole_numbers else ''
        raise TypeError(f'{name} must be float32, float16, bfloat16 or float64, got {x.dtype}{hint}')


def within(x: Tensor, low: float, high: float, name: str = 'x') -> None:
    """Raise ValueError unless all values lie in [low, high]. Looks at the values, so a GPU must finish first."""
    if not (plain(x) and x.numel()):  # torch.compile and fakes have no values
        return
    least, most = (value.item() for value in x.detach().aminmax())
    if least != least:  # aminmax passes NaN on
        raise ValueError(f'{name} must lie in [{low:g}, {high:g}], got NaN')
    if least < low or most > high:
        raise ValueError(f'{name} must lie in [{low:g}, {high:g}], got values from {least:g} to {most:g}')


def intensity(x: Tensor, T: int, check: bool) -> Tensor:
    """x in at least float32, checked to be in [0, 1] if wanted, and T to be a number of steps."""
    floating('x', x)
    whole('T', T)
    if check:
        within(x, 0.0, 1.0)
    return wide(x)


def wide(x: Tensor) -> Tensor:
    """x in float32, or float64 as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def pictures(images: Tensor) -> tuple[int, int]:
    """Height and width of images [B, C, H, W]."""
    floating('images', images)
    if images.dim() != 4:
        raise ValueError(f'images must be [B, C, H, W], got shape {tuple(images.shape)}')
    return images.shape[2], images.shape[3]


def choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless value is one of the known ones."""
    if value not in known:
        raise ValueError(f'{name} must be one of {", ".join(known)}, got {value!r}')


def steps(T: int, x: Tensor) -> Tensor:
    """The numbers of the steps, [T, 1, ...] to go with x [...], in x's dtype."""
    return torch.arange(T, dtype=x.dtype, device=x.device).view(T, *[1] * x.dim())
