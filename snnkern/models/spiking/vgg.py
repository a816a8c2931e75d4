"""Spiking VGG: classifiers, and the encoder that the segmentation network shares with them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.models.spiking.neurons import neuron, norm_neuron
from snnkern.nn import TEP
from snnkern.nn.difference import LocalDifference2d
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.layerwise import LayerWiseConv2d, LayerWiseLinear

__all__ = ['Layers', 'SpikingVGG', 'VGGEncoder', 'vgg_encoder']

CONVOLUTIONS = {9: (2, 2, 3), 11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
PUBLISHED = (2, 2, 2, 2, 2)
FACTORS = (1, 2, 4, 8, 8)
POOLS = {'max': nn.MaxPool2d, 'avg': nn.AvgPool2d}


class Layers:
    """Makes the layers of one network: the same neurons and norm in all.

    name, norm, T, tau, options: of `neurons.norm_neuron`; norm "gn-tep" is GroupNorm of one group, neurons and TEP, as
    the segmentation SNN was published, and "tep" has BatchNorm, fused with the neurons, in its place. Convolutions and
    linear layers have the same names for all norms; what belongs to the norm has not. The text "none" of an option is
    None, which TOML files do not have (v_reset: soft).
    """

    def __init__(
        self, name: str, norm: str = 'bn', T: int | None = None, tau: float | None = None, **options: Any
    ) -> None:
        self.name, self.norm, self.T, self.tau = name, norm, T, tau
        self.options = {key: None if value == 'none' else value for key, value in options.items()}
        self.group_norm, self.tep = norm == 'gn-tep', norm in ('gn-tep', 'tep')
        if norm == 'tep':
            self.norm = 'bn'

    def neuron(self, channels: int) -> nn.Module:
        """A layer of neurons, with its norm where that is not the convolution's own."""
        if self.group_norm:
            return neuron(self.name, self.tau, **self.options)
        return norm_neuron(self.name, channels, self.norm, self.T, self.tau, **self.options)

    def conv(self, inputs: int, outputs: int, kernel_size: int = 3) -> LayerWiseConv2d:
        """Convolution, norm, neurons."""
        norm = 'gn' if self.group_norm else 'none'
        return LayerWiseConv2d(inputs, outputs, self.neuron(outputs), kernel_size, norm=norm)

    def linear(self, inputs: int, outputs: int) -> LayerWiseLinear:
        """Linear layer, norm, neurons; no TEP, which needs pixels."""
        layer: nn.Module
        if self.group_norm or self.norm == 'none':
            layer = neuron(self.name, self.tau, **self.options)
        elif self.name == 'relu':
            layer = SeqToANNContainer(nn.BatchNorm1d(outputs), nn.ReLU())
        else:
            layer = norm_neuron(self.name, outputs, self.norm, self.T, self.tau, **self.options)
        return LayerWiseLinear(inputs, outputs, layer, norm='gn' if self.group_norm else 'none')

    def after(self, channels: int) -> nn.Module:
        """What stands behind the neurons."""
        return TEP(channels) if self.tep else nn.Identity()


