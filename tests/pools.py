"""Cases of pools, and one backend against the reference on a case."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnkern import functional
from snnkern.testing import assert_grads_close, assert_spikes_equal

F32, F16, BF16 = DTYPES = torch.float32, torch.float16, torch.bfloat16
FUNCTIONS = {
    'lateral': functional.lateral_pool2d,
    'spike_max': functional.spike_max_pool2d,
    'plain': functional.max_pool2d,
}


@dataclass(frozen=True)
class Case:
    """A call. window: kernel_size, stride, padding, dilation, ceil_mode; size: T, B, C, H, W."""

    mode: str
    window: tuple
    size: tuple[int, ...]
    dtype: torch.dtype = F32
    last: bool = False  # channels-last
    state: bool = False
    scale: float = 1.0

    def input(self) -> Tensor:
        """Spikes of both signs with many ties, or numbers for the plain pool."""
        g = torch.Generator().manual_seed(1)
        counts = torch.randint(-1, 4, self.size, generator=g).float() * self.scale
        x = (torch.randn(self.size, generator=g) if self.mode == 'plain' else counts).to(self.dtype)
        return self.laid(x)

    def laid(self, t: Tensor) -> Tensor:
        """t [T, B, C, H, W] in the layout of the case."""
        return channels_last(t) if self.last else t

    def run(self, backend: str | None) -> tuple[Tensor | None, ...]:
        """Outputs, last counts, gradients of x and of the first counts."""
        g = torch.Generator().manual_seed(2)
        x = self.input().requires_grad_()
        if self.mode == 'plain':
            out = functional.max_pool2d(x, *self.window, backend=backend)
            grad = self.laid(torch.randn(out.shape, generator=g).to(self.dtype))
            return out.detach(), None, *torch.autograd.grad(out, x, grad), None
        start = torch.randint(-3, 4, (1, *self.size[1:]), generator=g).float()
        start = self.laid(start)[0].requires_grad_() if self.state else None
        more: Any = {'scale': self.scale, 'state': start, 'return_state': True, 'backend': backend}
        out, last = FUNCTIONS[self.mode](x, *self.window, **more)
        outputs, inputs = [out], [x]
        if self.mode == 'lateral' and start is not None:
            outputs, inputs = [out, last], [x, start]
        grads = [self.laid(torch.randn(t.shape, generator=g).to(t.dtype)) for t in outputs[:1]]
        grads += [self.laid(torch.randn((1, *t.shape), generator=g))[0] for t in outputs[1:]]
        found = torch.autograd.grad(outputs, inputs, grads)
        return out.detach(), last.detach(), found[0], found[1] if len(found) > 1 else None


def channels_last(x: Tensor) -> Tensor:
    """x [T, B, C, H, W] in that layout."""
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def check(case: Case, backend: str | None) -> None:
    """Outputs and counts equal those of the reference, gradients are close to its; layouts are kept."""
    found, expected = case.run(backend), case.run('reference')
    for actual, wanted in zip(found[:2], expected[:2], strict=True):
        if wanted is not None:
            assert_spikes_equal(actual, wanted)
    for actual, wanted in zip(found[2:], expected[2:], strict=True):
        if wanted is not None:
            assert_grads_close(actual, wanted, case.dtype)
    x = case.input()
    assert found[2].stride() == x.stride() or min(case.size) == 1
