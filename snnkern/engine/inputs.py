"""What an engine is given, checked: one clear error for what does not fit the plan."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnkern.engine.plan import Plan


def checked(plan: Plan, x: Any, steps: int | None) -> tuple[tuple[Tensor, ...], int]:
    """The inputs as a tuple, and how many images they are. steps: that timed inputs must have; None: any number.

    Raises TypeError for what are no float32 tensors, ValueError for shapes that were not planned, an empty batch and
    values that are not finite.
    """
    given = tuple(x) if isinstance(x, tuple | list) else (x,)
    if len(given) != len(plan.shapes):
        raise ValueError(f'x must be {len(plan.shapes)} inputs, as the example was, got {len(given)}')
    first = 1 if plan.timed else 0
    for i, (part, shape) in enumerate(zip(given, plan.shapes, strict=True)):
        name = 'x' if len(given) == 1 else f'x[{i}]'
        if not isinstance(part, Tensor):
            raise TypeError(f'{name} must be a tensor, got {type(part).__name__}')
        if part.dtype != torch.float32 or part.device.type != 'cpu':
            raise TypeError(f'{name} must be float32 on the CPU, got {part.dtype} on {part.device}')
        if part.dim() != len(shape) + first + 1 or part.shape[first + 1 :] != shape:
            wanted = ', '.join((*('TB' if plan.timed else 'B'), *map(str, shape)))
            raise ValueError(f'{name} must be [{wanted}], as planned, got shape {tuple(part.shape)}')
        if plan.timed and steps is not None and len(part) != steps:
            raise ValueError(f'{name} must hold T = {steps} steps, for which the engine was compiled, got {len(part)}')
        if part.shape[first] != given[0].shape[first]:
            raise ValueError(f'{name} must be {given[0].shape[first]} images, as x[0] is, got {part.shape[first]}')
        if not part.numel():
            raise ValueError(f'{name} must not be empty, got shape {tuple(part.shape)}')
        # One sum is cheap; it may overflow where no value does.
        if not math.isfinite(part.sum().item()) and not bool(part.isfinite().all()):
            raise ValueError(f'{name} must be finite, got NaN or infinity')
    return given, given[0].shape[first]


def images(plan: Plan, inputs: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    """Some images of the inputs."""
    return [part[:, start:stop] if plan.timed else part[start:stop] for part in inputs]


def steps(plan: Plan, inputs: Sequence[Tensor], start: int, count: int) -> list[Tensor] | None:
    """The inputs of some steps; None where they are those of the steps before."""
    if steady(plan):
        return list(inputs) if start == 0 else None
    return [part[start : start + count] for part in inputs]


def steady(plan: Plan) -> bool:
    """Whether the inputs are the same at every step."""
    return all(plan.slots[number].kind == 'constant' for number in plan.inputs)
