"""snnTorch 1.0: Leaky, Lapicque and Synaptic, step by step, StateLeaky and LinearLeaky, all steps at once.

In float32 all is equal to the bit, but for the last two: a convolution over time there and a recurrence here, which
are equal up to rounding. In half precision potentials are float32, as they are in snnTorch (but for
reset_mechanism="none"), and spikes are float32, as there. `adapters.unroll` runs all steps of a layer in one call.
"""

from types import FunctionType
from typing import Any, ClassVar

import snntorch as snn  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from snnkern import charges, fires, surrogates
from snnkern.adapters._fused import FusedNeuron, Part, by_original, described
from snnkern.functional import multistep
from snnkern.neurons import Neuron
from snnkern.resets import Delayed, Hard, NoReset

SURROGATES = {'atan': surrogates.ATan, 'fast_sigmoid': surrogates.FastSigmoid, 'sigmoid': surrogates.Sigmoid}
MECHANISMS = {'_base_sub': 'subtract', '_base_zero': 'zero', '_base_int': 'none'}


def name_of(function: Any) -> str:
    """The name of a surrogate: of the function in snntorch.surrogate that made it, where one did."""
    name = str(getattr(function, '__qualname__', type(function).__name__))
    made = isinstance(function, FunctionType) and function.__module__ == 'snntorch.surrogate'
    return name.partition('.')[0] if made else f'{name} (not of snntorch.surrogate)'


def alike(function: Any) -> Part | None:
    """Our surrogate for one of theirs, a closure over its slope, or None."""
    name = name_of(function)
    if name == 'straight_through_estimator':
        return (surrogates.STE,)
    if name == 'heaviside':
        return surrogates.LeakyReLU, 1.0, 0.0
    if name not in SURROGATES:
        return None
    slope = float(function.__closure__[0].cell_contents)
    return (SURROGATES[name], slope) if slope > 0 else None


def along(x: Tensor, neuron: Neuron, v0: Tensor, numbers: dict[str, Tensor], trace: bool) -> Any:
    """`multistep` with numbers of any shape that broadcasts to a step: what they vary along becomes one dimension."""
    wanted: dict[str, Any] = {'return_state': True, 'return_v_seq': trace}
    if not numbers:
        return multistep(x, neuron, v0=v0, **wanted)
    numbers = {name: t if t.is_floating_point() else t.float() for name, t in numbers.items()}
    wide = torch.broadcast_shapes(*(t.shape for t in numbers.values()))
    varying = [i for i, n in enumerate(wide, x.dim() - len(wide)) if n > 1]
    if not varying:
        return multistep(x, neuron, v0=v0, coefficients=numbers, **wanted)
    first, last = varying[0], varying[-1]
    size = [n if first <= i <= last else 1 for i, n in enumerate(x.shape)]
    numbers = {name: t.expand(size).reshape(-1) if t.dim() else t for name, t in numbers.items()}
    v0 = v0.flatten(first - x.dim(), last - x.dim())
    found = multistep(x.flatten(first, last), neuron, v0=v0, coefficients=numbers, channel_dim=first, **wanted)
    return tuple(t.unflatten(last - x.dim(), size[first : last + 1]) for t in found)


def kept(state: Tensor) -> Tensor:
    """A state that is no view: snnTorch's detach functions work in place."""
    return state.clone() if state.requires_grad else state.detach()


