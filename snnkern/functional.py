"""Stateless spiking-neuron ops: one call runs all T time steps of a layer, forward and backward.

Inputs are `[T, ...]`, time first; everything behind T is neurons. With `T` given, the input is one step
`[...]` that is used at every step (direct coding) and read only once. Spikes have the dtype of the input
(float32, float16, bfloat16, float64); membrane potentials are float32 (float64 for float64).
"""

from functools import lru_cache
from typing import Any, Literal, overload

import torch
from torch import Tensor

from snnkern import backends
from snnkern._checks import finite, positive, whole
from snnkern.fires import Binary
from snnkern.neurons import IF, LIF, Charge, Neuron
from snnkern.ops import multistep as _multistep
from snnkern.ops.pool import lateral_pool2d as _lateral_pool2d
from snnkern.resets import Hard, Soft
from snnkern.surrogates import ATan, Surrogate

__all__ = ['integrate_fire', 'lateral_pool2d', 'lif', 'multistep']

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@lru_cache(maxsize=1024, typed=True)
def _preset(
    tau: float | None,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    surrogate: Surrogate,
    detach_reset: bool,
) -> Neuron:
    """The neuron of SpikingJelly's parameters; tau None: integrate-and-fire. Cached: packing costs a few us."""
    if v_reset is not None:
        finite('v_reset', v_reset)
    rest = 0.0 if v_reset is None else v_reset
    charge: Charge = IF() if tau is None else LIF(tau, rest, decay_input)
    reset = Soft(detach_reset) if v_reset is None else Hard(v_reset, detach_reset)
    return Neuron(charge, Binary(v_threshold), reset, surrogate)


def preset(*parameters: Any) -> Neuron:
    """`_preset`, without its cache while torch.compile traces (it warns of caches)."""
    if torch.compiler.is_compiling():
        return _preset.__wrapped__(*map(_constant, parameters))
    try:
        return _preset(*parameters)
    except TypeError as error:  # a parameter that no cache can hold is one that no neuron has
        if 'unhashable' not in str(error):
            raise
        return _preset.__wrapped__(*parameters)


def _constant(value: Any) -> Any:
    """A float as it is now: torch.compile(dynamic=True) makes it a symbol, which no check or text can use."""
    return float(f'{value}') if torch.compiler.is_compiling() and isinstance(value, float) else value


def _steps(x: Tensor, T: int | None) -> tuple[Tensor, int]:
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


def _state(v0: Tensor | float | None, x: Tensor) -> Tensor | None:
    """v0 as [1, ...], or None. Raises if it does not fit x [T, ...]."""
    if v0 is None:
        return None
    if not isinstance(v0, Tensor):
        finite('v0', v0)
        return torch.full_like(x[:1], v0, dtype=torch.promote_types(x.dtype, torch.float32))
    if not v0.dtype.is_floating_point:
        raise TypeError(f'v0 must be a floating-point tensor, got {v0.dtype}')
    if v0.device != x.device:
        raise ValueError(f'v0 must be on the device of x, got {v0.device} and {x.device}')
    if v0.shape != x.shape[1:]:
        raise ValueError(f'v0 must have the shape of one step, {tuple(x.shape[1:])}, got {tuple(v0.shape)}')
    return v0.unsqueeze(0)


@overload
def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: Literal[False] = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor: ...


@overload
def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: Literal[True],
    backend: str | None = None,
    T: int | None = None,
) -> tuple[Tensor, Tensor]: ...


@overload
def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]: ...


