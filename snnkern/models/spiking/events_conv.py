"""A small convolutional spiking network for frames of events."""

import torch
from torch import Tensor, nn

from snnkern.models.spiking.neurons import neuron as layer_of
from snnkern.models.spiking.neurons import norm_neuron
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.pool import MaxPool2d

KERNEL = 5
SMALLEST = 16  # pixels, of which one is left


class EventsConv(nn.Module):
    """Twice 5 x 5 convolution, norm fused with its neurons and 2 x 2 max-pool, then one linear layer.

    in_channels, size, num_classes: channels (polarities) and height and width of frames, and classes. width: channels
    of the first convolution; the second has 8 / 3 as many (12 and 32). neuron, norm, tau: see `neurons.norm_neuron`;
    neuron "relu" is the non-spiking twin. dropout: share of the last features that a sample is trained without, the
    same ones in all its steps. T: steps, for norm "tebn". compat: as published, no norm, currents are pooled, and
    spikes of a last layer of neurons are the output; with neuron="leaky" and tau=2.0 it is snnTorch's network.

    Maps frames [T, B, C, H, W] to logits (with compat spikes) [T, B, num_classes], whose mean over T is the answer.
    Raises ValueError for frames below 16 x 16 pixels, a dropout outside 0..1, another neuron or norm, or a
    norm (but for the default) with compat.
    Source: snnTorch's tutorial 7 (Eshraghian et al., Proc. IEEE 2023).
    Example: `EventsConv(2, (34, 34), 10)(frames).mean(0).argmax(1)`.
    """

    def __init__(
        self,
        in_channels: int = 2,
        size: tuple[int, int] = (34, 34),
        num_classes: int = 10,
        width: int = 12,
        neuron: str = 'lif',
        norm: str = 'bn',
        tau: float | None = None,
        dropout: float = 0.0,
        T: int | None = None,
        compat: bool = False,
    ) -> None:
        super().__init__()
        if min(size) < SMALLEST:
            raise ValueError(f'size: expected at least {SMALLEST} x {SMALLEST} pixels, got {tuple(size)}')
        if compat and norm not in ('bn', 'none'):
            raise ValueError(f'norm: with compat there is none, got {norm!r}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout: expected a share from 0 to below 1, got {dropout}')
        self.dropout = dropout
        channels, cut = (width, width * 8 // 3), KERNEL - 1
        stages: list[nn.Module] = []
        for inputs, outputs in zip((in_channels, *channels), channels, strict=False):
            convolution = nn.Conv2d(inputs, outputs, KERNEL, bias=compat or norm == 'none')
            stages.append(SeqToANNContainer(convolution))
            if compat:
                stages += [SeqToANNContainer(nn.MaxPool2d(2)), layer_of(neuron, tau)]
            else:
                stages += [norm_neuron(neuron, outputs, norm, T, tau), MaxPool2d(2)]
        self.features = nn.Sequential(*stages)
        rows, columns = (((side - cut) // 2 - cut) // 2 for side in size)
        linear = SeqToANNContainer(nn.Linear(channels[1] * rows * columns, num_classes))
        self.classifier = nn.Sequential(linear, layer_of(neuron, tau)) if compat else linear

    def forward(self, x: Tensor) -> Tensor:
        """Logits [T, B, num_classes] of x [T, B, C, H, W]."""
        x = self.features(x).flatten(2)
        if self.training and self.dropout:
            x = x * nn.functional.dropout(torch.ones_like(x[0]), self.dropout)
        return self.classifier(x)