class Unit(FusedNeuron):
    """What Leaky, Lapicque and Synaptic share: all but the charge.

    states: what they hand from step to step, in the order of their arguments. shaped: numbers that may differ from
    neuron to neuron. The gradient of Sigmoid is 0 far below the threshold, where snnTorch's is inf / inf.
    """

    takes_norms = False  # a norm sees one step there
    mem: Any
    syn: Any
    states: ClassVar[tuple[str, ...]] = ('mem',)
    shaped: ClassVar[tuple[str, ...]] = ('beta', 'threshold')

    def refusal(self) -> str | None:
        if self.inhibition:
            return 'inhibition=True has no kernel'
        if self.state_quant:
            return 'state_quant has no kernel'
        if not self.surrogate_disable and alike(self.spike_grad) is None:
            return f'spike_grad={name_of(self.spike_grad)} has no kernel'
        if self.mechanism() != 'none' and not self.delayed():
            return 'reset_delay=False has no kernel'
        return None if self.mechanism() else 'a state_function of its own has no kernel'

    def mechanism(self) -> str | None:
        """What the reset does: fixed when the module was made, whatever reset_mechanism says since then."""
        return MECHANISMS.get(getattr(self.state_function, '__name__', ''))

    def delayed(self) -> bool:
        return bool(self.reset_delay)

    def charge(self, x: Tensor) -> tuple[Tensor, Part, dict[str, Tensor]]:
        """The input as it charges, the charge and its coefficients."""
        floats, numbers = self.numbers(a=self.beta)
        part = charges.Affine, min(max(floats.get('a', 1.0), 0.0), 1.0)
        return x, part, {name: t.clamp(0, 1) for name, t in numbers.items()}

    @property
    def reset(self) -> Any:
        """1 where the last call found the potential above the threshold. Computed when asked for, as nobody does."""
        before = vars(self).get('_snnkern_before')
        if before is not None:
            return self.mem_reset(before)
        return vars(self)['reset'] if 'reset' in vars(self) else super().__getattr__('reset')

    @reset.setter
    def reset(self, value: Tensor) -> None:
        vars(self).update(reset=value, _snnkern_before=None)

    def forward(self, input_: Tensor, mem: Any = None) -> Any:
        return self.step(input_, mem)

    def step(self, x: Tensor, *given: Any) -> Any:
        """One call with states given or None."""
        if not self.begin(x, given):
            return self.original().forward(self, x, *given)
        s, _ = self.advance(x.unsqueeze(0), False)
        return self.answer(s[0], *(getattr(self, name) for name in self.states))

    def many(self, x: Tensor, *given: Any, trace: bool = True) -> Any:
        """As many calls as x [T, ...] has steps in one: see `adapters.unroll`."""
        if not self.begin(x[0], given):
            return NotImplemented
        start = [getattr(self, name) for name in self.states]
        s, v_seq = self.advance(x, trace)
        return self.answer(s, *(self.traces(x, start, v_seq) if trace else [None] * len(start)))

    def answer(self, s: Tensor, *states: Any) -> Any:
        """What forward returns, as the options say."""
        return s if self.init_hidden and not self.output else (s, *states)

    def begin(self, x: Tensor, given: tuple[Any, ...]) -> bool:
        """Take the states given and start those anew that do not fit x; False where the library's own forward runs."""
        if self.refusal() or not x.is_floating_point() or (self.init_hidden and any(g is not None for g in given)):
            return False
        for name in self.shaped:
            shape = getattr(self, name).shape
            if len(shape) and torch.broadcast_shapes(shape, x.shape) != x.shape:
                return False
        for name, value in zip(self.states, given, strict=False):
            if value is not None:
                self._buffers[name] = value
        for name in self.states:
            if getattr(self, name).shape != x.shape:
                self._buffers[name] = torch.zeros_like(x)
        return True

    def advance(self, x: Tensor, trace: bool) -> tuple[Tensor, Any]:
        """Spikes of x [T, ...] and, with trace, potentials [T, ...]; the states become those after the last step.

        "zero" returns the potential before its reset, which is the next call's to do.
        """
        mechanism, T = self.mechanism(), len(x)
        zero = mechanism == 'zero'
        before, start = self.mem.detach(), self.mem
        if zero:
            self.mem = start = start.masked_fill(start > self.threshold, 0.0)
        reset: Part = (Hard, 0.0, True)
        if mechanism == 'none' or (zero and T == 1):
            reset = (NoReset,)
        elif mechanism == 'subtract':
            reset = Delayed, True
        s, v_seq = self.launch(x, reset, trace or (zero and T > 1))
        if zero and T > 1:
            v_seq = self.beta.clamp(0, 1) * torch.cat([start.unsqueeze(0), v_seq[:-1]]) + x
            self.mem = kept(v_seq[-1])
        if T > 1:
            vars(self).pop('reset', None)
            before = None if v_seq is None else v_seq[-2].detach()
        self._snnkern_before = before
        return s, v_seq

    def launch(self, x: Tensor, reset: Part, trace: bool) -> tuple[Tensor, Any]:
        """The kernel: spikes as snnTorch grades them, and potentials with trace; the states are moved on."""
        x, charge, numbers = self.charge(x)
        floats, learned = self.numbers(v_threshold=self.threshold, factor=self.graded_spikes_factor)
        factor = learned.pop('factor', None)
        surrogate = (surrogates.STE,) if self.surrogate_disable else alike(self.spike_grad)
        fire = fires.Binary, floats.get('v_threshold', 1.0), False, True
        neuron = described(charge, fire, reset, surrogate or (surrogates.STE,))
        v0 = self.mem if len(self.states) == 1 else torch.stack([self.mem, self.syn])
        s, last, *v_seq = along(x, neuron, v0, {**numbers, **learned}, trace)
        if len(self.states) == 1:
            self._buffers['mem'] = kept(last)
        else:
            self.mem, self.syn = map(kept, last.unbind())
        s = s.detach().float() if self.surrogate_disable else s.float()
        if factor is not None or floats['factor'] != 1:
            s = s * self.graded_spikes_factor
        return s, v_seq[0] if trace else None

    def traces(self, x: Tensor, start: list[Tensor], v_seq: Any) -> tuple[Any, ...]:
        """The states after each step."""
        return (v_seq,)