def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run T steps of any `Neuron`: h = charge(v, x_t), s_t = fire(h), v = reset(h, s_t).

    x: input current [T, ...], or one step [...] if `T` is given (direct coding). neuron: what runs.
    v0: membrane potential [...] before the first step, or a number for all; None: v_reset (0 for soft
    reset). return_state: also return v [...] after the last step. backend: "native", "triton" or
    "reference" for this call; None: see `snnkern.explain()`. Gradients flow into x and v0; an in-place
    change of x before backward raises there, since backward reads x.

    Returns spikes [T, ...] in the dtype and memory layout of x, or (spikes, v).

    Raises TypeError for dtypes and ValueError for shapes that do not fit, RuntimeError if `backend` cannot
    run here. Example: `s = multistep(x, Neuron(LIF(2.0), Burst(1.0, 4), Soft()))`.
    """
    if not isinstance(neuron, Neuron):
        raise TypeError(f'neuron must be a Neuron, got {type(neuron).__name__}')
    x, steps = _steps(x, T)
    wanted = _wanted(backend)
    s, state = _multistep.multistep(x, _state(v0, x), neuron, steps, return_state, wanted)
    return s if state is None else (s, state[0])


def lif(
    x: Tensor,
    tau: float = 2.0,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    surrogate: Surrogate = ATan(2.0),  # noqa: B008 (frozen)
    detach_reset: bool = False,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Leaky integrate-and-fire: h = v + (x - (v - v_rest)) / tau, spike where h >= v_threshold, then reset.

    x: [T, ...] (or one step, see `multistep`). tau: membrane time constant in steps, > 0. v_reset: potential
    after a spike, and v_rest; None: soft reset (v = h - v_threshold) and v_rest = 0. decay_input: False
    gives h = v - (v - v_rest) / tau + x. surrogate: derivative of the spike in backward. detach_reset: no
    gradient through the reset. v0, return_state, T, backend: see `multistep`.

    Returns spikes, or (spikes, v). Raises ValueError for tau <= 0, and what `multistep` raises.
    Source: SpikingJelly's LIFNode, equal spike for spike. Example: `s = lif(torch.rand(4, 8, 100) * 2)`.
    """
    if tau is None:
        raise TypeError('tau must be a number, got None')
    neuron = preset(tau, v_threshold, v_reset, decay_input, surrogate, detach_reset)
    return multistep(x, neuron, v0=v0, return_state=return_state, T=T, backend=backend)


def integrate_fire(
    x: Tensor,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    surrogate: Surrogate = ATan(2.0),  # noqa: B008 (frozen)
    detach_reset: bool = False,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Integrate-and-fire: h = v + x, spike where h >= v_threshold, then reset.

    Arguments, result and errors as for `lif`. Source: SpikingJelly's IFNode, equal spike for spike.
    Example: `s, v = integrate_fire(x, v_reset=None, v0=0.5, return_state=True)`.
    """
    neuron = preset(None, v_threshold, v_reset, True, surrogate, detach_reset)
    return multistep(x, neuron, v0=v0, return_state=return_state, T=T, backend=backend)


def _wanted(backend: str | None) -> str:
    """The name of the backend that must run, or "" for any."""
    if backend is not None and not isinstance(backend, str):
        raise TypeError(f'backend must be a name or None, got {backend!r}')
    return backend or backends.current() or ''


def _pair(name: str, value: int | tuple[int, int], at_least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f'{name} must be one integer or two, got {value!r}')
    for v in pair:
        whole(name, v, at_least)
    return pair


def lateral_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    scale: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Max-pooling of spike trains by lateral inhibition: out_t = M_t - M_{t-1}, M the pooled running count.

    With C_t the cumulative spike count of each input, M_t = maxpool(C_t): after any number of steps the
    output has emitted as many spikes as the busiest input of its window.

    x: [T, ..., C, H, W], all values multiples of `scale`. kernel_size, stride (None: kernel_size), padding,
    dilation, ceil_mode: as in torch.nn.MaxPool2d. scale: what one spike is worth (the threshold of a neuron
    with real units); counts are integers inside, so real units stay exact.

    Returns [T, ..., C, H', W'], contiguous, in the dtype of x. The gradient is that of the reference on every
    backend. Raises TypeError or ValueError for bad arguments.
    Source: LIPool (Li and Zeng, IJCAI 2022) in closed form. Example: `lateral_pool2d(spikes, 2)`.
    """
    x, _ = _steps(x, None)
    if x.dim() < 4:
        raise ValueError(f'x must be [T, ..., C, H, W], got shape {tuple(x.shape)}')
    kernel = _pair('kernel_size', kernel_size, 1)
    step = kernel if stride is None else _pair('stride', stride, 1)
    pad, gaps = _pair('padding', padding, 0), _pair('dilation', dilation, 1)
    scale = _constant(scale)
    positive('scale', scale)
    wanted = _wanted(backend)
    return _lateral_pool2d(x, kernel, step, pad, gaps, ceil_mode, float(scale), wanted)
