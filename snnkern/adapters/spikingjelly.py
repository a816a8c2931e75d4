"""SpikingJelly 2.0: IF, LIF and parametric LIF nodes and their relatives, with BatchNorms, scalers and max-pools.

Single steps, multi-step calls, stored potentials and functional calls with explicit states all run on kernels. States
are float32 for half-precision inputs, too, where SpikingJelly's have the dtype of the input; in float32 all is equal.
"""

from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from spikingjelly.activation_based.ann2snn import modules as scalers
from torch import Tensor, nn

from snnkern import charges, fires, surrogates
from snnkern.adapters import _fused
from snnkern.adapters._fused import FusedNeuron, FusedNorm, Part, by_original, cached, described
from snnkern.functional import multistep
from snnkern.neurons import Neuron
from snnkern.resets import Hard, Soft

SURROGATES = {
    surrogate.ATan: surrogates.ATan,
    surrogate.Sigmoid: surrogates.Sigmoid,
    surrogate.SoftSign: surrogates.SoftSign,
    surrogate.SuperSpike: surrogates.SuperSpike,
    surrogate.Erf: surrogates.Erf,
    surrogate.PiecewiseExp: surrogates.PiecewiseExp,
    surrogate.PiecewiseQuadratic: surrogates.Triangle,
}


def alike(function: Any) -> Part | None:
    """Our surrogate for one of theirs, or None."""
    kind = type(function)
    if kind is surrogate.DeterministicPass:
        return (surrogates.STE,)
    if kind is surrogate.Rect and function.alpha == 1:
        return surrogates.Rectangle, 2.0
    if kind is surrogate.LeakyKReLU:
        return surrogates.LeakyReLU, float(function.k), float(function.leak)
    return (SURROGATES[kind], float(function.alpha)) if kind in SURROGATES else None


class Node(FusedNeuron):
    """What the nodes share: all but the charge and the fire."""

    def charge(self) -> Part:
        return (charges.IF,)

    def fire(self) -> Part:
        return fires.Binary, self.v_threshold

    def shape(self) -> Part | None:
        """The surrogate."""
        return alike(self.surrogate_function)

    def learned(self) -> dict[str, Tensor]:
        """Numbers with a gradient."""
        return {}

    def refusal(self) -> str | None:
        function: Any = self.surrogate_function
        if self.shape() is None:
            return f'surrogate_function={type(function).__name__} has no kernel'
        if not function.spiking:
            return 'surrogate_function(spiking=False) emits no spikes'
        return 'an explicit precision of SpikingJelly' if self._neuron_precision is not None else None

    def left(self, x: Tensor) -> bool:
        """Whether SpikingJelly's own code runs for x."""
        return self.refusal() is not None or not x.is_floating_point()

    def v_start(self) -> float:
        """The potential of a neuron whose state does not fit the input, which SpikingJelly forgets."""
        return self.v_reset or 0.0

    def initial(self, x: Tensor, v: Any) -> Any:
        """A potential as `multistep` takes it."""
        if not isinstance(v, Tensor):
            return None if v == (self.v_reset or 0.0) else v
        return v.to(x.device) if v.shape == x.shape[1:] else self.v_start()

    def states(self, x: Tensor, states: Any) -> Any:
        """The memories of the node as initial states for x [T, ...]."""
        return self.initial(x, states[0])

    def steps(self, x: Tensor, states: Any, trace: bool = False) -> tuple[Tensor, Any, Tensor | None]:
        """Spikes, the memories after the last step and, with trace, all potentials of x [T, ...]."""
        detach = bool(self.detach_reset)
        reset = (Soft, detach) if self.v_reset is None else (Hard, self.v_reset, detach)
        own = described(self.charge(), self.fire(), reset, self.shape())
        wanted = {'coefficients': self.learned(), 'return_state': True, 'return_v_seq': trace}
        s, last, *v_seq = self.run(x, own, v0=self.states(x, states), **wanted)
        return s, (last,) if len(own.states) == 1 else tuple(last), v_seq[0] if trace else None

    def multi_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        if self.left(inputs[0]):
            return self.original().multi_step_functional_forward(self, inputs, states, **kwargs)
        s, after, _ = self.steps(inputs[0], states)
        return (s,), after

    def single_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        if self.left(inputs[0]):
            return self.original().single_step_functional_forward(self, inputs, states, **kwargs)
        s, after, _ = self.steps(inputs[0].unsqueeze(0), states)
        return (s[0],), after

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> Any:
        """A number stays one: no tensor is made of it."""
        return self.original().materialize_states(self, inputs, states, step_mode) if self.left(inputs[0]) else states

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.left(x_seq):
            return self.original().multi_step_forward(self, x_seq, *args, **kwargs)
        return self.advance(x_seq)

    def many(self, x: Tensor, *, trace: bool = True) -> Any:
        """As many single steps as x [T, ...] has: see `adapters.unroll`."""
        return NotImplemented if self.step_mode != 's' or self.left(x) or self.store_v_seq else self.advance(x)

    def advance(self, x_seq: Tensor) -> Tensor:
        """Spikes of all steps; the memories become those after the last one."""
        memories = self._memories
        s, after, self.v_seq = self.steps(x_seq, tuple(memories.values()), self.store_v_seq)
        memories.update(zip(memories, after, strict=True))
        return s

    def detach(self) -> None:
        """Potentials are views of the kernel's states, which cannot be detached in place."""
        self._memories.update({k: v.detach() for k, v in self._memories.items() if isinstance(v, Tensor)})
        if isinstance(self.v_seq, Tensor):
            self.v_seq = self.v_seq.detach()


