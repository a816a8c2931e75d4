"""How often the layers of a network fire, with gradients."""

from types import TracebackType
from typing import Any

from torch import Tensor, nn

from snnkern.nn.neuron import Neuron

__all__ = ['Rates']


class Rates:
    """The firing rates of a network's layers of neurons in the calls within the `with` block.

    rates: spikes a neuron and step of each call of each layer, in the order of the calls, scalars with gradients; a
    negative spike counts like a positive one, a burst as its spikes. Example:
    `with Rates(net) as seen: out = net(x)`, then `losses.rate_penalty(seen.rates)`.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.rates: list[Tensor] = []
        self.handles: list[Any] = []

    def __enter__(self) -> 'Rates':
        layers = [module for module in self.net.modules() if isinstance(module, Neuron)]
        self.handles = [layer.register_forward_hook(self._see) for layer in layers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self.handles:
            handle.remove()

    def _see(self, layer: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
        spikes = out[0] if isinstance(out, tuple) else out
        self.rates.append(spikes.float().abs().mean())
