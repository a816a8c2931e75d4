"""Neurons of other libraries and of converted networks as modules: thin presets of `nn.Neuron` (see nn/layers.py)."""

from typing import Any

import torch
from torch import Tensor

from snnkern import neurons
from snnkern.charges import IF as IFCharge  # noqa: N811
from snnkern.charges import LIF as LIFCharge  # noqa: N811
from snnkern.charges import Affine
from snnkern.charges import Synaptic as SynapticCharge
from snnkern.fires import Adaptive, Binary, Integer, Signed, SignedMemory
from snnkern.fires import Burst as BurstFire
from snnkern.nn.layers import ATAN, Preset, chosen
from snnkern.resets import Delayed, Hard, NoReset, Reset, Soft, reset_to
from snnkern.surrogates import Rectangle, Surrogate

__all__ = ['AdaptiveLIF', 'Burst', 'IntegerLIF', 'Leaky', 'SignedIF', 'Synaptic']


def mechanism(reset: str, reset_delay: bool) -> Reset:
    """snnTorch's reset_mechanism; there a gradient flows through it only if it is not delayed."""
    subtract = Delayed(True) if reset_delay else Soft()
    resets = {'subtract': subtract, 'zero': Hard(0.0, reset_delay), 'none': NoReset()}
    if reset not in resets:
        raise ValueError(f'reset must be one of {", ".join(resets)}, got {reset!r}')
    return resets[reset]


