"""What the public functions take, checked and in the form of the ops: one clear error for what does not fit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnkern import backends
from snnkern._checks import finite, whole
from snnkern.neurons import CONNECTS, Neuron

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def steps(x: Tensor, T: int | None) -> tuple[Tensor, int]:
    """x as [T, ...] or [1, ...], and T. Raises for what is no input."""
    if not isinstance(x, Tensor):
        raise TypeError(f'x must be a tensor, got {type(x).__name__}')
    if x.dtype not in FLOATS:
        raise TypeError(f'x must be float32, float16, bfloat16 or float64, got {x.dtype}')
    if x.layout is not torch.strided:
        raise TypeError(f'x must be a dense tensor, got {x.layout}')
    if T is not None:
        whole('T', T)
        return x.unsqueeze(0), T
    if x.dim() == 0 or x.shape[0] == 0:
        raise ValueError(f'x must be [T, ...] with T >= 1, got shape {tuple(x.shape)}')
    return x, x.shape[0]


def repeated(x: Tensor) -> bool:
    """Whether x [T, ...] is one step in memory, as `step.expand(T, ...)` makes it."""
    return x.shape[0] > 1 and x.stride(0) == 0 and x.numel() > 0


def state(v0: Tensor | float | None, x: Tensor, neuron: Neuron) -> Tensor | None:
    """v0 as states [S, ...], or None. Raises if it does not fit x [T, ...]."""
    if v0 is None:
        return None
    count = len(neuron.states)
    if not isinstance(v0, Tensor):
        finite('v0', v0)
        v = torch.full_like(x[:1], v0, dtype=torch.promote_types(x.dtype, torch.float32))
        return _with_rest(v, count)
    if not v0.dtype.is_floating_point:
        raise TypeError(f'v0 must be a floating-point tensor, got {v0.dtype}')
    if v0.device != x.device:
        raise ValueError(f'v0 must be on the device of x, got {v0.device} and {x.device}')
    if v0.shape == x.shape[1:]:
        return _with_rest(v0.unsqueeze(0), count)
    if count > 1 and v0.shape == (count, *x.shape[1:]):
        return v0
    states = f', or of all states {neuron.states}, {(count, *x.shape[1:])}' if count > 1 else ''
    raise ValueError(f'v0 must have the shape of one step, {tuple(x.shape[1:])}{states}, got {tuple(v0.shape)}')


def _with_rest(v: Tensor, count: int) -> Tensor:
    """v [1, ...] and the other states at 0."""
    return v if count == 1 else torch.cat([v, torch.zeros_like(v).expand(count - 1, *v.shape[1:])])


def coefficients(
    given: Mapping[str, Tensor] | None, x: Tensor, neuron: Neuron, T: int, dim: int
) -> tuple[Tensor | None, str]:
    """The tensors as one [P, 1|T, 1|C], or None, and what the spec says of them. Raises if one does not fit."""
    if given is None:
        return None, ''
    if not isinstance(given, Mapping):
        raise TypeError(f'coefficients must be a mapping from name to tensor, got {type(given).__name__}')
    if not given:
        return None, ''
    whole('channel_dim', dim, at_least=-(2**31))
    dim = dim + x.dim() if dim < 0 else dim
    channels = x.shape[dim] if 1 <= dim < x.dim() else None
    for name, value in given.items():
        if name not in neuron.coefficients:
            known = ', '.join(neuron.coefficients)
            raise ValueError(f'coefficients must be among {known} for this neuron, got {name!r}')
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f'coefficient {name} must be a floating-point tensor, got {kind}')
        if value.layout is not torch.strided:
            raise TypeError(f'coefficient {name} must be a dense tensor, got {value.layout}')
        if value.device != x.device:
            raise ValueError(f'coefficient {name} must be on the device of x, got {value.device} and {x.device}')
        count = value.shape[0] if value.dim() == 2 else 1
        if count > 1 and neuron.reset.delayed and name in ('v_threshold', 'alpha'):
            raise ValueError(
                f'coefficient {name} must not vary in time under a Delayed reset, got {tuple(value.shape)}'
            )
        if value.dim() > 2 or count not in (1, T) or (value.dim() and value.shape[-1] not in (1, channels)):
            wanted = f'a number, [C] or [T, C] with T = {T} and C = {channels} (dimension {dim} of x)'
            raise ValueError(f'coefficient {name} must be {wanted}, got shape {tuple(value.shape)}')
    dtype = torch.promote_types(x.dtype, torch.float32)
    rows = [value.to(dtype)[(None,) * (2 - value.dim())] for value in given.values()]  # [1|T, 1|C]
    stacked = torch.stack(torch.broadcast_tensors(*rows)) if len(rows) > 1 else rows[0].unsqueeze(0)
    return stacked, f' @{dim} {" ".join(given)}'


def residual(given: Tensor | None, x: Tensor, T: int, connect: str, want_sum: bool) -> tuple[Tensor | None, str]:
    """The second input, and what the spec says of it. Raises if it does not fit x [T, ...]."""
    if connect not in CONNECTS[1:]:
        raise ValueError(f'connect must be one of {", ".join(CONNECTS[1:])}, got {connect!r}')
    if want_sum and (given is None or connect != 'ms'):
        raise ValueError('return_sum must be False unless there is a residual and connect is "ms"')
    if given is None:
        return None, ''
    if not isinstance(given, Tensor):
        raise TypeError(f'residual must be a tensor, got {type(given).__name__}')
    if (given.shape, given.dtype, given.device) != ((T, *x.shape[1:]), x.dtype, x.device):
        got, wanted = ((tuple(t.shape), t.dtype, str(t.device)) for t in (given, x))
        raise ValueError(f'residual must have shape, dtype and device of x, {wanted}, got {got}')
    if x.shape[0] != T:
        raise ValueError('residual must not be given together with T: it differs from step to step')
    if given.layout is not torch.strided:
        raise TypeError(f'residual must be a dense tensor, got {given.layout}')
    return given, f' +{connect}'


def constant(value: Any) -> Any:
    """A float as it is now: torch.compile(dynamic=True) makes it a symbol, which no check or text can use."""
    return float(f'{value}') if torch.compiler.is_compiling() and isinstance(value, float) else value


def pair(name: str, value: int | tuple[int, int], at_least: int) -> tuple[int, int]:
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2:
        raise ValueError(f'{name} must be one integer or two, got {value!r}')
    for v in both:
        whole(name, v, at_least)
    return both


def backend(wanted: str | None) -> str:
    """The name of the backend that must run, or "" for any."""
    if wanted is not None and not isinstance(wanted, str):
        raise TypeError(f'backend must be a name or None, got {wanted!r}')
    return wanted or backends.current() or ''
