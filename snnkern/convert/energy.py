"""Operations and energy of a converted network beside those of the network that it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from snnkern.convert import affine, graph
from snnkern.convert.counting import EMITTING
from snnkern.convert.layers import Analogue

if TYPE_CHECKING:
    from snnkern.convert.network import SNN

# Picojoules of a 32-bit float multiply-accumulate (3.7 + 0.9) and of an addition in 45 nm CMOS: Horowitz, "Computing's
# energy problem", ISSCC 2014.
PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
# How many outputs of each dimension one value reaches, in units of the scale.
REACH = {'nearest': 1, 'nearest-exact': 1, 'area': 1, 'linear': 2, 'bilinear': 2, 'trilinear': 2, 'bicubic': 4}
SPREADING = frozenset(
    ('chunk', 'split', 'narrow', 'select', 'getitem', 'unbind', 'expand', 'expand_as', 'repeat', 'repeat_interleave')
)
FIRST_ONLY = frozenset(('expand_as', 'view_as', 'type_as'))


@dataclass(frozen=True)
class Energy:
    """Operations of one input in T steps, and their energy. ann_macs: of the original network; macs: of the SNN, for
    what is no spikes (the first layer, once, unless its input is coded as spikes; analogue parts, every step); synops:
    additions that spikes cause.

    Only weights count (convolutions, linear layers, products); biases, neurons, memory and data movement do not.
    """

    ann_macs: float
    macs: float
    synops: float

    @property
    def ann(self) -> float:
        """pJ of the original network."""
        return PJ_PER_MAC * self.ann_macs

    @property
    def snn(self) -> float:
        """pJ of the SNN."""
        return PJ_PER_MAC * self.macs + PJ_PER_AC * self.synops

    @property
    def ratio(self) -> float:
        """How many times less the SNN takes."""
        return self.ann / self.snn if self.snn else float('inf')

    def as_dict(self) -> dict[str, float]:
        """All numbers, energies in pJ."""
        names = ('ann_macs', 'macs', 'synops', 'ann', 'snn', 'ratio')
        return {name: getattr(self, name) for name in names}


@dataclass
class Feed:
    """What a value is made of. spikes: events that reach it by spike of each layer; analogue: something that is no
    spikes and differs from step to step; constant: something that is the same at every step."""

    spikes: dict[str, float] = field(default_factory=dict)
    analogue: bool = False
    constant: bool = False

    def add(self, other: 'Feed', events: float = 1.0) -> None:
        """Join another value, each event of which passes on as so many."""
        for name, count in other.spikes.items():
            self.spikes[name] = self.spikes.get(name, 0.0) + events * count
        self.analogue |= other.analogue
        self.constant |= other.constant


@dataclass(frozen=True)
class Work:
    """One weight layer: multiply-accumulates of one input and step, values that it reads, what feeds it."""

    name: str
    macs: float
    size: int
    feed: Feed

    @property
    def fan_out(self) -> float:
        """Additions that one event causes, on the mean: at the border of an image it is fewer."""
        return self.macs / self.size

    def synops(self, spikes: Mapping[str, float]) -> float:
        """Additions for so many spikes of each layer."""
        return 0.0 if self.feed.analogue else self.fan_out * sum(n * spikes[f] for f, n in self.feed.spikes.items())

    def total_macs(self, T: int) -> float:
        """Multiply-accumulates of T steps: what varies is computed at each, what is constant once."""
        return self.macs * (T if self.feed.analogue else self.feed.constant)


@dataclass(frozen=True)
class Operations:
    """The weight layers of a network: `stem` multiply-accumulates before the first neuron, `layers` behind it."""

    stem: float
    layers: tuple[Work, ...]

    def energy(self, T: int, spikes: Mapping[str, float]) -> Energy:
        """Of one input that caused so many spikes of each layer in T steps."""
        return Energy(
            ann_macs=self.stem + sum(work.macs for work in self.layers),
            macs=self.stem + sum(work.total_macs(T) for work in self.layers),
            synops=sum(work.synops(spikes) for work in self.layers),
        )


class Measuring(fx.Interpreter):
    """Runs a graph on one input and notes the multiply-accumulates, the size and the dimensions of every call."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.macs: dict[fx.Node, float] = {}
        self.sizes: dict[fx.Node, int] = {}
        self.ranks: dict[fx.Node, int] = {}
        from torch.utils.flop_counter import FlopCounterMode  # imports triton, which `import snnkern` must not

        self.counter = FlopCounterMode(display=False)

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        value = super().run_node(n)
        self.macs[n] = (self.counter.get_total_flops() - before) / 2
        parts = [part for part in pytree.tree_leaves(value) if isinstance(part, Tensor)]
        self.sizes[n] = sum(part.numel() for part in parts)
        self.ranks[n] = parts[0].dim() if parts else 0
        return value

    def measure(self, *inputs: Any) -> Any:
        """The outputs for these inputs."""
        with self.counter:
            return self.run(*inputs)


