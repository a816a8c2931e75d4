"""A plan run in torch, step by step, by the reference of event programs: what tests of the planner compare with."""

import torch
from torch.utils import _pytree as pytree

from snnkern.backends.events import Pool, pack, unpack
from snnkern.backends.reference import events
from snnkern.convert.layers import Timed
from snnkern.engine.plan import Dense, Output
from snnkern.engine.valid import check


def executed(plan, *inputs, T):
    """What the planned network returns, and the share of nonzero counts of each step."""
    check(plan)
    B = inputs[0].shape[1 if plan.timed else 0]
    buffers = {i: torch.zeros(slot.shape(B, T), dtype=slot.dtype) for i, slot in enumerate(plan.slots)}
    for slot, x in zip(plan.inputs, plan.stem(*inputs), strict=True):
        _put(plan.slots[slot], buffers[slot], x, T)
    for step in plan.steps:
        if isinstance(step, Dense):
            _dense(plan, step, buffers, T)
        else:
            events.run(step, plan.slots, buffers, events.start(step, plan.slots, B), T)

    def mean(output):
        return values(plan.slots[output.slot], buffers[output.slot], T).unflatten(0, (T, B)).mean(0)

    means = pytree.tree_map(mean, plan.outputs, is_leaf=lambda leaf: isinstance(leaf, Output))
    counted = [unpack(buffers[s.target], T) for s in plan.steps if plan.slots[s.target].kind == 'counts']
    return means if plan.tail is None else plan.tail(means), [c.count_nonzero().item() / c.numel() for c in counted]


def values(slot, buffer, T):
    """What a slot stands for, [T * B, ...]."""
    if slot.kind == 'counts':
        x = unpack(buffer, T).float() * torch.as_tensor(slot.worth, dtype=torch.float32).view(-1, 1, 1)
    else:
        x = buffer.permute(1, 0, 4, 2, 3).expand(T, -1, -1, -1, -1)
    return x.flatten(0, 1).flatten(1) if slot.flat else x.flatten(0, 1)


def _put(slot, buffer, x, T):
    x = x[..., None, None] if slot.flat else x
    if slot.kind == 'counts':
        buffer.copy_(pack(x.unflatten(0, (T, -1))))
    else:
        buffer.copy_(x.unflatten(0, (buffer.shape[1], -1)).permute(1, 0, 3, 4, 2))


def _dense(plan, step, buffers, T):
    for module in step.call.modules():
        if isinstance(module, Timed):
            module.clock.steps, module.clock.start = T, 0
            module.reset()
    given = [values(plan.slots[i], buffers[i], T) for i in step.sources]
    _put(plan.slots[step.target], buffers[step.target], step.call(*given), T)


def same(got, wanted):
    """Whether outputs are those wanted: all but a few, since one rounding may move a spike by a step."""
    found = zip(pytree.tree_leaves(got), pytree.tree_leaves(wanted), strict=True)
    for one, other in found:
        assert one.shape == other.shape
        assert other.std() > 0 or other.numel() == 1
        near = (one - other).abs() <= 1e-4 * other.abs().max() + 1e-6
        assert near.float().mean() > 0.97


def sums(plan):
    """How many pools of each mode a plan has."""
    modes = [step.mode for step in plan.steps if isinstance(step, Pool)]
    return {mode: modes.count(mode) for mode in modes}
