"""Neurons with binary and ternary spikes as modules: thin presets of `nn.Neuron`.

Parameter names are SpikingJelly's. All take the keyword arguments of `nn.Neuron` as well (`options`: step_mode,
store_v_seq, learn, channels, channel_dim, save_state), and `surrogate_function` as another name for `surrogate`.
"""

import math
from typing import Any

from snnkern import neurons
from snnkern.charges import LIF as LIFCharge  # noqa: N811
from snnkern.charges import PLIF
from snnkern.fires import Binary, Signed, Ternary
from snnkern.functional.neurons import preset
from snnkern.nn.neuron import Neuron
from snnkern.resets import reset_to
from snnkern.surrogates import ATan, Surrogate

__all__ = ['IF', 'LIF', 'BiasLIF', 'DoubleSidePLIF', 'ParametricLIF']

ATAN = ATan(2.0)


class Preset(Neuron):
    """A neuron that shows the parameters it was made with."""

    shown: dict[str, Any]

    def __init__(
        self, neuron: neurons.Neuron, backend: str | None, shown: dict[str, Any], options: dict[str, Any]
    ) -> None:
        super().__init__(neuron, backend, **options)
        self.shown = {name: value for name, value in shown.items() if name not in self.forms}

    def _settings(self) -> dict[str, Any]:
        return self.shown


def chosen(surrogate: Surrogate, options: dict[str, Any]) -> Surrogate:
    """The surrogate under either of its names; takes SpikingJelly's out of the options."""
    return options.pop('surrogate_function', surrogate)


def learned(options: dict[str, Any], **forms: str) -> dict[str, Any]:
    """The options with these numbers among those that are learned."""
    given = options.get('learn', ())
    more = given if isinstance(given, dict) else dict.fromkeys(given, 'plain')
    return {**options, 'learn': {**forms, **more}}


def check_tau(tau: float, parametric: bool, name: str = 'tau') -> None:
    """Raise unless tau is > 0, or, to be learned through a sigmoid, > 1."""
    if parametric and not 1 < tau < math.inf:
        raise ValueError(f'{name} must be > 1 and finite to be learned, got {tau}')


class IF(Preset):
    """A layer of integrate-and-fire neurons, `functional.integrate_fire` with state.

    v_threshold: a spike where the potential reaches it. v_reset: potential after a spike; None: soft reset
    (v_threshold is subtracted). surrogate: derivative of the spike in backward. detach_reset: no gradient
    through the reset. backend, options, state and errors: see `Neuron`. Source: SpikingJelly's IFNode.
    Example: `net = torch.nn.Sequential(torch.nn.Linear(128, 64), snnkern.nn.IF(v_reset=None))`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        neuron = preset(None, v_threshold, v_reset, True, surrogate, detach_reset)
        shown = {'v_threshold': v_threshold, 'v_reset': v_reset, 'surrogate': surrogate, 'detach_reset': detach_reset}
        super().__init__(neuron, backend, shown, options)


class LIF(Preset):
    """A layer of leaky integrate-and-fire neurons, `functional.lif` with state.

    tau: membrane time constant in steps, > 0. decay_input: whether the input is divided by tau, too. The
    other arguments: see `IF`. Raises ValueError for tau <= 0. Source: SpikingJelly's LIFNode.
    Example: `net = torch.nn.Sequential(torch.nn.Linear(128, 64), snnkern.nn.LIF(tau=2.0))`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        if tau is None:
            raise TypeError('tau must be a number, got None')
        surrogate = chosen(surrogate, options)
        neuron = preset(tau, v_threshold, v_reset, decay_input, surrogate, detach_reset)
        shown = {'tau': tau, 'decay_input': decay_input, 'v_threshold': v_threshold, 'v_reset': v_reset,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neuron, backend, shown, options)


