"""How much of a network's time is spent in some of its modules."""

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from snnkern.convert.hooks import Hooked


class Stopwatch(Hooked):
    """Adds up the seconds that the given modules spend in forward, while it is open (CPU only).

    modules: none may contain another. Example: `with Stopwatch(snn.layers) as watch: snn(x, 8)`, then
    `watch.seconds`.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.modules = list(modules)
        self.seconds = 0.0
        self._started = 0.0

    def hooks(self) -> list[RemovableHandle]:
        before = [module.register_forward_pre_hook(self._start) for module in self.modules]
        return before + [module.register_forward_hook(self._stop) for module in self.modules]

    def _start(self, *_: Any) -> None:
        self._started = perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds += perf_counter() - self._started