class Leaky(Preset):
    """snnTorch's Leaky: h = beta * v + x (beta clamped to 0..1), a spike where h > v_threshold.

    beta, v_threshold: numbers or tensors, one or [C]; learn_beta and learn_threshold make them parameters. reset:
    "subtract" (v_threshold: one step later and after the decay, or at once without reset_delay), "zero" or
    "none". The gradient through a delayed reset is cut, as there. Delayed, v is the potential before it.
    Other arguments: see `Neuron`. Raises ValueError for another reset. Source: snnTorch's Leaky.
    Example: `snnkern.nn.Leaky(torch.rand(10), learn_beta=True)`.
    """

    def __init__(
        self,
        beta: float | Tensor = 0.9,
        v_threshold: float | Tensor = 1.0,
        surrogate: Surrogate = ATAN,
        reset: str = 'subtract',
        reset_delay: bool = True,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        tensors = dict(options.pop('tensors', None) or {})
        number = {'a': beta, 'v_threshold': v_threshold}
        channels = options.get('channels') if 'learn' in options else options.pop('channels', None)
        for name, learns in (('a', learn_beta), ('v_threshold', learn_threshold)):
            value = number[name]
            if learns or isinstance(value, Tensor):
                held = torch.as_tensor(value, dtype=torch.float32).detach().clone()
                if learns and channels is not None and held.dim() == 0:
                    held = held.expand(channels).clone()
                tensors[name] = torch.nn.Parameter(held) if learns else held
                number[name] = 1.0
        charge = Affine(min(max(number['a'], 0.0), 1.0))  # type: ignore[type-var, arg-type]
        fire = Binary(number['v_threshold'], strict=True)  # type: ignore[arg-type]
        neuron = neurons.Neuron(charge, fire, mechanism(reset, reset_delay), surrogate)
        shown = {'a': charge.a, 'v_threshold': fire.v_threshold, 'surrogate': surrogate, 'reset': reset,
                 'reset_delay': reset_delay}  # fmt: skip
        super().__init__(neuron, backend, shown, {**options, 'tensors': tensors})
        if self.forms.get('a') == ('a', 'plain'):
            self.forms['a'] = 'a', 'clamp'


class Synaptic(Preset):
    """A current that decays and charges a potential that decays (CUBA LIF): i = alpha * i + x, h = beta * v + i.

    alpha, beta: decays of current and potential in one step. reset, reset_delay, v_threshold, surrogate: as in
    `Leaky`. State [2, ...]: v and i. Other arguments: see `Neuron`. Source: snnTorch's Synaptic.
    Example: `snnkern.nn.Synaptic(alpha=0.9, beta=0.8)`.
    """

    def __init__(
        self,
        alpha: float = 0.9,
        beta: float = 0.8,
        v_threshold: float = 1.0,
        surrogate: Surrogate = ATAN,
        reset: str = 'subtract',
        reset_delay: bool = True,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        parts = SynapticCharge(beta, decay=alpha), Binary(v_threshold, strict=True), mechanism(reset, reset_delay)
        shown = {'alpha': alpha, 'beta': beta, 'v_threshold': v_threshold, 'surrogate': surrogate, 'reset': reset,
                 'reset_delay': reset_delay}  # fmt: skip
        super().__init__(neurons.Neuron(*parts, surrogate), backend, shown, options)


class AdaptiveLIF(Preset):
    """LIF whose threshold rises by beta with every spike and decays back: v_threshold + beta * m, m = rho * m + s.

    tau, decay_input, v_threshold, v_reset, surrogate, detach_reset: as in `LIF`; a soft reset (v_reset None)
    subtracts v_threshold without the rise. State [2, ...]: v and m. Other arguments: see `Neuron`.
    Source: Bellec et al., NeurIPS 2018 (ALIF). Example: `snnkern.nn.AdaptiveLIF(tau=20.0, rho=0.97)`.
    """

    def __init__(
        self,
        tau: float = 20.0,
        beta: float = 0.2,
        rho: float = 0.97,
        decay_input: bool = False,
        v_threshold: float = 1.0,
        v_reset: float | None = None,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        reset = reset_to(v_reset, detach_reset)
        charge = LIFCharge(tau, reset.v_start, decay_input)
        neuron = neurons.Neuron(charge, Adaptive(v_threshold, beta, rho), reset, surrogate)
        shown = {'tau': tau, 'beta': beta, 'rho': rho, 'decay_input': decay_input, 'v_threshold': v_threshold,
                 'v_reset': v_reset, 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neuron, backend, shown, options)


class Burst(Preset):
    """Integrate-and-fire with up to max_spikes spikes a step and a soft reset, the neuron of burst conversion.

    real_units: emit s * v_threshold. Other arguments: see `IF` and `Neuron`. Source: Li and Zeng, IJCAI 2022;
    BrainCog's SNode. Example: `snnkern.nn.Burst(v_threshold=0.8, max_spikes=5, real_units=True)`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        max_spikes: int = 5,
        real_units: bool = False,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        fire = BurstFire(v_threshold, max_spikes, real_units)
        shown = {'v_threshold': v_threshold, 'max_spikes': max_spikes, 'real_units': real_units,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neurons.Neuron(IFCharge(), fire, Soft(detach_reset), surrogate), backend, shown, options)


class SignedIF(Preset):
    """Integrate-and-fire with spikes of both signs and a soft reset, the neuron of low-latency conversion.

    slope: None gives negative spikes only to take back what was emitted, at any h < 0 (`SignedMemory`, the signed
    burst neuron); 0 < slope <= 1 those of a leaky ReLU (`Signed.leaky`: Spiking-YOLO). max_spikes: of each sign in
    one step. real_units: emit s * v_threshold. Other arguments: see `IF` and `Neuron`.
    Example: `snnkern.nn.SignedIF(v_threshold=0.8, max_spikes=15, real_units=True)`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        max_spikes: int = 1,
        real_units: bool = False,
        slope: float | None = None,
        surrogate: Surrogate = ATAN,
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        given = v_threshold, max_spikes, real_units
        fire = SignedMemory(*given) if slope is None else Signed.leaky(slope, *given)
        shown = {'v_threshold': v_threshold, 'max_spikes': max_spikes, 'real_units': real_units, 'slope': slope,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neurons.Neuron(IFCharge(), fire, Soft(detach_reset), surrogate), backend, shown, options)


class IntegerLIF(Preset):
    """LIF that emits whole numbers, clamp(round(h / v_threshold), 0, max_spikes), to be run as that many binary steps.

    tau: 4/3 with decay_input=False is h = 0.25 * v + x. Other arguments: see `LIF` and `Neuron`; the reset is
    soft. Source: Luo et al., ECCV 2024 (SpikeYOLO's I-LIF). Example: `snnkern.nn.IntegerLIF(max_spikes=4)`.
    """

    def __init__(
        self,
        tau: float = 4 / 3,
        max_spikes: int = 4,
        v_threshold: float = 1.0,
        decay_input: bool = False,
        surrogate: Surrogate = Rectangle(2.0),  # noqa: B008 (frozen)
        detach_reset: bool = False,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        surrogate = chosen(surrogate, options)
        parts = LIFCharge(tau, 0.0, decay_input), Integer(v_threshold, max_spikes), Soft(detach_reset)
        shown = {'tau': tau, 'max_spikes': max_spikes, 'v_threshold': v_threshold, 'decay_input': decay_input,
                 'surrogate': surrogate, 'detach_reset': detach_reset}  # fmt: skip
        super().__init__(neurons.Neuron(*parts, surrogate), backend, shown, options)
