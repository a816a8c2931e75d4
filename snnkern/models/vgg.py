"""VGG with BatchNorm and max-pools, for 32 x 32 images."""

from collections.abc import Sequence

from torch import Tensor, nn

CONVOLUTIONS = (2, 2, 4, 4, 3)


class VGG(nn.Module):
    """Five stages of 3 x 3 convolutions with BatchNorm and ReLU, a 2 x 2 max-pool after each, one linear layer.

    in_channels: channels of the image. num_classes: number of logits. width: channels of the first stage; the
    stages have width x 1, 2, 4, 8, 8 (64-128-256-512-512 by default). convolutions: how many each stage has;
    2-2-4-4-3 is the VGG18 of BrainCog's conversion study. Input [B, in_channels, 32, 32], output logits
    [B, num_classes].

    Source: Simonyan and Zisserman, arXiv 1409.1556; one linear layer as usual on CIFAR.
    Example: `VGG(width=16)(torch.rand(8, 3, 32, 32))`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        width: int = 64,
        convolutions: Sequence[int] = CONVOLUTIONS,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for count, factor in zip(convolutions, (1, 2, 4, 8, 8), strict=True):
            for _ in range(count):
                outputs = width * factor
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, in_channels, 32, 32]."""
        return self.classifier(self.features(x).flatten(1))