class IFNode(Node, neuron.IFNode):
    pass


class HalfThresholdIFNode(Node, neuron.HalfThresholdIFNode):
    def v_start(self) -> float:
        return self.v_threshold / 2


class TernaryIFNode(Node, neuron.TernaryIFNode):
    def fire(self) -> Part:
        return fires.Ternary, self.v_threshold


class LIFNode(Node, neuron.LIFNode):
    def charge(self) -> Part:
        return charges.LIF, self.tau, self.v_reset or 0.0, self.decay_input


class TernaryLIFNode(Node, neuron.TernaryLIFNode):
    charge = LIFNode.charge
    fire = TernaryIFNode.fire


class ILIFNode(Node, neuron.ILIFNode):
    def charge(self) -> Part:
        """With many steps SpikingJelly multiplies by the decay, with one it subtracts the leak."""
        return (charges.Affine, 1 - 1 / self.tau) if self.step_mode == 'm' else LIFNode.charge(self)

    def fire(self) -> Part:
        return fires.Integer, self.v_threshold, self.surrogate_function.max_spike_count

    def shape(self) -> Part | None:
        f: Any = self.surrogate_function
        fits = type(f) is surrogate.MultiLevelSpikeCount and (f.grad_min, f.grad_max) == (0, f.max_spike_count)
        return (surrogates.Rectangle, 2.0) if fits and self.v_threshold == 1 else None


class ParametricLIFNode(Node, neuron.ParametricLIFNode):
    def charge(self) -> Part:
        return charges.PLIF, 0.5, self.v_reset or 0.0, self.decay_input

    def learned(self) -> dict[str, Tensor]:
        return {'k': self.w.sigmoid()}


class CUBALIFNode(Node, neuron.CUBALIFNode):
    takes_norms = False  # they reach the current, not the potential

    def charge(self) -> Part:
        return charges.Synaptic, self.v_decay, 1.0, 0.0, self.c_decay

    def states(self, x: Tensor, states: Any) -> Any:
        if not any(isinstance(state, Tensor) for state in states):
            return self.initial(x, states[0])
        found = [self.initial(x, states[0]), states[1] if getattr(states[1], 'shape', None) == x.shape[1:] else 0.0]
        like = next(state for state in states if isinstance(state, Tensor))
        return torch.stack([s if isinstance(s, Tensor) else torch.full_like(like, s or 0.0) for s in found])


