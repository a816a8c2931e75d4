"""Whether a plan is one: native code trusts its numbers, and a file may hold any."""

from collections.abc import Mapping, Sequence
from math import isfinite, prod

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnkern.backends.events import BLOCKS, MOST, POOLS, Axis, Layer, Pool, Slot, Synapse
from snnkern.engine.choice import Cost
from snnkern.engine.density import macs
from snnkern.engine.plan import Dense, Output, Plan
from snnkern.engine.runner import Runner, run_dense
from snnkern.engine.session import Readout, Session

LARGEST = 2**31  # numbers of a slot
TAPS = 2**24  # of all outputs in one direction, which stand in a table
KINDS = ('counts', 'currents', 'constant')


def check(plan: Plan) -> None:
    """Raise ValueError that names the first slot or step that does not fit the others."""
    for i, slot in enumerate(plan.slots):
        sizes = (slot.channels, slot.height, slot.width)
        _must(slot.kind in KINDS and min(sizes) > 0 and prod(sizes) < LARGEST, f'slot {i}, {slot.name}')
        _must(1 <= slot.bound <= MOST and (not slot.flat or sizes[1:] == (1, 1)), f'slot {i}, {slot.name}')
        worth = slot.worth.numel() if isinstance(slot.worth, Tensor) else 1
        _must(worth in (1, slot.channels), f'what spikes of slot {i}, {slot.name}, are worth')
    for shape in plan.shapes:
        _must(min(shape, default=1) > 0 and prod(shape) < LARGEST, 'the shapes of the inputs')
    there = set(plan.inputs)
    _must(len(there) == len(plan.inputs) and there <= set(range(len(plan.slots))), 'the inputs')
    for step in plan.steps:
        for source in step.sources:
            _must(source in there, f'a source of {step.name}')
        _must(0 <= step.target < len(plan.slots) and step.target not in there, f'the target of {step.name}')
        there.add(step.target)
        if isinstance(step, Layer):
            _layer(step, plan)
        elif isinstance(step, Pool):
            _pool(step, plan)
        else:
            _must(plan.slots[step.target].kind != 'counts', f'the target of {step.name}')
    found = [leaf.slot for leaf in pytree.tree_leaves(plan.outputs) if isinstance(leaf, Output)]
    _must(bool(found) and there.issuperset(found), 'the outputs')


def measured(
    costs: Mapping[int, Sequence[Cost | None]],
    shares: Mapping[int, Mapping[int, float]],
    steps: Sequence[Layer | Pool],
) -> None:
    """Raise ValueError for costs, by number of images, and shares, by slot, that nobody measures of these steps."""
    _must(bool(costs) and min(costs) >= 1, 'the numbers of images of the costs')
    for each in costs.values():
        _must(len(each) == len(steps), 'the number of costs')
        for step, cost in zip(steps, each, strict=True):
            if cost is not None:
                blocks = cost.silent.keys() == cost.full.keys() and _blocks(cost.silent)
                _must(blocks and cost.dense >= 0 and isfinite(cost.dense), f'the costs of {step.name}')
                _must(cost.images >= 1 and _blocks(cost.full), f'the costs of {step.name}')
    for step in steps:
        for synapse in step.synapses if isinstance(step, Layer) else ():
            _must(_blocks(shares.get(synapse.source, {})), f'the shares of slot {synapse.source}')


@torch.no_grad()
def tried(runner: Runner, T: int) -> None:
    """Run what runs in torch on one image of zeros: what fits nothing else shows here and not at the first call."""
    plan, readout = runner.plan, Readout(runner.plan)
    steps = T if runner.ahead else 1
    given = [torch.zeros((steps, 1, *shape) if plan.timed else (1, *shape)) for shape in plan.shapes]
    session = Session(runner, 1)
    session.begin()
    memory = session.feed(given, steps)
    for number in memory.keys() - set(plan.inputs):
        memory[number].zero_()
    for step in plan.steps:
        if isinstance(step, Dense):
            run_dense(step, plan, memory, steps, 0)
    readout.answer(readout.totals(memory, steps))
    runner.reset()


