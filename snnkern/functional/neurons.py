"""Multi-step neurons."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, overload

import torch
from torch import Tensor

from snnkern import _arguments as arguments
from snnkern.charges import IF, LIF, Charge
from snnkern.fires import Binary
from snnkern.neurons import Neuron
from snnkern.ops import multistep as _multistep
from snnkern.resets import reset_to
from snnkern.surrogates import ATan, Surrogate


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
    reset = reset_to(v_reset, detach_reset)
    charge: Charge = IF() if tau is None else LIF(tau, reset.v_start, decay_input)
    return Neuron(charge, Binary(v_threshold), reset, surrogate)


def preset(*parameters: Any) -> Neuron:
    """`_preset`, without its cache while torch.compile traces (it warns of caches)."""
    if torch.compiler.is_compiling():
        return _preset.__wrapped__(*map(arguments.constant, parameters))
    try:
        return _preset(*parameters)
    except TypeError as error:  # a parameter that no cache can hold is one that no neuron has
        if 'unhashable' not in str(error):
            raise
        return _preset.__wrapped__(*parameters)


@overload
def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: Literal[False] = False,
    return_v_seq: Literal[False] = False,
    coefficients: Mapping[str, Tensor] | None = None,
    channel_dim: int = 2,
    residual: Tensor | None = None,
    connect: str = 'sew',
    return_sum: Literal[False] = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor: ...


@overload
def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    return_v_seq: bool = False,
    coefficients: Mapping[str, Tensor] | None = None,
    channel_dim: int = 2,
    residual: Tensor | None = None,
    connect: str = 'sew',
    return_sum: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Any: ...


def multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor | float | None = None,
    return_state: bool = False,
    return_v_seq: bool = False,
    coefficients: Mapping[str, Tensor] | None = None,
    channel_dim: int = 2,
    residual: Tensor | None = None,
    connect: str = 'sew',
    return_sum: bool = False,
    backend: str | None = None,
    T: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """Run T steps of any `Neuron`: h = charge(v, x_t), s_t = fire(h), v = reset(h, s_t).

    x: input current [T, ...], or one step [...] if `T` is given (direct coding); an expanded x, the same step in
    memory T times, is read once, too. neuron: what runs.
    v0: membrane potential [...] before the first step, or a number for all; None: v_reset (0 for soft
    reset). A neuron with more states (`neuron.states`) takes all of them as [S, ...], or v alone; the others
    start at 0. return_state: also return v [...] (or all states [S, ...]) after the last step. return_v_seq:
    also return v [T, ...] after every step, with gradients. coefficients: numbers of the neuron
    (`neuron.coefficients`, such as "v_threshold" or "k") as tensors with gradients: one number, [C], or [T, C]
    for one a step; C is dimension `channel_dim` of x. residual: a second input [T, ...] like x, added in the same
    pass. connect: "sew" adds it to the spikes, s + residual (Fang et al., NeurIPS 2021, SEW-ResNet's ADD), "ms" to
    the input, so that neurons see x + residual (Hu et al., 2021, MS-ResNet), which return_sum returns, too (the next
    block's shortcut). backend: "native", "triton" or "reference" for this call; None: see `snnkern.explain()`.
    Gradients flow into x, v0, coefficients and residual; an in-place change of x before backward raises there, since
    backward reads x (with "ms": the sum).

    Returns spikes [T, ...] in the dtype and memory layout of x, or a tuple: spikes, the states, v of all steps, the
    sum, of which the states and v are float32, each there where asked for.

    Raises TypeError for dtypes and ValueError for shapes that do not fit, RuntimeError if `backend` cannot
    run here. Example: `s = multistep(x, Neuron(LIF(2.0), Burst(1.0, 4), Soft()))`.
    """
    if not isinstance(neuron, Neuron):
        raise TypeError(f'neuron must be a Neuron, got {type(neuron).__name__}')
    x, steps = arguments.steps(x, T)
    if residual is None and arguments.repeated(x):
        x = x[:1]  # one step in memory is read once, as with T
    wanted = arguments.backend(backend)
    rows, named = arguments.coefficients(coefficients, x, neuron, steps, channel_dim)
    state = arguments.state(v0, x, neuron)
    second, connected = None, ''
    if residual is not None or return_sum or connect != 'sew':
        second, connected = arguments.residual(residual, x, steps, connect, return_sum)
    wants = return_state, return_v_seq, return_sum, wanted
    inputs = _multistep.Inputs(x, state, rows, second)
    s, last, v_seq, total = _multistep.multistep(inputs, neuron.spec + named + connected, steps, *wants)
    if not (return_state or return_v_seq or return_sum):
        return s
    return results(s, last, v_seq, total if return_sum else None)


def results(s: Tensor, last: Tensor | None, *others: Tensor | None) -> Tensor | tuple[Tensor, ...]:
    """Spikes alone, or with what is there of the last states (v without its axis S of one) and others."""
    state = last[0] if last is not None and last.shape[0] == 1 else last
    found = tuple(t for t in (s, state, *others) if t is not None)
    return found if len(found) > 1 else s


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
) -> Any:
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
) -> Any:
    """Integrate-and-fire: h = v + x, spike where h >= v_threshold, then reset.

    Arguments, result and errors as for `lif`. Source: SpikingJelly's IFNode, equal spike for spike.
    Example: `s, v = integrate_fire(x, v_reset=None, v0=0.5, return_state=True)`.
    """
    neuron = preset(None, v_threshold, v_reset, True, surrogate, detach_reset)
    return multistep(x, neuron, v0=v0, return_state=return_state, T=T, backend=backend)
