"""Whether a converted network computes what the model computes, apart from the precision of its neurons."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern.convert.coding import PoissonInput
from snnkern.convert.layers import LateralPool, Spiking
from snnkern.convert.network import SNN


@torch.no_grad()
def deviation(snn: SNN, model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """How far the outputs are from the model's if all neurons are exact in the mean, relative to their size.

    Each neuron and each pool emits the exact answer to its mean input, all of it in the first of two steps, and coded
    input is what it codes. What is
    affine or reads the running mean passes this on; a ReLU or softmax that sees single steps does not. The SNN and
    the model (in eval mode) must stand on the same device. Returns the largest relative norm over the outputs, about
    1e-6 for a sound conversion; biases that a recipe adds (`default(correct=False)` adds none) count as far as they
    are large. Example: `deviation(snn, net.eval(), (x[:4],))`.
    """
    exact = [layer for layer in snn.layers if isinstance(layer, Spiking | LateralPool | PoissonInput)]
    size, snn.chunk_bytes = snn.chunk_bytes, 2**62  # both steps in one call
    for layer in exact:
        layer.forward = _exact(layer)  # type: ignore[method-assign, assignment]
    try:
        found = pytree.tree_leaves(snn(inputs, 2))
    finally:
        snn.chunk_bytes = size
        for layer in exact:
            del layer.forward
    wanted = pytree.tree_leaves(model(*(x.clone() for x in inputs)))
    return max(_distance(a, b) for a, b in zip(found, wanted, strict=True))


def _exact(layer: Spiking | LateralPool | PoissonInput) -> Callable[..., Tensor]:
    """The forward that gives the mean output at once."""

    def forward(x: Tensor, residual: Tensor | None = None) -> Tensor:
        if isinstance(layer, PoissonInput):
            return x.expand(layer.T, *x.shape).flatten(0, 1)
        x = x if residual is None else x + residual
        constant = isinstance(layer, Spiking) and layer.constant_input
        mean = x if constant else layer.unfold(x).mean(0)
        y = layer.activation(mean) if isinstance(layer, Spiking) else layer.pool(mean)
        return torch.cat([layer.T * y, *(torch.zeros_like(y) for _ in range(layer.T - 1))])

    return forward


def _distance(a: Tensor, b: Tensor) -> float:
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp_min(1e-12)).item()