class ParametricLIF(Preset):
    """LIF whose time constant is learned: k = 1 / tau = sigmoid(w), `w` one parameter of the layer.

    init_tau: tau at the start, > 1. The other arguments: see `LIF` and `Neuron`. Raises ValueError for
    init_tau <= 1. Source: Fang et al., ICCV 2021; SpikingJelly's ParametricLIFNode (same parameter `w`).
    Example: `net = torch.nn.Sequential(torch.nn.Linear(128, 64), snnkern.nn.ParametricLIF())`.
    """

    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        check_tau(init_tau, True, 'init_tau')
        surrogate = chosen(surrogate, options)
        reset = reset_to(v_reset, detach_reset)
        charge = PLIF(1 / init_tau, reset.v_start, decay_input)
        neuron = neurons.Neuron(charge, Binary(v_threshold), reset, surrogate)
        shown = {'init_tau': init_tau, 'decay_input': decay_input, 'v_threshold': v_threshold, 'v_reset': v_reset,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neuron, backend, shown, learned(options, k='sigmoid'))


class BiasLIF(Preset):
    """LIF with a constant current: h = v + (x - v) / tau + bias, a spike where h > v_threshold, hard reset to 0.

    parametric: k = 1 / tau = sigmoid(w) is learned, as in `ParametricLIF`. v_reset, detach_reset: as in `IF`; v_rest
    is 0 whatever v_reset is. Other arguments: see `LIF` and `Neuron`. Source: BrainCog's BiasLIFNode and BiasPLIFNode
    (there, alpha of the latter is learned, too: learn=("alpha",)). Example: `snnkern.nn.BiasLIF(tau=2.0, bias=0.1)`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        bias: float = 0.1,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = True,
        parametric: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        check_tau(tau, parametric)
        charge = PLIF(1 / tau, c=bias) if parametric else LIFCharge(tau, c=bias)
        reset = reset_to(v_reset, detach_reset)
        neuron = neurons.Neuron(charge, Binary(v_threshold, strict=True), reset, surrogate)
        shown = {'tau': tau, 'bias': bias, 'v_threshold': v_threshold, 'v_reset': v_reset,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neuron, backend, shown, learned(options, k='sigmoid') if parametric else options)


class DoubleSidePLIF(Preset):
    """LIF with spikes of both signs: H(h - v_threshold) - H(-h - v_threshold), hard reset to 0 by either.

    compat: "sign" gives the published behaviour, sign(h - v_threshold): a neuron below its threshold spikes -1 in
    every step. parametric: k = 1 / tau = sigmoid(w) is learned (the P; published: tau is fixed). learn_alpha:
    the surrogate's alpha is learned. v_reset, detach_reset: as in `BiasLIF`. Other arguments: see `LIF` and `Neuron`.
    Raises ValueError for another compat. Source: BrainCog's DoubleSidePLIFNode, corrected (SNN segmentation of
    yahuiwei123). Example: `snnkern.nn.DoubleSidePLIF()`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 0.5,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = True,
        parametric: bool = True,
        learn_alpha: bool = True,
        compat: str | None = None,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        if compat not in (None, 'sign'):
            raise ValueError(f'compat must be None or "sign", got {compat!r}')
        surrogate = chosen(surrogate, options)
        fire = Signed(v_threshold, 1, False, 1.0, 1.0, strict=True) if compat else Ternary(v_threshold, strict=True)
        check_tau(tau, parametric)
        charge = PLIF(1 / tau) if parametric else LIFCharge(tau)
        neuron = neurons.Neuron(charge, fire, reset_to(v_reset, detach_reset), surrogate)
        shown = {'tau': tau, 'v_threshold': v_threshold, 'v_reset': v_reset, 'surrogate': surrogate,
                 'detach_reset': detach_reset, 'compat': compat}  # fmt: skip
        forms = {'k': 'sigmoid'} if parametric else {}
        if learn_alpha and surrogate.learns_alpha:
            forms['alpha'] = 'plain'
        super().__init__(neuron, backend, shown, learned(options, **forms))
