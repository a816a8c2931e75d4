"""Parts of a network that run in torch, between steps that run by events."""

import copy
from typing import TYPE_CHECKING

from torch import Tensor, fx, nn

from snnkern.convert import graph
from snnkern.convert.coding import PoissonInput
from snnkern.convert.layers import Spiking, Timed
from snnkern.engine.plan import Dense, PlanError
from snnkern.engine.values import Map, UnsupportedError
from snnkern.nn.state import Stateful

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk


class Folded(Timed):
    """A call as the network makes it, as one of [T * B, ...].

    samples: shapes of one sample of its inputs; apart: which of them have T and B apart in the network; out: whether
    its output has. once: whether it reads the first step alone.
    """

    def __init__(
        self, call: nn.Module, samples: list[tuple[int, ...]], apart: list[bool], out: bool, once: bool = False
    ) -> None:
        super().__init__()
        self.call, self.samples, self.apart, self.out, self.once = call, samples, apart, out, once
        for module in call.modules():
            if isinstance(module, Timed):
                module.clock = self.clock

    def forward(self, *inputs: Tensor) -> Tensor:
        """The result [T * B, ...] of inputs of that form."""
        given = []
        for x, sample, apart in zip(inputs, self.samples, self.apart, strict=True):
            x = x.reshape(len(x), *sample)
            given.append(self.unfold(x)[0] if self.once else self.unfold(x) if apart else x)
        found = self.call(*given)
        return found.flatten(0, 1) if self.out else found

    def reset(self) -> None:
        """Forget the state, the call's too."""
        for module in self.call.modules():
            if isinstance(module, Timed | Stateful):
                module.reset()


def dense(walk: 'Walk', node: fx.Node, why: str) -> Map:
    """A step in torch for a call, and what it gives. Raises PlanError where even that cannot be."""
    inputs = [before for before in node.all_input_nodes if before.op != 'get_attr']
    try:
        sources = tuple(walk.made.hold(f'{n.name}.currents', walk.mapped(walk.values[n])) for n in inputs)
        samples, apart = [walk.sample(n) for n in inputs], [walk.apart(n) for n in inputs]
        target = walk.made.slot(node.name, 'currents', walk.sample(node))
    except UnsupportedError as error:
        raise PlanError(f'{graph.where(walk.net, node)} can be run neither by events nor in torch: {error}') from error
    module = walk.module(node)
    once = isinstance(module, PoissonInput) or (isinstance(module, Spiking) and module.constant_input)
    call = Folded(_alone(walk, node, inputs), samples, apart, walk.apart(node), once)
    walk.made.steps.append(Dense(graph.describe(walk.net, node), target, sources, call, why))
    return walk.made.map(target)


def _alone(walk: 'Walk', node: fx.Node, inputs: list[fx.Node]) -> nn.Module:
    """One call as a graph of its own, with modules of its own."""
    alone = fx.Graph()
    given = {before: alone.placeholder(before.name) for before in inputs}
    alone.output(alone.node_copy(node, lambda before: given.get(before) or alone.node_copy(before)))
    return copy.deepcopy(fx.GraphModule(walk.net, alone))
