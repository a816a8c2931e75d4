"""BatchNorm fused with the neuron behind it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from snnkern import _arguments as arguments
from snnkern._checks import finite, positive, whole
from snnkern.charges import Affine
from snnkern.functional.neurons import results
from snnkern.neurons import SLOTS, Neuron
from snnkern.ops import multistep as _multistep
from snnkern.ops import norm as _norm
from snnkern.spikes import bind


@lru_cache(maxsize=1024)
def _folded(neuron: Neuron, a: float) -> Neuron:
    return Neuron(Affine(a, 1.0, 0.0), neuron.fire, neuron.reset, neuron.surrogate)


def _rows(
    neuron: Neuron, own: Mapping[str, Tensor], weight: Tensor, bias: Tensor, scale: Tensor | None
) -> tuple[Neuron, dict[str, Tensor]]:
    """The neuron with an `Affine` charge, and its coefficients [1|T, 1|C] without the statistics, b and c first."""
    numbers = {name: row for name, row in own.items() if SLOTS[name] < SLOTS['v_threshold']}
    a, b, c = bind(neuron.charge, numbers).line()
    gain, shift = b * weight, b * bias
    if scale is not None:
        gain, shift = gain * scale, shift * scale
    if isinstance(c, Tensor) or c != 0:
        shift = shift + c
    rows = {'b': gain, 'c': shift, **{name: row for name, row in own.items() if name not in numbers}}
    if isinstance(a, Tensor):
        rows['a'] = a
    fold = _folded.__wrapped__ if torch.compiler.is_compiling() else _folded  # torch.compile warns of caches
    return fold(neuron, 0.0 if isinstance(a, Tensor) else a), rows


def _row(name: str, given: Tensor | None, x: Tensor, size: int, fill: float, of: str = 'C') -> Tensor:
    """A parameter [C] or [T], or `fill` for all, in the dtype of states."""
    dtype = _multistep.state_dtype(x.dtype)
    if given is None:
        return torch.full((size,), fill, dtype=dtype, device=x.device)
    if not isinstance(given, Tensor) or given.shape != (size,) or not given.dtype.is_floating_point:
        got = f'{tuple(given.shape)} of {given.dtype}' if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(f'{name} must be a floating-point tensor [{of}] with {of} = {size}, got {got}')
    if given.device != x.device:
        raise ValueError(f'{name} must be on the device of x, got {given.device} and {x.device}')
    return given.to(dtype)


@torch.no_grad()
def _update(running: tuple[Tensor, Tensor], moments: Tensor, size: Any, momentum: float) -> None:
    """As torch.nn.BatchNorm: the variance that is kept is the unbiased one. An empty batch changes nothing."""
    if not isinstance(size, Tensor) and not size:
        return
    mean, variance = moments
    for kept, new in zip(running, (mean, variance * (size / (size - 1))), strict=True):
        kept.lerp_(new.to(kept.dtype), momentum)


def batch_norm_neuron(
    x: Tensor,
    neuron: Neuron,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    process_group: Any = None,
    *,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    return_v_seq: bool = False,
    coefficients: Mapping[str, Tensor] | None = None,
    channel_dim: int = 2,
    residual: Tensor | None = None,
    backend: str | None = None,
) -> Any:
    """BatchNorm of x [T, B, C, ...] over all but the channels, and the neuron that reads it, in one op.

    The same as `multistep(scale_t * batch_norm(x), neuron)` up to rounding, with fewer passes over memory, and only x
    is kept for backward. neuron: its charge must be `IF`, `LIF`, `PLIF` or `Affine`. running_mean, running_var:
    [C], updated in place in training (momentum as in torch.nn.BatchNorm2d), read otherwise; both None: always
    the statistics of the batch. weight, bias: [C], None for 1 and 0. scale: [T], a factor for each step (TEBN).
    eps: added to the variance. process_group: one of torch.distributed whose processes normalise together. residual:
    added to the spikes (SEW). Others as in `multistep`.

    tdBN (Zheng et al., AAAI 2021) is this with weight initialised to alpha * v_threshold; TEBN (Duan et al., NeurIPS
    2022) with `scale`. Returns what `multistep` returns. Raises ValueError for shapes that do not fit, for one number
    per channel in training, and for a second derivative over processes; TypeError for a charge with its own current.
    Example: `s = batch_norm_neuron(conv(x), Neuron(LIF(2.0)), weight=gamma, bias=beta)`.
    """
    if not isinstance(neuron, Neuron):
        raise TypeError(f'neuron must be a Neuron, got {type(neuron).__name__}')
    x, T = arguments.steps(x, None)
    repeats = T if residual is None and arguments.repeated(x) else 1
    x = x[:1] if repeats > 1 else x  # its moments are those of all steps
    positive('eps', eps)
    finite('momentum', momentum)
    whole('channel_dim', channel_dim, at_least=-(2**31))
    channel_dim = channel_dim % x.dim() if -x.dim() <= channel_dim < x.dim() else channel_dim
    if not 1 <= channel_dim < x.dim():
        raise ValueError(f'channel_dim must be a dimension of x behind T, got {channel_dim} for shape {tuple(x.shape)}')
    C = x.shape[channel_dim]
    if (running_mean is None) != (running_var is None):
        raise ValueError('running_mean and running_var must come together or not at all')
    weight, bias = _row('weight', weight, x, C, 1.0), _row('bias', bias, x, C, 0.0)
    factor = None if scale is None else _row('scale', scale, x, T, 1.0, 'T').unsqueeze(1)
    given, _ = arguments.coefficients(coefficients, x, neuron, T, channel_dim)
    own = {} if given is None else dict(zip(coefficients or (), given.unbind(0), strict=True))
    folded, rows = _rows(neuron, own, weight.unsqueeze(0), bias.unsqueeze(0), factor)
    weights = torch.stack(torch.broadcast_tensors(*rows.values()))
    second, connected = arguments.residual(residual, x, T, 'sew', False)
    inputs = _multistep.Inputs(x, arguments.state(v0, x, neuron), weights, second)
    wants = return_state, return_v_seq, False, arguments.backend(backend)
    spec = f'{folded.spec} @{channel_dim} {" ".join(rows)}{connected}'
    norm = _norm.Norm(eps, channel_dim, process_group)
    if not training and running_mean is not None:
        kept = {'running_mean': running_mean, 'running_var': running_var}
        running = torch.stack([_row(name, t, x, C, 0.0) for name, t in kept.items()])
        fixed = _norm.normalised(weights, running.double(), eps)
        s, last, v_seq, _ = _multistep.multistep(inputs._replace(coefficients=fixed), spec, T, *wants)
    else:
        s, last, v_seq, moments, size = _norm.normalised_multistep(inputs, spec, T, wants, norm)
        if training and running_mean is not None:
            _update((running_mean, running_var), moments, repeats * (x.numel() / C if size is None else size), momentum)  # type: ignore[arg-type]
    return results(s, last, v_seq)
