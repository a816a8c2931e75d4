"""The segmentation SNN: VGG encoder and FPN head, and weights of a classifier to start from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.models.spiking.fpn import FPNHead
from snnkern.models.spiking.vgg import Layers, vgg_encoder

__all__ = ['SegmentNet', 'adapt_channels']

FIRST = 'encoder.stages.0.0.layers.conv.weight'


class SegmentNet(nn.Module):
    """VGG16 and FPN of spiking neurons: frames [T, B, C, H, W] to maps of classes [T, B, K, H / 2, W / 2].

    in_channels: C, 6 for saccade frames of RGB images, 2 for ODG or events. size: (H, W), at least 32 without
    compat. num_classes: K. width: channels of the first stage; 64 is the full network of 256 channels in the head.
    neuron: a name of `neurons.neuron`, such as "bias-lif", "lif" or "double-side-plif"; "relu" is the non-spiking
    twin. norm: "gn-tep", the published one, "tep", the same with BatchNorm, fused with the neurons, or another of
    `neurons.norm_neuron`. T: only for "tebn". difference: the second stage, and the head as its finest tap, see the
    local difference of the first one's output. readout: see `FPNHead`. compat: the published encoder of ten
    convolutions, whose taps all have full size.
    hidden: of the head; None: 4 * width. tau, pool, neuron_options: see `SpikingVGG`.

    The prediction is the mean over T, resized. Neurons carry their state: `snnkern.nn.reset(net)` before other frames.
    Raises ValueError for an unknown option and images too small. Source: the segmentation SNN of yahuiwei123.
    Example: `SegmentNet(6, (180, 240), 11, width=16)(encode.saccade(images)).mean(0).argmax(1)`.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        num_classes: int,
        *,
        width: int = 64,
        neuron: str = 'bias-lif',
        norm: str = 'gn-tep',
        T: int | None = None,
        tau: float | None = None,
        difference: bool = False,
        readout: str = 'current',
        compat: bool = False,
        hidden: int | None = None,
        pool: str | None = 'max',
        neuron_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        layers = Layers(neuron, norm, T, tau, **(neuron_options or {}))
        self.encoder = vgg_encoder(in_channels, size, layers, width, 16, pool, difference, compat)
        hidden = 4 * width if hidden is None else hidden
        self.head = FPNHead(self.encoder.channels, num_classes, layers, hidden, readout)
        self.to(memory_format=torch.channels_last)  # convolutions of few channels take half the time

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, K, h, w] of frames [T, B, C, H, W]."""
        return self.head(self.encoder(x))

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a `SpikingVGG` that fit here: its encoder, with the first convolution on these channels.

        A classifier of two channels is one of events, off and on, and saccade frames and ODG have what rises first: its
        channels change places. Then `adapt_channels` makes six of two. The rest of a classifier is left out. What has
        another shape (another width) stays as it is, for whoever loads to say so. A segmenter's own weights pass
        unchanged.
        Example: `segmenter.load_state_dict(segmenter.adapt(classifier.state_dict()), strict=False)`.
        """
        own = self.state_dict()
        kept = {name: value for name, value in state.items() if name in own}
        if FIRST in kept:
            first = kept[FIRST]
            events = first.shape[1] == 2 and any(name.startswith('hidden.') for name in state)
            kept[FIRST] = adapt_channels(first.flip(1) if events else first, own[FIRST].shape[1])
        return kept


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight [K, C, h, w] for another number of input channels, [K, channels, h, w].

    From 2 to 2n: each n times in a row, divided by n. So of what rises and what falls, each goes to R, G and B of that
    part of saccade frames, and grey frames give the currents that events of that strength do. From another C to n * C:
    all of them n times, divided by n, so that R, G, B become R, G, B of what rises and R, G, B of what falls.
    Otherwise: the mean over C for all, times C / channels; then input that is the same in all channels gives the same
    currents. Equal channels: the weight itself. Example: `adapt_channels(torch.rand(64, 2, 3, 3), 6).shape`.
    """
    given = weight.shape[1]
    if channels == given:
        return weight
    if channels % given == 0:
        times = channels // given
        return (weight.repeat_interleave(times, 1) if given == 2 else weight.repeat(1, times, 1, 1)) / times
    return weight.mean(1, keepdim=True).expand(-1, channels, -1, -1) * (given / channels)
