"""How often the layers of a network fire, with gradients."""

from types import TracebackType
from typing import Any

from torch import Tensor, nn

from snnkern.nn.neuron import Neuron

__all__ = ['Rates']


class Rates:
    """The firing rates of a network's layers of neurons in the calls within the `with` block.

    rates: spikes a neuron and step of each call of each layer, in the order of the calls, scalars with gradients; a
    negative spike counts like a positive one, a burst as its spikes. A residual that a layer adds to its spikes (SEW)
    is not counted. Example:
    `with Rates(net) as seen: out = net(x)`, then `losses.rate_penalty(seen.rates)`.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.rates: list[Tensor] = []
        self.handles: list[Any] = []

    def __enter__(self) -> 'Rates':
        layers = [module for module in self.net.modules() if isinstance(module, Neuron)]
        self.handles = [layer.register_forward_hook(self._see, with_kwargs=True) for layer in layers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self.handles:
            handle.remove()

    def _see(self, layer: Neuron, inputs: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        spikes = out[0] if isinstance(out, tuple) else out
        residual = named.get('residual', inputs[1] if len(inputs) > 1 else None)
        if residual is not None and layer.connect == 'sew':
            spikes = spikes - residual
        self.rates.append(spikes.float().abs().mean())
