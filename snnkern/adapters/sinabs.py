"""sinabs 3.1: IAF, LIF and ExpLeak, input [B, T, ...], and their squeezed forms, input [B * T, ...].

Spikes, states and recordings equal sinabs' to the bit, with a synaptic current, too. Half-precision input is computed
and answered in float32, as there. Recurrent layers and ALIF (which subtracts its raised threshold) stay as they are.
sinabs.nir knows its layers by their exact classes: `undo` first.
"""

import math
from typing import Any

import torch
from sinabs import activation, layers
from torch import Tensor

from snnkern import charges, fires, resets, surrogates
from snnkern.adapters._fused import FusedNeuron, Part, by_original, described

# What integrates and never fires: its spikes are thrown away.
SILENT: tuple[Part, ...] = ((fires.Binary,), (resets.NoReset,), (surrogates.STE,))


def alike(function: Any, v_threshold: float) -> Part | None:
    """Our surrogate for one of theirs, or None."""
    kind = type(function)
    if kind is activation.SingleExponential:
        alpha = 1 / (v_threshold * function.grad_width)
        return (surrogates.PiecewiseExp, alpha, 2.0 * function.grad_scale) if alpha > 0 else None
    if kind is activation.Gaussian and function.mu == 0 and function.grad_scale == 1 and function.sigma > 0:
        return surrogates.Erf, 1 / (math.sqrt(2) * function.sigma)
    if kind is activation.Heaviside and v_threshold == 1 and function.window > -1e30:
        below = torch.tensor(-float(function.window)).nextafter(torch.tensor(-math.inf))
        return surrogates.Window, below.item(), 1e30
    return None


