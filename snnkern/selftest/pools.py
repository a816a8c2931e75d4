"""Pools: calls of all kinds of windows, forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnkern import functional
from snnkern.selftest.compare import Result, Results

FUNCTIONS: dict[str, Any] = {
    'lateral': functional.lateral_pool2d,
    'spike_max': functional.spike_max_pool2d,
    'plain': functional.max_pool2d,
}
# kernel_size, stride, padding, dilation, ceil_mode: tiles, overlaps, and what has all of them.
WINDOWS: tuple[tuple[Any, ...], ...] = ((2,), (3, 2, 1), ((2, 3), (1, 2), (1, 0), (2, 1), True), (4, 3, 2, 1, True))


@dataclass(frozen=True)
class PoolCase:
    """A call. window: kernel_size, stride, padding, dilation, ceil_mode; size: T, B, C, H, W."""

    mode: str
    window: tuple[Any, ...]
    size: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    last: bool = False  # channels-last
    state: bool = False
    scale: float = 1.0

    needs = 'pool2d'

    @property
    def op(self) -> str:
        """The row of the table."""
        return str(FUNCTIONS[self.mode].__name__)

    def refusal(self, device: torch.device) -> str | None:
        """Runs everywhere."""
        return None

    def input(self) -> Tensor:
        """Spikes of both signs with many ties, or numbers for the plain pool."""
        g = torch.Generator().manual_seed(1)
        counts = torch.randint(-1, 4, self.size, generator=g).float() * self.scale
        x = (torch.randn(self.size, generator=g) if self.mode == 'plain' else counts).to(self.dtype)
        return self.laid(x)

    def laid(self, t: Tensor) -> Tensor:
        """t [T, B, C, H, W] in the layout of the case."""
        return channels_last(t) if self.last else t

    def results(self, backend: str, device: torch.device) -> Results:
        """Outputs, last counts, gradients of x and of the first counts."""
        found = self.run(backend, device)
        names = 'outputs', 'last counts', 'gradient of x', 'gradient of the counts'
        tolerances = None, None, self.dtype, self.dtype
        return {n: Result(t, how) for n, t, how in zip(names, found, tolerances, strict=True)}

    def run(self, backend: str, device: torch.device | str = 'cpu') -> tuple[Tensor | None, ...]:
        """The same, plainly."""
        g = torch.Generator().manual_seed(2)
        x = self.input().to(device).requires_grad_()
        if self.mode == 'plain':
            out = FUNCTIONS['plain'](x, *self.window, backend=backend)
            grad = self.laid(torch.randn(out.shape, generator=g).to(self.dtype)).to(device)
            return out.detach(), None, *torch.autograd.grad(out, x, grad), None
        counts = torch.randint(-3, 4, (1, *self.size[1:]), generator=g).float()
        start = self.laid(counts)[0].to(device).requires_grad_() if self.state else None
        more: Any = {'scale': self.scale, 'state': start, 'return_state': True, 'backend': backend}
        out, last = FUNCTIONS[self.mode](x, *self.window, **more)
        outputs, inputs = [out], [x]
        if self.mode == 'lateral' and start is not None:
            outputs, inputs = [out, last], [x, start]
        grads = [self.laid(torch.randn(t.shape, generator=g).to(t.dtype)) for t in outputs[:1]]
        grads += [self.laid(torch.randn((1, *t.shape), generator=g))[0] for t in outputs[1:]]
        found = torch.autograd.grad(outputs, inputs, [grad.to(device) for grad in grads])
        return out.detach(), last.detach(), found[0], found[1] if len(found) > 1 else None


def channels_last(x: Tensor) -> Tensor:
    """x [T, B, C, H, W] in that layout."""
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
