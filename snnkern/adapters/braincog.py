"""BrainCog 0.2.7: its binary integrate-and-fire nodes in all three layouts, SNode of converted networks, BatchNorms.

One call runs one step, or all of "(t b) c h w" (layer_by_layer) or "b (c t) h w" (n_groups). Spikes have the dtype of
the input, where BrainCog's are float32 for half precision, too; potentials are float32. In float32 all is equal to the
bit, but for BiasPLIFNode, dt != 1 and a tau with a gradient: there the order of operations is another.
"""

from typing import Any, ClassVar

import torch
from braincog.base.connection import layer
from braincog.base.conversion import convertor
from braincog.base.node import node
from braincog.base.strategy import surrogate
from torch import Tensor

from snnkern import charges, fires, surrogates
from snnkern.adapters import _fused
from snnkern.adapters._fused import FusedNeuron, FusedNorm, Part, by_original, described
from snnkern.resets import Hard, NoReset, Soft

# Theirs -> ours, whether they compare by > (or >=), and alpha where it is no parameter of theirs.
SURROGATES: dict[type, tuple[Any, bool, Any]] = {
    surrogate.AtanGrad: (surrogates.ATan, True, None),
    surrogate.SigmoidGrad: (surrogates.Sigmoid, False, None),
    surrogate.GateGrad: (surrogates.Rectangle, True, None),
    surrogate.QGateGrad: (surrogates.Triangle, True, None),
    surrogate.ReLUGrad: (surrogates.LeakyReLU, False, None),
    surrogate.STDPGrad: (surrogates.LeakyReLU, True, 1.0),
    surrogate.BackEIGateGrad: (surrogates.Rectangle, True, 2.0),
}
# floor has no derivative: spikes of SNode have none either.
FLAT = surrogates.Window, 1e30, 2e30

Charge = tuple[Part, dict[str, Tensor]]  # a charge and its numbers that are tensors


def potential(mem: Any, x: Tensor) -> Tensor | float | None:
    """The potential of a node as `multistep` takes it; BrainCog broadcasts one of another shape."""
    if isinstance(mem, Tensor):
        return mem if mem.shape == x.shape[1:] else mem.expand(x.shape[1:])
    return float(mem) or None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def now(tensor: Tensor) -> float:
    """A number as it is while torch.compile traces."""
    return float(tensor.detach())