class Leaky(Unit, snn.Leaky):
    pass


class Lapicque(Unit, snn.Lapicque):
    shaped = 'R', 'C', 'time_step', 'threshold'

    def delayed(self) -> bool:
        return True

    def refusal(self) -> str | None:
        dropping = 'reset_mechanism="zero", which drops an input too, has no kernel'
        return dropping if self.mechanism() == 'zero' else super().refusal()

    def charge(self, x: Tensor) -> tuple[Tensor, Part, dict[str, Tensor]]:
        floats, _ = self.numbers(R=self.R, time_step=self.time_step)
        rate = 1 / (self.R * self.C)
        numbers = {'a': 1 - self.time_step / (self.R * self.C)}
        if floats == {'R': 1, 'time_step': 1}:
            numbers['b'] = rate
        else:  # their order of products
            x = x * self.R * rate * self.time_step
        return x, (charges.Affine, 1.0), {name: t.reshape(()) if t.numel() == 1 else t for name, t in numbers.items()}


class Synaptic(Unit, snn.Synaptic):
    states = 'syn', 'mem'

    def refusal(self) -> str | None:
        if self.mechanism() == 'zero':
            return Lapicque.refusal(self)  # type: ignore[arg-type]
        if self.alpha.requires_grad or self.alpha.numel() != 1:
            return 'an alpha that is learned or one per neuron has no kernel'
        if torch.compiler.is_compiling():
            return 'torch.compile would wait for the value of alpha'
        return super().refusal()

    def forward(self, input_: Tensor, syn: Any = None, mem: Any = None) -> Any:  # type: ignore[override]
        return self.step(input_, syn, mem)

    def decay(self) -> float:
        return min(max(self.numbers(alpha=self.alpha)[0]['alpha'], 0.0), 1.0)

    def charge(self, x: Tensor) -> tuple[Tensor, Part, dict[str, Tensor]]:
        x, (_, a), numbers = super().charge(x)
        return x, (charges.Synaptic, a, 1.0, 0.0, self.decay()), numbers

    def traces(self, x: Tensor, start: list[Tensor], v_seq: Any) -> tuple[Any, ...]:
        current = described((charges.Affine, self.decay()), (fires.Binary,), (NoReset,), (surrogates.STE,))
        return multistep(x, current, v0=start[0], return_v_seq=True)[1], v_seq


class StateLeaky(FusedNeuron, snn.StateLeaky):
    takes_norms = False

    def refusal(self) -> str | None:
        truncated = 'kernel_truncation_steps has no kernel'
        return None if self.kernel_truncation_steps is None else truncated

    def _base_state_function(self, input_: Tensor) -> Tensor:
        if self.refusal() or input_.dim() != 3:
            return self.original()._base_state_function(self, input_)
        neuron = described((charges.Affine, 1.0), (fires.Binary,), (NoReset,), (surrogates.STE,))
        a = torch.exp(-1 / self.tau)
        return multistep(input_, neuron, coefficients={'a': a}, return_v_seq=True)[1]


class LinearLeaky(FusedNeuron, snn.LinearLeaky):
    takes_norms = False
    refusal = StateLeaky.refusal
    _base_state_function = StateLeaky._base_state_function


def copied(module: nn.Module) -> None:
    """A copy resets with the others: snnTorch's reset functions know the neurons that were constructed."""
    if isinstance(module, snn.SpikingNeuron):
        snn.SpikingNeuron.instances.append(module)


NEURONS = snn.SpikingNeuron, snn.LeakyParallel
FUSED = by_original(Leaky, Lapicque, Synaptic, StateLeaky, LinearLeaky)
