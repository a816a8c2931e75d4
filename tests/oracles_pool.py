"""The pools of spikes as loops over steps and windows, in float64: slow, and plain to read."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


def windows(counts: Tensor, *window) -> Iterator[tuple[tuple, list]]:
    """Of counts [T, C, H, W]: the place (c, y, x) of each output and its cells [(y, x)] in row-major order."""
    H, W = counts.shape[-2:]
    full = [*window, *(None, 0, 1, False)[len(window) - 1 :]]
    kernel, stride, pad, gap = (
        v if isinstance(v, tuple) else (v, v) for v in (full[0], full[1] or full[0], *full[2:4])
    )
    size = F.max_pool2d(counts[0], *window).shape
    for c, oy, ox in torch.cartesian_prod(*map(torch.arange, size)).tolist():
        places = [
            (oy * stride[0] - pad[0] + ky * gap[0], ox * stride[1] - pad[1] + kx * gap[1])
            for ky in range(kernel[0])
            for kx in range(kernel[1])
        ]
        yield (c, oy, ox), [(c, y, x) for y, x in places if 0 <= y < H and 0 <= x < W]


def by_definition(counts: Tensor, *window) -> Tensor:
    """The gated pool of [T, B, C, H, W]."""
    flat = counts.flatten(1, 2)
    total, out = flat.cumsum(0), F.max_pool2d(flat, *window).zero_()
    for place, cells in windows(flat, *window):
        for t in range(len(flat)):
            most = max(total[(t, *cell)] for cell in cells)
            out[(t, *place)] = max(flat[(t, *cell)] for cell in cells if total[(t, *cell)] == most)
    return out.unflatten(1, counts.shape[1:3])


def spike_max_gradient(counts: Tensor, upstream: Tensor, *window) -> Tensor:
    """To the selected cell of each step: [T, C, H, W]."""
    total, grad = counts.cumsum(0), torch.zeros_like(counts)
    for place, cells in windows(counts, *window):
        for t in range(len(counts)):
            best = max(cells, key=lambda cell, t=t: (total[(t, *cell)], counts[(t, *cell)]))  # the first of equal ones
            grad[(t, *best)] += upstream[(t, *place)]
    return grad


def lateral_gradient(counts: Tensor, upstream: Tensor, *window) -> Tensor:
    """Reverse cumulative sum of what is scattered to the first maximum of each step."""
    total, grad = counts.cumsum(0), torch.zeros_like(counts)
    for place, cells in windows(counts, *window):
        for t in range(len(counts)):
            best = max(cells, key=lambda cell, t=t: total[(t, *cell)])
            after = upstream[(t + 1, *place)] if t + 1 < len(counts) else 0.0
            grad[(t, *best)] += upstream[(t, *place)] - after
    return grad.flip(0).cumsum(0).flip(0)
