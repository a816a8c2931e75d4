"""Warp-wide instructions. All lanes of every member mask are present when these functions run."""

from typing import TYPE_CHECKING

import numpy as np

from ..operands import Pair
from ..program import Instruction
from ..ptxtypes import WIDTH
from ..state import Lanes
from .registry import collective

if TYPE_CHECKING:
    from ..machine import Run

REDUCTIONS = {
    'add': np.add,
    'min': np.minimum,
    'max': np.maximum,
    'and': np.bitwise_and,
    'or': np.bitwise_or,
    'xor': np.bitwise_xor,
}


def destinations(ins: Instruction) -> tuple:
    """The destination and the predicate destination (None if there is none)."""
    target = ins.operands[0]
    return (target.first, target.second) if isinstance(target, Pair) else (target, None)


@collective('bar', 'barrier')
def warp_barrier(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """bar.warp.sync: meeting is all it does."""


@collective('elect')
def elect(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """d = the lowest member lane; p = whether this lane is it."""
    target, predicate = destinations(ins)
    lowest = members & -members
    elected = (1 << run.lane_of[lanes.threads]) == lowest
    run.write(target, np.round(np.log2(lowest)).astype(np.uint32), lanes)
    if predicate is not None:
        run.write(predicate, elected, lanes)


@collective('shfl')
def shuffle(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """d = a of another lane; p = whether that lane was in range."""
    target, predicate = destinations(ins)
    value = run.read(ins.operands[1], 32, lanes)
    offset = run.read(ins.operands[2], 32, lanes).astype(np.int64) & 31
    control = run.read(ins.operands[3], 32, lanes).astype(np.int64)
    lane = run.lane_of[lanes.threads]
    segment, clamp = (control >> 8) & 31, control & 31
    lowest = lane & segment
    limit = lowest | (clamp & ~segment)
    mode = ins.choose('up', 'down', 'bfly', 'idx')
    wanted = {
        'up': lane - offset,
        'down': lane + offset,
        'bfly': lane ^ offset,
        'idx': lowest | (offset & ~segment),
    }[mode]
    valid = wanted >= limit if mode == 'up' else wanted <= limit
    source = np.where(valid, wanted, lane)
    stranger = ((members >> source) & 1) == 0
    if stranger.any():
        run.fail(ins, 'shuffle reads a lane outside the member mask', lanes.threads[stranger])
    everyone = np.zeros(run.count, np.uint32)
    everyone[lanes.index] = value
    run.write(target, everyone[run.warp_start[lanes.threads] + source], lanes)
    if predicate is not None:
        run.write(predicate, valid, lanes)


@collective('vote')
def vote(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """d = the lanes whose predicate is true (ballot), or whether any, all, or all the same."""
    predicate = run.read(ins.operands[1], 1, lanes).astype(np.int64)
    ballot = run.lanes_by_warp(lanes.threads, predicate)[run.warp_of[lanes.threads]] & members
    results = {
        'ballot': ballot.astype(np.uint32),
        'any': ballot != 0,
        'all': ballot == members,
        'uni': (ballot == 0) | (ballot == members),
    }
    run.write(ins.operands[0], results[ins.choose(*results)], lanes)


def _groups(run: 'Run', lanes: Lanes, members: np.ndarray) -> np.ndarray:
    """A number for each lane; lanes of one warp and one member mask share it."""
    return np.unique((run.warp_of[lanes.threads] << 32) + members, return_inverse=True)[1].reshape(-1)


@collective('match')
def match(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """any: d = the lanes with the same value. all: d = the members, or 0 if their values differ."""
    target, predicate = destinations(ins)
    value = run.read(ins.operands[1], WIDTH[ins.types[-1]], lanes).astype(np.uint64)
    group = _groups(run, lanes, members)
    keys = np.stack([group.astype(np.uint64), value], 1)
    kinds, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    if 'any' in ins.modifiers:
        masks = np.zeros(len(kinds), np.int64)
        np.bitwise_or.at(masks, index, 1 << run.lane_of[lanes.threads])
        run.write(target, masks[index].astype(np.uint32), lanes)
        return
    same = (np.bincount(kinds[:, 0].astype(np.int64)) == 1)[group]
    run.write(target, np.where(same, members, 0).astype(np.uint32), lanes)
    if predicate is not None:
        run.write(predicate, same, lanes)


@collective('redux')
def redux(run: 'Run', ins: Instruction, lanes: Lanes, members: np.ndarray) -> None:
    """d = the reduction of a over the members."""
    value = run.value(ins.operands[1], ins.types[-1], lanes)
    group = _groups(run, lanes, members)
    order = np.argsort(group, kind='stable')
    starts = np.nonzero(np.diff(group[order], prepend=-1))[0]
    reduced = REDUCTIONS[ins.choose(*REDUCTIONS)].reduceat(value[order], starts)
    run.write(ins.operands[0], reduced.astype(value.dtype)[group], lanes)
