"""Neurons whose thresholds differ by channel, with a surrogate that is as wide as each."""

from typing import Any

import torch
from torch import Tensor

from snnkern.convert.layers import Spiking
from snnkern.functional import multistep
from snnkern.neurons import Neuron

SMALLEST = 2.0**-14  # of a channel's threshold beside the neuron's: float16 holds the factor


def scaled_multistep(
    x: Tensor,
    neuron: Neuron,
    *,
    v0: Tensor,
    coefficients: dict[str, Tensor],
    T: int | None = None,
    residual: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Spikes and last state, as `functional.multistep` gives them, with a surrogate for each channel's threshold.

    A kernel has one surrogate for all channels. So each channel runs in a unit in which its threshold is within
    sqrt(2) of the neuron's own. Units are powers of two: they change no bit of a spike, and gradients only by the
    surrogate. Thresholds below 2^-14 of the neuron's share one unit. Without `v_threshold` among the coefficients, or
    without gradients, units are not needed.

    x [T, B, C, ...], or with T [B, C, ...]; v0: states [B, C, ...] or [S, B, C, ...]; coefficients: one or [C], of a
    neuron whose input, bias and threshold have one unit (IF).
    """
    if 'v_threshold' not in coefficients or not torch.is_grad_enabled():
        more = {'residual': residual, **options}
        return multistep(x, neuron, v0=v0, coefficients=coefficients, T=T, **more)  # type: ignore[return-value]
    theta, own = coefficients['v_threshold'].detach(), neuron.fire.v_threshold
    unit = torch.log2(own / theta.clamp_min(own * SMALLEST)).round().exp2()
    step = x[0] if T is None else x
    per_step, per_state = Spiking.broad(unit.to(x.dtype), step), Spiking.broad(unit, step)
    if len(neuron.states) > 1:  # the second counts spikes
        per_state = per_state.expand_as(step[:1])
        per_state = torch.stack([per_state, torch.ones_like(per_state)])
    s, last = multistep(
        x * per_step, neuron, v0=v0 * per_state, T=T, residual=None if residual is None else residual * per_step,
        coefficients={name: value * unit for name, value in coefficients.items()}, **options,
    )  # fmt: skip
    return s / per_step, last / per_state