@torch.no_grad()
def operations(snn: 'SNN', *inputs: Tensor) -> Operations | None:
    """The weight layers of a network, measured on inputs [1, ...]; None if it has no graph to read.

    A spike passes unchanged through shapes, paddings, averages, additions and concatenations; through upsampling as
    one event per output that it reaches; where channels are split, events spread evenly. Multiply-accumulates are
    those of torch.utils.flop_counter. Source of SynOps = spikes * fan-out: Merolla et al., Science 2014.
    """
    if not isinstance(snn.stem, fx.GraphModule) or not isinstance(snn.body, fx.GraphModule):
        return None
    snn.reset()
    snn.clock.steps, snn.clock.start = 1, 0
    stem, body = Measuring(snn.stem), Measuring(snn.body)
    body.measure(*stem.measure(*inputs))
    snn.reset()
    feeds: dict[fx.Node, Feed] = {}
    for node in snn.body.graph.nodes:
        feeds[node] = _feed(snn.body, node, feeds, body)
    works = [_work(node, feeds, body) for node in snn.body.graph.nodes if node.op != 'output' and body.macs[node]]
    return Operations(sum(stem.macs.values()), tuple(works))


def _work(node: fx.Node, feeds: dict[fx.Node, Feed], run: Measuring) -> Work:
    """A call that multiplies, with everything that it reads; what has no time is weights."""
    feed, size = Feed(), 0
    for before in node.all_input_nodes:
        if before.op != 'get_attr':
            feed.add(feeds[before])
            size += run.sizes[before]
    if isinstance(run.fetch_attr(str(node.target)) if node.op == 'call_module' else None, Analogue):
        feed = Feed(analogue=True)
    return Work(str(node.target) if node.op == 'call_module' else node.name, run.macs[node], max(1, size), feed)


def _feed(net: fx.GraphModule, node: fx.Node, feeds: dict[fx.Node, Feed], run: Measuring) -> Feed:
    """What the value of a node is made of."""
    if node.op == 'get_attr' or not run.sizes.get(node):
        return Feed()
    module = graph.module_of(net, node)
    if isinstance(module, EMITTING):
        return Feed({str(node.target): 1.0})
    if node.op == 'placeholder':
        return Feed(constant=True)
    before = [b for b in node.all_input_nodes if run.sizes.get(b)]
    name = affine.name_of(node) if module is None else ''
    feed = Feed()
    for b in before[:1] if name in FIRST_ONLY else before:
        feed.add(feeds[b], _events(node, name, module, run.sizes[node] / run.sizes[b], run.ranks[node] - 2))
    if run.macs[node] or isinstance(module, Analogue):  # a current, not spikes
        return Feed(analogue=feed.analogue or bool(feed.spikes), constant=feed.constant)
    return feed


def _events(node: fx.Node, name: str, module: nn.Module | None, ratio: float, dimensions: int) -> float:
    """As how many an event passes a call whose output is `ratio` times as large as its input."""
    upsampling = isinstance(module, nn.Upsample) or name in ('interpolate', 'upsample')
    if upsampling:
        mode = module.mode if isinstance(module, nn.Upsample) else graph.argument(node, 3, 'mode', 'nearest')
        return ratio * REACH[mode] ** dimensions
    return ratio if name in SPREADING else 1.0
