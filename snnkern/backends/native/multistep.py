"""The multistep kernels: arguments as csrc/kernels/multistep.h wants them."""

from typing import Any

import torch
from torch import Tensor

from snnkern.backends import checkpoint_count, checkpoint_interval, layout
from snnkern.backends.native.device import DEVICES, DTYPES, at
from snnkern.neurons import CONNECTS, Program


def _common(
    x: Tensor, state: Tensor | None, coefficients: Tensor | None, checkpoints: Tensor | None, program: Program, T: int
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The arguments of both directions (MultistepArgs in csrc/kernels/multistep.h), the first five and the others."""
    n, constant = x.numel() // x.shape[0], x.shape[0] != T
    steps, channels, inner = 1, 1, 1
    if coefficients is not None:
        _, steps, channels = coefficients.shape
        inner = x.stride(program.channel_dim) if channels > 1 else 1
    head = program.packed, DTYPES[x.dtype], T, n, x.data_ptr()
    kept = at(state), at(checkpoints), checkpoint_interval(x.dtype)
    return head, (*kept, constant, at(coefficients), steps, channels, inner)


def multistep_fwd(
    x: Tensor,
    state: Tensor | None,
    coefficients: Tensor | None,
    residual: Tensor | None,
    spec: str,
    T: int,
    save: bool,
    want_state: bool,
    want_v_seq: bool,
    want_sum: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Spikes, last states, v of all steps, the sum, checkpoints (see the table in backends/__init__.py)."""
    device, program = DEVICES[x.device.type], Program.parse(spec)
    states = len(program.neuron.states) if save or want_state else 0
    s = device.new(x, T)
    last = device.new(x, states, torch.float32) if want_state else None
    v_seq = device.new(x, T, torch.float32) if want_v_seq else None
    total = device.new(x, T) if want_sum else None
    kept = checkpoint_count(T, x.dtype) if save else 0
    checkpoints = device.new(x, kept * states, torch.float32) if kept else None
    if s.numel():
        head, tail = _common(x, state, coefficients, checkpoints, program, T)
        more = at(last), at(v_seq), CONNECTS.index(program.connect), at(residual), at(total)
        device.load().multistep_fwd(*head, s.data_ptr(), *tail, *more, *device.where(x))  # type: ignore[union-attr]
    return s, last, v_seq, total, checkpoints


def multistep_bwd(
    grad_s: Tensor,
    grad_state: Tensor | None,
    grad_v_seq: Tensor | None,
    grad_sum: Tensor | None,
    x: Tensor,
    state: Tensor | None,
    coefficients: Tensor | None,
    checkpoints: Tensor | None,
    line: Tensor | None,
    spec: str,
    T: int,
    want_x: bool,
    want_state: bool,
    want_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, of the initial states and of the coefficients, as far as wanted."""
    device, program = DEVICES[x.device.type], Program.parse(spec)
    grad_x = device.new(x, x.shape[0]) if want_x else None
    grad_states = device.new(x, len(program.neuron.states), torch.float32) if want_state else None
    sums = None
    if want_coefficients and coefficients is not None:
        rows = coefficients.shape[0] * coefficients.shape[1]
        sums = device.new(x, rows, torch.float32) if device.partial else torch.zeros_like(coefficients)
    if grad_s.numel():
        head, tail = _common(x, state, coefficients, checkpoints, program, T)
        given = at(grad_state), at(grad_v_seq), at(grad_sum), at(line)
        wanted = at(grad_x), at(grad_states), at(sums)
        device.load().multistep_bwd(*head, at(grad_s), *tail, *given, *wanted, *device.where(x))  # type: ignore[union-attr]
    if sums is not None and coefficients is not None and device.partial:
        sums = layout.channel_sums(sums, coefficients, program.channel_dim)
    return grad_x, grad_states, sums