class VGGEncoder(nn.Module):
    """Stages of 3 x 3 convolutions with neurons, a pool behind each, and what every stage gives.

    in_channels: of x. layers: makes the layers. width: channels of the first stage; the stages have width x 1, 2, 4, 8,
    8. convolutions: how many each stage has, at most five; 2-2-3-3-3 is VGG16. pool: "max", "avg", or None for stages
    of full size, as published. difference: `LocalDifference2d` behind the first stage, the source of signed input.

    Maps x [T, B, in_channels, H, W] to a list, for each stage [T, B, C, H / 2^stage, W / 2^stage], sizes rounded down.
    channels: of each stage. Raises ValueError for another pool or more than five stages.
    Example: `VGGEncoder(6, Layers('bias-lif'), width=16)(frames)[-1]`.
    """

    def __init__(
        self,
        in_channels: int,
        layers: Layers,
        width: int = 64,
        convolutions: Sequence[int] = CONVOLUTIONS[16],
        pool: str | None = 'max',
        difference: bool = False,
    ) -> None:
        super().__init__()
        whole('in_channels', in_channels)
        whole('width', width)
        if pool is not None and pool not in POOLS:
            raise ValueError(f'pool: expected one of {", ".join(POOLS)}, or none, got {pool!r}')
        if not 1 <= len(convolutions) <= len(FACTORS):
            raise ValueError(f'convolutions: expected numbers for 1 to {len(FACTORS)} stages, got {convolutions}')
        self.channels = [width * factor for factor in FACTORS[: len(convolutions)]]
        self.stages = nn.ModuleList()
        for count, outputs in zip(convolutions, self.channels, strict=True):
            stage: list[nn.Module] = []
            for inputs in [in_channels, *[outputs] * (count - 1)]:
                stage += [layers.conv(inputs, outputs), layers.after(outputs)]
            if pool is not None:
                stage.append(SeqToANNContainer(POOLS[pool](2)))
            if difference and not self.stages:
                stage.append(LocalDifference2d())
            self.stages.append(nn.Sequential(*stage))
            in_channels = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of every stage."""
        taps = []
        for stage in self.stages:
            x = stage(x)
            taps.append(x)
        return taps


class SpikingVGG(nn.Module):
    """A spiking VGG that classifies: an encoder, linear layers with neurons, and one without, whose output is currents.

    in_channels, size, num_classes: of the input, [T, B, in_channels, *size], and the output, [T, B, num_classes].
    depth: 16 (13 convolutions in five stages, two linear layers of `hidden` neurons and the output), 11 (8, the same)
    or 9 (7 in three stages, one linear layer of `hidden` over all pixels of the last one; of the others their mean is
    taken). hidden: None: 16 * width at depth 9, else 8 * width. width, pool, difference: see `VGGEncoder`. neuron,
    norm, T, tau, neuron_options: of all layers, see `neurons.norm_neuron`; norm also "gn-tep", the published one.
    compat: the published encoder in place of VGG16's, ten convolutions without a pool and one difference, whatever
    pool ("max", the default, or None) and difference say.

    State-dict names: encoder.stages.STAGE.LAYER.*, hidden.LAYER.*, head.*. Raises ValueError for images too small for
    the pools, for unknown options, and another pool with compat. Source: Simonyan and Zisserman, arXiv 1409.1556.
    Example: `SpikingVGG(2, (34, 34), 10, width=16)(frames).mean(0)`.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        num_classes: int,
        *,
        depth: int = 16,
        width: int = 64,
        hidden: int | None = None,
        neuron: str = 'lif',
        norm: str = 'bn',
        T: int | None = None,
        tau: float | None = None,
        pool: str | None = 'max',
        difference: bool = False,
        compat: bool = False,
        neuron_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS or (compat and depth != 16):
            raise ValueError(f'depth: expected one of 9, 11, 16, with compat 16, got {depth!r}')
        layers = Layers(neuron, norm, T, tau, **(neuron_options or {}))
        self.encoder = vgg_encoder(in_channels, size, layers, width, depth, pool, difference, compat)
        self.flatten = depth == 9
        features = self.encoder.channels[-1]
        if self.flatten:
            features *= (size[0] >> 3) * (size[1] >> 3) if pool else size[0] * size[1]
        outputs = (16 if self.flatten else 8) * width if hidden is None else hidden
        self.hidden = nn.Sequential(layers.linear(features, outputs))
        if not self.flatten:
            self.hidden.append(layers.linear(outputs, outputs))
        self.head = LayerWiseLinear(outputs, num_classes, None)
        self.to(memory_format=torch.channels_last)  # convolutions of few channels take half the time

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [T, B, num_classes] of x [T, B, in_channels, *size]."""
        x = self.encoder(x)[-1]
        return self.head(self.hidden(x.flatten(2) if self.flatten else x.mean((-2, -1))))


def vgg_encoder(
    in_channels: int,
    size: tuple[int, int],
    layers: Layers,
    width: int = 64,
    depth: int = 16,
    pool: str | None = 'max',
    difference: bool = False,
    compat: bool = False,
) -> VGGEncoder:
    """The encoder of that depth, or with compat the published one; ValueError for images too small for its pools."""
    convolutions = CONVOLUTIONS[depth]
    if compat and pool not in ('max', None):
        raise ValueError(f'pool: with compat there is none, got {pool!r}')
    if compat:
        convolutions, pool, difference = PUBLISHED, None, True
    least = 2 ** len(convolutions) if pool else 1
    if min(size) < least:
        raise ValueError(f'size: expected at least {least} pixels a side, got {tuple(size)}')
    return VGGEncoder(in_channels, layers, width, convolutions, pool, difference)
