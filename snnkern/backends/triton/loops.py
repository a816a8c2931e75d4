"""What the Triton kernels do with a few time steps: load them, step through them, store them.

Loads of several steps are issued before the first of them is used or anything is stored, since the compiler cannot
know that stores leave inputs alone: so that many are under way at once. Pointers move from row to row. A neuron is
(own, w, n, at): its numbers, the values of all steps, other numbers (step.py), and the block of neurons (rows.py).
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

from snnkern.backends.triton.rows import (
    add_line,
    add_values,
    load_steps,
    load_values,
    row_of,
    store_values,
)
from snnkern.backends.triton.step import State, step, step_back


@triton.jit
def steps_on(
    tensors,
    xs,
    now,
    first,
    neuron,
    KIND: tl.constexpr,
    CONNECT: tl.constexpr,
    CONSTANT: tl.constexpr,
    GROUP: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """The states after GROUP steps from `first` on, or after those before T unless they are WHOLE."""
    x, residual, _, s, v_seq, total = tensors
    more, at = (), neuron[3]
    if not CONSTANT:
        xs = load_steps(row_of(x, first, at), first, at, GROUP, WHOLE)
    if residual is not None:
        more = load_steps(row_of(residual, first, at), first, at, GROUP, WHOLE)
    # None cannot be passed on by every Triton: what is not wanted stands where s does.
    to, to_v = row_of(s, first, at), row_of(s if v_seq is None else v_seq, first, at)
    to_total = row_of(s if total is None else total, first, at)
    for j in tl.static_range(GROUP):
        places = to, to_v, to_total
        if WHOLE:
            now = step_on(tensors, xs, more, now, first, places, neuron, KIND, CONNECT, j)
        elif first + j < at.T:
            now = step_on(tensors, xs, more, now, first, places, neuron, KIND, CONNECT, j)
        to, to_v, to_total = to + at.N, to_v + at.N, to_total + at.N
    return now


@triton.jit
def step_on(tensors, xs, more, now, first, places, neuron, KIND: tl.constexpr, CONNECT: tl.constexpr, J: tl.constexpr):
    """The states after step first + J, whose spikes, v and sum go to their places. more: its residual, if any."""
    _, _, coefficients, _, v_seq, total = tensors
    own, w, n, at = neuron
    to, to_v, to_total = places
    seen = xs[J]
    if KIND.VARYING:
        w = load_values(own, coefficients, first + J, at, KIND)
    if CONNECT == 'ms':
        seen = (seen.to(tl.float32) + more[J].to(tl.float32)).to(seen.dtype)
    if total is not None:
        tl.store(to_total, seen, at.inside)
    _, out, now, _, _ = step(now, seen.to(tl.float32), w, n, KIND)
    if CONNECT == 'sew':
        out += more[J].to(tl.float32)
    tl.store(to, out.to(to.dtype.element_ty), at.inside)
    if v_seq is not None:
        tl.store(to_v, now.v, at.inside)
    return now


@triton.jit
def recompute(x, xs, coefficients, now, first, neuron, KIND: tl.constexpr, CONSTANT: tl.constexpr, K: tl.constexpr):
    """Of each of K steps from `first` on: h, v, i, m before it, dh/da, dh/db, x. now: the state before them all."""
    own, w, n, at = neuron
    kept = ()
    if not CONSTANT:
        xs = load_steps(row_of(x, first, at), first, at, K)
    for j in tl.static_range(K):
        if KIND.VARYING:
            w = load_values(own, coefficients, first + j, at, KIND)
        before, seen = now, xs[0 if CONSTANT else j]
        h, _, now, by_a, by_b = step(before, seen.to(tl.float32), w, n, KIND)
        kept += ((h, before.v, before.i, before.m, by_a, by_b, seen),)  # names get lost in a tuple of an older Triton
    return kept


@triton.jit
def step_back_at(
    tensors, gs, gvs, more, kept, t, to, sums, neuron, KIND: tl.constexpr, CONSTANT: tl.constexpr, J: tl.constexpr
):
    """Back through step t, the J-th of the gradients gs, gvs and more. to: where its dL/dx belongs; sums: dL/d of the
    state, of a constant x, of values.
    """
    grad_v_seq, grad_sum, coefficients, line, grad_x, partials = tensors
    own, w, n, at = neuron
    back, total, added = sums
    if KIND.VARYING:
        w = load_values(own, coefficients, t, at, KIND)
    h, v, i, m, by_a, by_b, seen = kept
    before = State(v, i, m)
    after = back if grad_v_seq is None else State(back.v + gvs[J], back.i, back.m)
    gx, back, values = step_back(gs[J].to(tl.float32), after, h, before, by_a, by_b, w, n, KIND)
    if partials is not None and KIND.VARYING:
        store_values(partials, values, t, at, True, KIND)
    elif partials is not None:
        added = add_values(added, values)
    if grad_sum is not None:
        gx += more[J].to(tl.float32)
    if CONSTANT:
        total += gx
    elif grad_x is not None:
        if line is not None:
            gx = add_line(gx, line, seen)
        tl.store(to, gx.to(grad_x.dtype.element_ty), at.inside)
    return back, total, added
