"""Population coding: a number as the activity of several neurons, each with a value that it likes best."""

import torch
from torch import Tensor

from snnkern._checks import finite, positive, whole
from snnkern.encode._inputs import choice, floating, steps, wide, within
from snnkern.functional import integrate_fire

CODES = ('time', 'voltage')


def fields(neurons: int, low: float, high: float) -> None:
    """Raise unless these describe receptive fields."""
    whole('neurons', neurons, at_least=3)
    finite('low', low)
    finite('high', high)
    if low >= high:
        raise ValueError(f'low must be < high, got {low} and {high}')


def population_activity(x: Tensor, neurons: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Activities [..., neurons] in (0, 1] of Gaussian receptive fields at x [...].

    Neuron i = 1 .. m has its centre at low + (2i - 3) / 2 * (high - low) / (m - 2), all have the width
    sigma = (high - low) / (1.5 (m - 2)): the outermost two stand outside of [low, high]. Raises TypeError or ValueError
    for bad arguments. Example: `population_activity(torch.rand(5), 8)  # [5, 8]`.
    Source: Bohte, Kok, La Poutre, Neurocomputing 48 (2002), beta = 1.5.
    """
    floating('x', x)
    fields(neurons, low, high)
    spacing = (high - low) / (neurons - 2)
    centres = low + (torch.arange(1, neurons + 1, dtype=x.dtype, device=x.device) - 1.5) * spacing
    sigma = spacing / 1.5
    return (-(x.unsqueeze(-1) - centres).square() / (2 * sigma * sigma)).exp()


def population(
    x: Tensor,
    T: int,
    neurons: int = 8,
    low: float = 0.0,
    high: float = 1.0,
    code: str = 'time',
    v_threshold: float = 1.0,
    backend: str | None = None,
    check: bool = True,
) -> Tensor:
    """Gaussian receptive fields: each element becomes `neurons` neurons with activities a (`population_activity`).

    x: [...] in [low, high]. T: steps. neurons: at least 3. code: "time": one spike at step round(T (1 - a)), none
    where that is T (a below 1 / (2T)); no gradient. "voltage": an integrate-and-fire neuron with soft reset and
    this v_threshold is given a in every step; surrogate gradients reach x. backend: of that neuron, see
    `functional.multistep`. check: look whether all values lie in [low, high] (see `poisson`).
    Returns [T, ..., neurons] in the dtype of x. Raises TypeError or ValueError for bad arguments.
    Source: as `population_activity`; BrainCog's PEncoder numbers its neurons from 0 in the same formula, so that its
    fields are off by one, and its "time" lets the most active neurons spike last.
    Example: `encode.population(torch.rand(32, 4), T=10, neurons=6)  # [10, 32, 4, 6]`.
    """
    floating('x', x)
    whole('T', T)
    fields(neurons, low, high)
    choice('code', code, CODES)
    positive('v_threshold', v_threshold)
    if check:
        within(x, low, high)
    a = population_activity(wide(x), neurons, low, high)
    if code == 'voltage':
        return integrate_fire(a, v_threshold, None, T=T, backend=backend).to(x.dtype)
    return (steps(T, a) == (T * (1 - a)).round()).to(x.dtype)
