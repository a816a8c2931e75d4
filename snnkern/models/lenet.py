"""LeNet-5 with BatchNorm and ReLU, for 32 x 32 images: without and with the two hidden linear layers."""

from torch import Tensor, nn


class LeNet5(nn.Module):
    """Three 5 x 5 convolutions (6, 16, 120 channels), BatchNorm and ReLU, two max-pools, one linear layer.

    in_channels: channels of the image. num_classes: number of logits. Input [B, in_channels, 32, 32],
    output logits [B, num_classes]. ReLU takes the place of the original's squashing functions and layer F6 is
    left out, as in the converted LeNets of Li and Zeng (IJCAI 2022).

    Source: LeCun et al., Proc. IEEE 1998. Example: `LeNet5()(torch.rand(8, 1, 32, 32))`.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(in_channels, 6), nn.MaxPool2d(2), *_block(6, 16), nn.MaxPool2d(2), *_block(16, 120)
        )
        self.classifier = nn.Linear(120, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, in_channels, 32, 32]."""
        return self.classifier(self.features(x).flatten(1))


class LeNetClassic(nn.Module):
    """Two 5 x 5 convolutions (6 and 16 channels) with BatchNorm, ReLU and max-pool, then 400-120-84-classes.

    in_channels: channels of the image. num_classes: number of logits. Input [B, in_channels, 32, 32],
    output logits [B, num_classes]. The classic layers C5 and F6 are linear here; ReLU and max-pools take the
    place of the squashing functions and of the trained subsampling.

    Source: LeCun et al., Proc. IEEE 1998. Example: `LeNetClassic()(torch.rand(8, 1, 32, 32))`.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(*_block(in_channels, 6), nn.MaxPool2d(2), *_block(6, 16), nn.MaxPool2d(2))
        self.hidden = nn.Sequential(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.classifier = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, in_channels, 32, 32]."""
        return self.classifier(self.hidden(self.features(x).flatten(1)))


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # BatchNorm has a bias of its own, but a converted network folds both into one.
    return nn.Conv2d(inputs, outputs, 5), nn.BatchNorm2d(outputs), nn.ReLU()