@cached
def scaled(own: Neuron, b: float) -> Neuron:
    """An integrate-and-fire neuron that multiplies its input first."""
    return Neuron(charges.Affine(1.0, b), own.fire, own.reset, own.surrogate)


class VoltageScaler(FusedNorm, scalers.VoltageScaler):
    """The factor before the neurons of a converted network becomes a part of their charge."""

    channel_dim = 1

    def channels(self) -> int:
        if self.channel_dim < 0:
            return 1
        return self.channel_dim + (1 if self.step_mode == 'm' else 0)

    def pays(self, x: Tensor) -> bool:
        return True

    def run(self, x: Tensor, neuron: Neuron, **wanted: Any) -> Any:
        if type(neuron.charge) is not charges.IF:
            return multistep(self.original().forward(self, x), neuron, **wanted)
        floats, tensors = self.numbers(b=self.scale)
        wanted['coefficients'] = {**wanted['coefficients'], **tensors}
        return multistep(x, scaled(neuron, floats.get('b', 1.0)), **wanted)


class ChannelVoltageScaler(FusedNorm, scalers.ChannelVoltageScaler):
    channels = VoltageScaler.channels
    pays = VoltageScaler.pays
    run = VoltageScaler.run


class TemporalNorm(FusedNorm):
    def factor(self) -> Tensor:
        return self.scale


class BatchNorm1d(FusedNorm, layer.BatchNorm1d): ...


class BatchNorm2d(FusedNorm, layer.BatchNorm2d): ...


class BatchNorm3d(FusedNorm, layer.BatchNorm3d): ...


class ThresholdDependentBatchNorm1d(FusedNorm, layer.ThresholdDependentBatchNorm1d): ...


class ThresholdDependentBatchNorm2d(FusedNorm, layer.ThresholdDependentBatchNorm2d): ...


class ThresholdDependentBatchNorm3d(FusedNorm, layer.ThresholdDependentBatchNorm3d): ...


class TemporalEffectiveBatchNorm1d(TemporalNorm, layer.TemporalEffectiveBatchNorm1d): ...


class TemporalEffectiveBatchNorm2d(TemporalNorm, layer.TemporalEffectiveBatchNorm2d): ...


class TemporalEffectiveBatchNorm3d(TemporalNorm, layer.TemporalEffectiveBatchNorm3d): ...


class MaxPool2d(_fused.MaxPool2d, layer.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        if self.step_mode == 's':
            return super().forward(x)
        fits = x.dim() == 5 and not self.refusal()
        return self.pooled(x) if fits else layer.MaxPool2d.forward(self, x)


NEURONS = tuple(kind for kind in vars(neuron).values() if isinstance(kind, type) and issubclass(kind, nn.Module))
FUSED = by_original(
    IFNode,
    HalfThresholdIFNode,
    TernaryIFNode,
    LIFNode,
    TernaryLIFNode,
    ILIFNode,
    ParametricLIFNode,
    CUBALIFNode,
)
POOLS = by_original(_fused.MaxPool2d, MaxPool2d)
NORMS = by_original(
    _fused.BatchNorm1d,
    _fused.BatchNorm2d,
    _fused.BatchNorm3d,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    ThresholdDependentBatchNorm1d,
    ThresholdDependentBatchNorm2d,
    ThresholdDependentBatchNorm3d,
    TemporalEffectiveBatchNorm1d,
    TemporalEffectiveBatchNorm2d,
    TemporalEffectiveBatchNorm3d,
    VoltageScaler,
    ChannelVoltageScaler,
)
CONTAINERS = (layer.SeqToANNContainer,)
