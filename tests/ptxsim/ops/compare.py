"""Comparisons and tests."""

from typing import TYPE_CHECKING

import numpy as np

from ..arithmetic import flush_subnormals
from ..operands import Pair
from ..program import Instruction
from ..ptxtypes import FLOAT, PACKED, UNSIGNED, WIDTH, is_float
from ..state import Lanes
from .floats import unpack
from .registry import op

if TYPE_CHECKING:
    from ..machine import Run

RELATIONS = {
    'eq': np.equal,
    'ne': np.not_equal,
    'lt': np.less,
    'le': np.less_equal,
    'gt': np.greater,
    'ge': np.greater_equal,
}
UNSIGNED_NAMES = {'lo': 'lt', 'ls': 'le', 'hi': 'gt', 'hs': 'ge'}
UNORDERED_NAMES = {f'{name}u': name for name in RELATIONS}
COMPARISONS = (*RELATIONS, *UNSIGNED_NAMES, *UNORDERED_NAMES, 'num', 'nan')
COMBINE = {'and': np.logical_and, 'or': np.logical_or, 'xor': np.logical_xor}
ONE = {'f16': 0x3C00, 'bf16': 0x3F80, 'f32': 0x3F800000}
CLASSES = {
    'finite': np.isfinite,
    'infinite': np.isinf,
    'notanumber': np.isnan,
    'number': lambda x: ~np.isnan(x),
    'normal': lambda x: np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).tiny),
    'subnormal': lambda x: (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny),
}


def compare(relation: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A PTX comparison; unordered forms are true for NaN, ordered ones false."""
    if relation in RELATIONS and a.dtype.kind != 'f':
        return RELATIONS[relation](a, b)
    if relation in UNSIGNED_NAMES:
        return RELATIONS[UNSIGNED_NAMES[relation]](a, b)
    unordered = np.isnan(a) | np.isnan(b)
    if relation in ('num', 'nan'):
        return unordered if relation == 'nan' else ~unordered
    if relation in UNORDERED_NAMES:
        return RELATIONS[UNORDERED_NAMES[relation]](a, b) | unordered
    return RELATIONS[relation](a, b) & ~unordered


def sources(run: 'Run', ins: Instruction, lanes: Lanes) -> list[tuple[np.ndarray, ...]]:
    """The pairs of values to compare: one, or two for a two-element type."""
    ptype = ins.types[-1]
    operands = ins.operands[1:3]
    if ptype in PACKED:
        pairs = list(zip(*(unpack(run.read(o, WIDTH[ptype], lanes), ptype) for o in operands), strict=True))
    else:
        pairs = [tuple(run.value(o, ptype, lanes) for o in operands)]
    if 'ftz' in ins.modifiers:
        pairs = [tuple(flush_subnormals(v) for v in pair) for pair in pairs]
    return pairs


@op('setp')
def setp(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """p = a relation b, optionally combined with a predicate; p|q also gives the complement."""
    relation = ins.choose(*COMPARISONS)
    pairs = sources(run, ins, lanes)
    first = compare(relation, *pairs[0])
    second = compare(relation, *pairs[1]) if len(pairs) == 2 else ~first
    if combine := ins.choose(*COMBINE):
        predicate = run.read(ins.operands[3], 1, lanes)
        first, second = (COMBINE[combine](r, predicate) for r in (first, second))
    if isinstance(ins.operands[0], Pair):
        run.write(ins.operands[0].first, first, lanes)
        run.write(ins.operands[0].second, second, lanes)
    else:
        run.write(ins.operands[0], first, lanes)


@op('set')
def set_(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = 1.0 (floating destination) or all ones (integer) where the relation holds, else 0."""
    if len(ins.operands) != 3:
        run.fail(ins, 'set with a predicate operand is not supported')
    relation = ins.choose(*COMPARISONS)
    target = ins.types[0]
    results = [compare(relation, *pair) for pair in sources(run, ins, lanes)]
    dtype = UNSIGNED[WIDTH[target]]
    if len(results) == 1:
        true = ONE[target] if is_float(target) else (1 << WIDTH[target]) - 1
        run.write(ins.operands[0], np.where(results[0], dtype(true), dtype(0)), lanes)
        return
    true = ONE[PACKED[target]] if target in PACKED else 0xFFFF
    low = np.where(results[0], np.uint32(true), np.uint32(0))
    high = np.where(results[1], np.uint32(true << 16), np.uint32(0))
    run.write(ins.operands[0], low | high, lanes)


@op('testp')
def testp(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """p = whether a is finite, infinite, a number, ..."""
    value = run.value(ins.operands[1], ins.types[-1], lanes)
    run.write(ins.operands[0], CLASSES[ins.choose(*CLASSES)](value), lanes)


@op('selp')
def selp(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a if the predicate is true, else b."""
    width = WIDTH[ins.types[-1]]
    a, b = (run.read(o, width, lanes) for o in ins.operands[1:3])
    run.write(ins.operands[0], np.where(run.read(ins.operands[3], 1, lanes), a, b), lanes)


@op('slct')
def slct(run: 'Run', ins: Instruction, lanes: Lanes) -> None:
    """d = a if c >= 0, else b."""
    width = WIDTH[ins.types[0]]
    a, b = (run.read(o, width, lanes) for o in ins.operands[1:3])
    c = run.value(ins.operands[3], ins.types[1], lanes)
    if 'ftz' in ins.modifiers:
        c = flush_subnormals(c).astype(FLOAT['f32'])
    run.write(ins.operands[0], np.where(c >= 0, a, b), lanes)