def numbers(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for numbers that an engine does not compute with."""
    for name, tensor in tensors.items():
        if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            raise ValueError(f'{name} must be float32, got {tensor.dtype}')
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f'{name} must be finite, got NaN or infinity')


def _blocks(found: Mapping[int, float]) -> bool:
    """Whether these are numbers of blocks; one step is always among them."""
    known = 1 in found and found.keys() <= set(BLOCKS)
    return known and all(isfinite(number) and number >= 0 for number in found.values())


def _must(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f'{what} cannot be')


def _layer(layer: Layer, plan: Plan) -> None:
    to = plan.slots[layer.target]
    _must((to.kind == 'counts') == (layer.neuron is not None), f'what {layer.name} writes')
    for synapse in layer.synapses:
        _synapse(synapse, plan.slots[synapse.source], to, layer.name)
    for number in layer.currents:
        slot = plan.slots[number]
        same = (slot.channels, slot.height, slot.width) == (to.channels, to.height, to.width)
        _must(slot.kind != 'counts' and same, f'currents of {layer.name}')
    _must(to.kind != 'constant' or not (layer.synapses or _varying(layer, plan)), f'what {layer.name} writes')
    _must(layer.bias is None or layer.bias.shape == (to.channels,), f'the bias of {layer.name}')
    _must(not layer.synapses or any(map(macs, layer.synapses)), f'the taps of {layer.name}')
    _must(layer.neuron is None or layer.neuron.fire.most <= to.bound, f'the spikes of {layer.name}')
    known = () if layer.neuron is None else layer.neuron.coefficients
    _must(layer.neuron is None or not layer.neuron.fire.real_units, f'what the neurons of {layer.name} emit')
    for name, value in layer.coefficients.items():
        _must(name in known and value.dim() < 2 and value.numel() in (1, to.channels), f'{name} of {layer.name}')
    v0 = tuple(layer.v0.shape) if isinstance(layer.v0, Tensor) else ()
    _must(v0 in ((), (to.channels,), (to.channels, to.height, to.width)), f'v0 of {layer.name}')


def _varying(layer: Layer, plan: Plan) -> bool:
    return any(plan.slots[number].kind == 'currents' for number in layer.currents)


def _synapse(synapse: Synapse, source: Slot, to: Slot, name: str) -> None:
    weight, rows, cols = synapse.weight, synapse.rows, synapse.cols
    _axis(rows, source.height, to.height, name)
    _axis(cols, source.width, to.width, name)
    taps = (1, 1) if synapse.shared else (rows.kernel, cols.kernel)
    _must(source.kind == 'counts' and weight.dim() in (3, 4) and weight.shape[-2:] == taps, f'weights of {name}')
    count, groups = len(weight), synapse.groups
    _must(groups >= 1 and count % groups == 0 and (groups == 1 or weight.dim() == 4), f'groups of {name}')
    reads = count if synapse.channelwise else weight.shape[1] * groups
    _must(synapse.first >= 0 and reads >= 1 and synapse.first + reads <= source.channels, f'inputs of {name}')
    if synapse.channelwise:
        _must(synapse.to >= 0 and synapse.to + count <= to.channels, f'outputs of {name}')
    else:
        _must(synapse.to == 0 and count == to.channels, f'outputs of {name}')


def _axis(axis: Axis, size: int, out: int, name: str) -> None:
    least = min(axis.kernel, axis.stride, axis.dilation, axis.rate)
    _must((axis.size, axis.out) == (size, out) and least >= 1 and out * axis.kernel <= TAPS, f'the taps of {name}')
    reach = (out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + abs(axis.padding)
    _must(max(reach, axis.rate) < LARGEST, f'the taps of {name}')


def _pool(pool: Pool, plan: Plan) -> None:
    source, to = plan.slots[pool.source], plan.slots[pool.target]
    _must(pool.mode in POOLS and source.kind == to.kind == 'counts', f'what {pool.name} does')
    _must(source.channels == to.channels, f'channels of {pool.name}')
    _axis(pool.rows, source.height, to.height, pool.name)
    _axis(pool.cols, source.width, to.width, pool.name)