class Node(FusedNeuron):
    """What the nodes share: all but the charge."""

    mem: Any
    spike: Any

    def charge(self) -> Charge:
        raise NotImplementedError

    def theta(self) -> Tensor:
        return self.get_thres()  # type: ignore[no-any-return]

    def joins(self) -> bool:
        return bool(self.groups == 1)  # else its channels are those of all steps

    def refusal(self) -> str | None:
        kind = type(self.act_fun)
        if kind not in SURROGATES:
            return f'act_fun={kind.__name__} has no kernel'
        numbers = (*self._parameters.items(), ('tau', self.__dict__.get('tau')))
        several = [name for name, value in numbers if isinstance(value, Tensor) and value.numel() != 1]
        return f'{several[0]} is more than one number' if several else None

    def steepness(self, alpha: Tensor) -> float:
        """An alpha that nobody learns."""
        return now(alpha) if torch.compiler.is_compiling() else self._read('alpha', alpha)

    def parts(self) -> tuple[list[Part], dict[str, Tensor]]:
        """Charge, fire, reset and surrogate, and the coefficients."""
        kind, strict, alpha = SURROGATES[type(self.act_fun)]
        if alpha is None:
            own = self.act_fun.alpha
            alpha = own if kind.learns_alpha else self.steepness(own)
        charge, rows = self.charge()
        floats, tensors = self.numbers(v_threshold=self.theta(), alpha=alpha)
        rows |= {name: row if row.is_floating_point() else row.float() for name, row in tensors.items()}
        reset = Hard, 0.0, True, bool(self.mem_detach)
        fire = fires.Binary, floats.get('v_threshold', 1.0), False, strict
        return [charge, fire, reset, (kind, floats.get('alpha', 1.0))], rows

    def steps(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] of x [T, ...]; potentials are kept as BrainCog keeps them."""
        parts, rows = self.parts()
        v0 = potential(self.mem, x)
        if isinstance(v0, Tensor) and parts[2][-1]:
            v0 = v0.detach()
        trace = self.requires_mem is True
        wanted = {'coefficients': rows, 'return_state': True, 'return_v_seq': trace}
        s, self.mem, *v_seq = self.run(x, described(*parts), v0=v0, **wanted)
        for potentials in v_seq:
            self.mem_collect.extend(potentials.unbind(0))
        return s  # type: ignore[no-any-return]

    def forward(self, inputs: Tensor) -> Any:
        if self.refusal():
            return self.original().forward(self, inputs)
        if not inputs.is_floating_point():  # bits of a recording
            inputs = inputs.float()
        together = self.layer_by_layer or self.groups != 1
        s = self.steps(self.rearrange2node(inputs) if together else inputs.unsqueeze(0))
        # What is kept is a copy of the output, which others may change in place; one step's own output is kept itself.
        if self.requires_fp is True:
            self.feature_map.extend((s.clone() if together else s).unbind(0))
        self.spike = s[-1].clone() if together else s[0]
        return self.rearrange2op(s) if together else self.spike


def leaky(neuron: Node, dt: float = 1.0, c: float = 0.0) -> Charge:
    """v + (x - v) / tau * dt + c."""
    floats, tensors = neuron.numbers(tau=neuron.tau)
    if tensors:
        return (charges.PLIF, 0.5, 0.0, True, c), {'k': dt / tensors['tau']}
    tau = floats['tau']
    return ((charges.LIF, tau, 0.0, True, c) if dt == 1 else (charges.PLIF, dt / tau, 0.0, True, c)), {}


def learned(neuron: Node, c: float = 0.0) -> Charge:
    """v + (x - v) * sigmoid(w) * dt + c."""
    k = neuron.w.sigmoid()
    return (charges.PLIF, 0.5, 0.0, True, c), {'k': k if neuron.dt == 1 else k * neuron.dt}


class IFNode(Node, node.IFNode):
    def charge(self) -> Charge:
        return ((charges.IF,) if self.dt == 1 else (charges.Affine, 1.0, float(self.dt))), {}


class LIFNode(Node, node.LIFNode):
    def charge(self) -> Charge:
        return leaky(self)

    def theta(self) -> Tensor:
        return self.threshold  # type: ignore[no-any-return]


class BiasLIFNode(Node, node.BiasLIFNode):
    def charge(self) -> Charge:
        return leaky(self, float(self.dt), 0.1)


class PLIFNode(Node, node.PLIFNode):
    def charge(self) -> Charge:
        return learned(self)


class BiasPLIFNode(Node, node.BiasPLIFNode):
    def charge(self) -> Charge:
        return learned(self, 0.1 * float(self.dt))


class LIFSTDPNode(Node, node.LIFSTDPNode):
    theta = LIFNode.theta

    def charge(self) -> Charge:
        floats, tensors = self.numbers(a=self.tau)
        return (charges.Affine, floats.get('a', 1.0)), tensors


class OnlineLIFNode(Node, node.OnlineLIFNode):
    """It emits the very first spikes behind those of every step, and no gradient reaches the step before."""

    init: bool
    rate_tracking: Any

    charge = LIFNode.charge
    theta = LIFNode.theta

    def parts(self) -> tuple[list[Part], dict[str, Tensor]]:
        (charge, fire, _, shape), rows = super().parts()
        return [charge, fire, (Hard, 0.0, True, True), shape], rows

    def steps(self, x: Tensor) -> Tensor:
        if self.init is True:
            self.mem, self.init = 0.0, False
        s = super().steps(x)
        if self.rate_tracking is None:
            self.rate_tracking = s[0].detach().clone()
        return torch.cat([s, self.rate_tracking.expand(len(s), *self.rate_tracking.shape)], 1)


class SNode(FusedNeuron, convertor.SNode):
    """The neuron of the Convertor. Without soft_mode it never resets, as in BrainCog."""

    takes_norms: ClassVar[bool] = False
    mem: Any

    def refusal(self) -> str | None:
        limit: Any = self.gamma
        if not 1 <= limit <= fires.MOST or int(limit) != limit:
            return f'gamma={limit} is no whole number of spikes'
        return None if self.threshold > 0 else f'threshold={self.threshold} is not positive'

    def forward(self, x: Tensor) -> Any:
        if self.refusal():
            return self.original().forward(self, x)
        reset: Part = (Soft, True) if self.soft_mode else (NoReset,)
        own = described((charges.IF,), (fires.Burst, float(self.threshold), int(self.gamma)), reset, FLAT)
        x = x.unsqueeze(0)
        s, self.mem = self.run(x, own, v0=potential(self.mem, x), return_state=True)
        self.spike = s[0]
        return self.spike


class ThresholdDependentBatchNorm2d(FusedNorm, layer.ThresholdDependentBatchNorm2d): ...


NEURONS = node.BaseNode, node.BaseMCNode, convertor.SNode
FUSED = by_original(
    IFNode,
    LIFNode,
    BiasLIFNode,
    PLIFNode,
    BiasPLIFNode,
    LIFSTDPNode,
    OnlineLIFNode,
    SNode,
)
NORMS = by_original(_fused.BatchNorm1d, _fused.BatchNorm2d, ThresholdDependentBatchNorm2d)
LEFT: dict[type, str] = {
    node.ReLUNode: 'it emits no spikes',
    node.BiasReLUNode: 'it emits no spikes',
    node.BurstLIFNode: 'its potential turns negative after a burst',
    node.BackEINode: 'convolutions of its own spikes and potentials feed back',
    node.NoiseLIFNode: 'it draws noise at every step',
    node.NoisePLIFNode: 'it draws noise at every step',
    node.DoubleSidePLIFNode: 'BrainCog itself raises TypeError: it subtracts from a method',
    node.DGLIFNode: 'it emits potentials, not spikes',
    node.HTDGLIFNode: 'it emits potentials, not spikes',
    node.LIAFNode: 'it emits potentials, not spikes',
    node.IzhNode: 'a quadratic charge and a recovery variable',
    node.IzhNodeMU: 'a quadratic charge and a recovery variable',
    node.CTIzhNode: 'a quadratic charge and a recovery variable',
    node.SimHHNode: 'Hodgkin-Huxley: three gating variables',
    node.HHNode: 'Hodgkin-Huxley: three gating variables',
    node.aEIF: 'an exponential charge',
    node.adth: 'it has no forward',
    node.ThreeCompNode: 'three compartments',
}
