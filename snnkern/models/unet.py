"""U-Net with BatchNorm for segmentation."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """Four max-pools down and four transposed convolutions up, two 3 x 3 convolutions on each level, skips joined.

    in_channels: channels of the image. num_classes: maps of logits (1: foreground or not). width: channels of
    the first level; the levels have width x 1, 2, 4, 8, 16 (64 to 1024 by default). Input
    [B, in_channels, H, W] with H and W multiples of 16, output LOGITS [B, num_classes, H, W]: the sigmoid
    belongs to the loss or the readout. Raises ValueError for other sizes.

    Source: Ronneberger et al., arXiv 1505.04597, padded and with BatchNorm as in BrainCog's conversion of it.
    Example: `UNet(width=8)(torch.rand(2, 1, 64, 64)).sigmoid()`.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 1, width: int = 64) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(5)]
        self.stem = _double(in_channels, width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double(above, below)) for above, below in pairwise(sizes)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(size, size // 2, 2, stride=2) for size in sizes[:0:-1])
        self.join = nn.ModuleList(_double(size, size // 2) for size in sizes[:0:-1])
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes, H, W] of images [B, in_channels, H, W]."""
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), levels.pop()], 1))
        return self.head(x)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