class Layer(FusedNeuron):
    """What they share: all but the layout."""

    takes_norms = False
    v_mem: Tensor
    i_syn: Any
    recordings: dict[str, Tensor]
    firing_rate: Tensor

    def value(self, name: str) -> float:
        """A number that has no gradient."""
        return self._read(name, getattr(self, name))

    def fire(self, v_threshold: float) -> Part | None:
        """The fire, or None."""
        spike: Any = self.spike_fn
        if spike is activation.SingleSpike:
            return fires.Binary, v_threshold
        most = spike.max_num_spikes_per_bin if isinstance(spike, activation.MaxSpike) else None
        known = spike is activation.MultiSpike or type(spike) is activation.MaxSpike
        fits = most is None or (isinstance(most, int) and 1 <= most <= fires.MOST)
        return (fires.MultiSpike, v_threshold, most or fires.MOST) if known and fits and v_threshold > 0 else None

    def reset(self, v_threshold: float) -> Part | None:
        """The reset, or None."""
        reset: Any = self.reset_fn
        if type(reset) is activation.MembraneReset and reset.reset_value == 0 and self.min_v_mem is None:
            return resets.Hard, 0.0, True
        amount = reset.subtract_value if type(reset) is activation.MembraneSubtract else math.nan
        if amount is None or (isinstance(amount, float | int) and _float32(amount) == v_threshold):
            return (resets.Soft,) if self.min_v_mem is None else (resets.Bounded, self.value('min_v_mem'))
        return None

    def parts(self) -> tuple[Part, ...] | str:
        """Fire, reset and surrogate, or why there are none."""
        for name in ('spike_threshold', 'min_v_mem'):
            number = getattr(self, name)
            if number is not None and (number.numel() != 1 or number.requires_grad):
                return f'{name} must be one number without a gradient, is {_shown(number)}'
        if self.spike_fn is None:
            return SILENT if self.min_v_mem is None else 'min_v_mem of a layer that does not spike'
        theta = self.value('spike_threshold')
        with_numbers = f'with spike_threshold={theta:g}'
        if (fire := self.fire(theta)) is None:
            return f'spike_fn={_shown(self.spike_fn)} {with_numbers} has no kernel'
        if (reset := self.reset(theta)) is None:
            with_numbers += '' if self.min_v_mem is None else f', min_v_mem={self.value("min_v_mem"):g}'
            return f'reset_fn={_shown(self.reset_fn)} {with_numbers} has no kernel'
        if (shape := alike(self.surrogate_grad_fn, theta)) is None:
            return f'surrogate_grad_fn={_shown(self.surrogate_grad_fn)} {with_numbers} has no kernel'
        return fire, reset, shape

    def refusal(self) -> str | None:
        parts = self.parts()
        return parts if isinstance(parts, str) else None

    def forward(self, input_data: Tensor) -> Tensor:
        return self.steps(input_data)

    def steps(self, input_data: Tensor) -> Tensor:
        """What they emit [B, T, ...]; states, recordings and the firing rate are kept as by sinabs."""
        batch, _, *each = input_data.shape
        parts, alpha_syn = self.parts(), self.alpha_syn_calculated
        if isinstance(parts, str) or not self.fits(input_data):
            emitted: Tensor = layers.LIF.forward(self, input_data)
            return emitted
        self.initialise(batch, each)
        x = input_data.transpose(0, 1).float()
        i = None if alpha_syn is None else self.currents(x, alpha_syn)
        alpha: Any = 1.0 if isinstance(self, layers.IAF) else self.alpha_mem_calculated
        s, v, v_seq = self.integrate(
            x if i is None else i, parts, self.v_mem, alpha, 1 - alpha if self.norm_input else 1.0
        )
        emitted = _batch_first(v_seq if parts is SILENT else s)
        recorded = {'v_mem': v_seq} if i is None else {'v_mem': v_seq, 'i_syn': i}
        self.recordings = {name: _batch_first(t.clone()) for name, t in recorded.items() if self.record_states}
        # copies: sinabs detaches states in place, which a view does not allow
        self.v_mem, self.i_syn = v.clone(), None if i is None else i[-1].clone()
        self.firing_rate = emitted.mean()
        return emitted

    def fits(self, x: Tensor) -> bool:
        """Whether kernels take this input, the states and, if there is one for each neuron, the time constants."""
        states = (self.v_mem,) if self.alpha_syn_calculated is None else (self.v_mem, self.i_syn)
        numbers = (self.alpha_mem_calculated, self.alpha_syn_calculated)
        return (
            x.dtype in (torch.float32, torch.float16, torch.bfloat16)
            and all(state.dtype == torch.float32 for state in states)
            and all(number is None or number.numel() == 1 or number.dim() <= x.dim() - 2 for number in numbers)
        )

    def initialise(self, batch: int, each: list[int]) -> None:
        """States for an input of this size, as in sinabs' forward."""
        fitting = self.is_state_initialised() and self.has_trailing_dimension(each)
        if not fitting:
            self.init_state_with_shape((batch, *each))
        elif not self.state_has_shape((batch, *each)):
            self.handle_state_batch_size_mismatch(batch)

    def currents(self, x: Tensor, alpha: Tensor) -> Tensor:
        """i = alpha * (i + x) of all steps, by u = alpha * u + x, of which it is alpha times: the same roundings."""
        first: Tensor = x[:1] + self.i_syn
        return alpha * self.integrate(torch.cat([first, x[1:]]), SILENT, None, alpha, 1.0)[2]

    def integrate(
        self, x: Tensor, parts: tuple[Part, ...], v0: Tensor | None, a: Any, b: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes, the last potential and those of all steps (or, if nobody wants them, again the last) of h = a * v +
        b * x. a, b: numbers, or tensors that fit a step."""
        floats, tensors = self.numbers(a=a, b=b)
        several, each = any(t.numel() > 1 for t in tensors.values()), x.shape[2:]
        if several:
            x, v0 = x.flatten(2), None if v0 is None else v0.flatten(1)
            tensors = {name: t.expand(each).flatten() if t.dim() else t for name, t in tensors.items()}
        plain = not tensors and floats == {'a': 1.0, 'b': 1.0}
        charge: Part = (charges.IF,) if plain else (charges.Affine, floats.get('a', 1.0), floats.get('b', 1.0))
        wanted: dict[str, Any] = {'return_v_seq': parts is SILENT or self.record_states, 'return_state': True}
        found: Any = self.run(x, described(charge, *parts), v0=v0, coefficients=tensors, **wanted)
        s, v, v_seq = (*found, found[-1])[:3]
        return (s.unflatten(-1, each), v.unflatten(-1, each), v_seq.unflatten(-1, each)) if several else (s, v, v_seq)

    def numbers(self, **given: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
        floats, _ = super().numbers(**{n: t for n, t in given.items() if not _computed_on_gpu(t)})
        rest = {name: number for name, number in given.items() if name not in floats}
        return floats, {name: t.reshape(()) if t.numel() == 1 else t for name, t in rest.items()}


def _computed_on_gpu(number: Any) -> bool:
    """Whether reading a number would wait for the GPU, each time."""
    return isinstance(number, Tensor) and number.device.type != 'cpu'


def _float32(number: float) -> float:
    return torch.tensor(float(number)).item()


def _batch_first(t: Tensor) -> Tensor:
    return t.transpose(0, 1).contiguous()


def _shown(thing: Any) -> str:
    if isinstance(thing, Tensor):
        return f'{"learned" if thing.requires_grad else "a tensor"} of shape {tuple(thing.shape)}'
    return thing.__name__ if isinstance(thing, type) else f'{thing}'


class Squeezed(Layer):
    """Input [B * T, ...]."""

    def forward(self, input_data: Tensor) -> Tensor:
        emitted: Tensor = self.squeeze_forward(input_data, self.steps)
        return emitted


class IAF(Layer, layers.IAF): ...


class LIF(Layer, layers.LIF): ...


class ExpLeak(Layer, layers.ExpLeak): ...


class IAFSqueeze(Squeezed, layers.IAFSqueeze): ...


class LIFSqueeze(Squeezed, layers.LIFSqueeze): ...


class ExpLeakSqueeze(Squeezed, layers.ExpLeakSqueeze): ...


NEURONS = (layers.StatefulLayer,)
FUSED = by_original(IAF, LIF, ExpLeak, IAFSqueeze, LIFSqueeze, ExpLeakSqueeze)
