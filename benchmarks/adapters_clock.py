"""Time within chosen modules of a network, forward and backward, without hooks.

Hooks would change what is measured: accelerated neurons take a BatchNorm's work only where no hook looks on. So
`forward` of a module (and `many`, by which unrolled networks call neurons) is replaced while the clock is on. For
backward, identities in the graph mark where the module begins and ends. On the CPU autograd runs nodes strictly from
the last made to the first, so that what runs between the two marks is the module's own, also where steps are looped
over and states connect them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn


class Mark(torch.autograd.Function):
    """Its input; calls `then` when the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, then: Callable[[], None]) -> Tensor:
        ctx.then = then
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.then()
        return grad, None


class Clock:
    """Seconds within modules, since it was made. A module in another counts once.

    Backward of a module counts where its input has a gradient.
    """

    def __init__(self) -> None:
        self.forward = self.backward = 0.0
        self._inside = False
        self._start = 0.0

    @contextmanager
    def on(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """Count the time of these modules."""
        methods = [(m, name) for m in modules for name in ('forward', 'many') if hasattr(m, name)]
        for module, name in methods:
            setattr(module, name, partial(self._timed, getattr(module, name)))
        try:
            yield
        finally:
            for module, name in methods:
                delattr(module, name)

    def _timed(self, forward: Callable[..., Any], x: Any, *others: Any, **named: Any) -> Any:
        if self._inside:
            return forward(x, *others, **named)
        self._inside, x = True, marked(x, self._leave)
        start = perf_counter()
        try:
            found = forward(x, *others, **named)
        finally:
            self.forward += perf_counter() - start
            self._inside = False
        if isinstance(found, tuple):
            return type(found)((marked(found[0], self._enter), *found[1:]))
        return marked(found, self._enter)

    def _enter(self) -> None:
        self._start = perf_counter()

    def _leave(self) -> None:
        self.backward += perf_counter() - self._start


def marked(x: Any, then: Callable[[], None]) -> Any:
    """A tensor with a mark, if it has a gradient."""
    return Mark.apply(x, then) if type(x) is Tensor and x.requires_grad else x  # what a norm hands on has no graph
