"""Two fully connected layers of spiking neurons, the first network of most tutorials."""

from typing import Any

import torch
from torch import Tensor, nn

from snnkern._checks import positive
from snnkern.models.spiking.neurons import neuron as layer
from snnkern.nn.fold import SeqToANNContainer
from snnkern.surrogates import FastSigmoid


class MLP(nn.Module):
    """Linear, neurons, linear, neurons: pixels to a spike train of each class.

    in_channels, size, num_classes: channels and height and width of images, and classes. hidden: neurons of the first
    layer. neuron, tau: see `neurons.neuron`; "relu" is the non-spiking twin, whose last layer is linear. slope: of the
    surrogate, fast sigmoid, of "leaky" neurons; the others have their own. scale: what a spike of the output is worth:
    1 for losses of counts and rates; with T, a cross entropy of the mean is one of counts.

    With "leaky" it is snnTorch's tutorial network: one learned beta in the first layer, 0.9 at the start, and one for
    each class in the second, drawn from 0..1; thresholds of 1, subtracted one step later (`nn.Leaky`).
    Maps [T, B, C, H, W] (or [T, B, C * H * W]) to spikes [T, B, num_classes] times scale; a constant input is
    multiplied by the weights once. Raises ValueError for another neuron or a scale that is not positive. Source:
    snnTorch, tutorial 5 (784-1000-10 there).
    Example: `MLP(1, (28, 28), 10)(encode.poisson(images, T=25)).sum(0).argmax(1)`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: tuple[int, int] = (28, 28),
        num_classes: int = 10,
        hidden: int = 300,
        neuron: str = 'leaky',
        tau: float | None = None,
        slope: float = 25.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        positive('scale', scale)
        self.scale = scale
        leaky = neuron == 'leaky'
        options: dict[str, Any] = {'surrogate': FastSigmoid(slope)} if leaky else {}
        self.linear1 = SeqToANNContainer(nn.Flatten(), nn.Linear(in_channels * size[0] * size[1], hidden))
        self.neurons1 = layer(neuron, tau, **options)
        self.linear2 = SeqToANNContainer(nn.Linear(hidden, num_classes))
        if leaky and tau is None:
            options['beta'] = torch.rand(num_classes)
        self.neurons2 = nn.Identity() if neuron == 'relu' else layer(neuron, tau, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, num_classes] of x [T, B, C, H, W]."""
        out = self.neurons2(self.linear2(self.neurons1(self.linear1(x))))
        return out if self.scale == 1 else out * self.scale
