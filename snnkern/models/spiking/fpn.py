"""Feature pyramid head: from the taps of an encoder to a map of classes, coarse to fine."""

from collections.abc import Sequence

from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.models.spiking.vgg import Layers
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.layerwise import LayerWiseConv2d

__all__ = ['FPNHead']

READOUTS = ('current', 'spikes')


def resized(x: Tensor, like: Tensor) -> Tensor:
    """x [T, B, C, h, w] at the size of another, bilinear, corner pixels on corner pixels."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return SeqToANNContainer(nn.Upsample(tuple(like.shape[-2:]), mode='bilinear', align_corners=True))(x)


class FPNHead(nn.Module):
    """The decoder of the segmentation SNN: adds each tap to what came from the coarser ones, and reads a map out.

    channels: of the encoder's taps, fine to coarse. num_classes: K. layers: makes the layers. hidden: channels of the
    two coarsest sums; from the third on half of it. readout: "current", a 1 x 1 convolution whose output has no bounds,
    or "spikes" of neurons behind it, as published, which give a mean of T + 1 levels between 0 and 1 (with binary
    spikes).

    Maps taps [T, B, C_i, h_i, w_i] to [T, B, K, h_0, w_0], the size of the finest. Weights of two or more dimensions
    start from Glorot's uniform distribution. Raises ValueError for another readout, fewer than two taps and odd hidden.
    Source: FPNSegmentationHead of the segmentation SNN on COCO.
    Example: `FPNHead(encoder.channels, 11, Layers('bias-lif'), hidden=64)(encoder(x))`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        layers: Layers,
        hidden: int = 256,
        readout: str = 'current',
    ) -> None:
        super().__init__()
        whole('hidden', hidden, at_least=2)
        if readout not in READOUTS:
            raise ValueError(f'readout: expected one of {", ".join(READOUTS)}, got {readout!r}')
        if len(channels) < 2 or hidden % 2:
            raise ValueError(f'channels: expected two taps or more and an even hidden, got {channels} and {hidden}')
        *taps, coarsest = channels
        self.top = nn.Sequential(layers.conv(coarsest, hidden, 1), layers.after(hidden))
        self.adapters, self.mixes = nn.ModuleList(), nn.ModuleList()
        for level, tap in enumerate(reversed(taps)):
            inputs = hidden if level < 2 else hidden // 2
            outputs = hidden if level < 1 else hidden // 2
            self.adapters.append(layers.conv(tap, inputs, 1))
            self.mixes.append(nn.Sequential(layers.conv(inputs, outputs), layers.after(outputs)))
        inputs = hidden if len(taps) < 2 else hidden // 2
        if readout == 'spikes':
            self.out = layers.conv(inputs, num_classes, 1)
        else:
            self.out = LayerWiseConv2d(inputs, num_classes, None, 1, bias=True, norm='none')
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Maps [T, B, K, h, w] of taps, fine to coarse."""
        *finer, coarsest = taps
        x = self.top(coarsest)
        for adapter, mix, tap in zip(self.adapters, self.mixes, reversed(finer), strict=True):
            x = mix(adapter(tap, resized(x, tap)))
        return self.out(x)
