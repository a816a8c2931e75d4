"""ResNets of basic blocks for 32 x 32 images, with their shortcuts or without."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

RESNET18 = (2, 2, 2, 2)
RESNET101 = (3, 4, 23, 3)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, the block's input added before the second ReLU.

    inputs, outputs: channels. stride: of the first convolution. residual: False leaves the shortcut out. Both
    ReLU sites call one module, as the networks of BrainCog's conversion study do: a converter has to give each
    site a neuron of its own. Input [B, inputs, H, W], output [B, outputs, H / stride, W / stride].

    Source: He et al., arXiv 1512.03385. Example: `BasicBlock(16, 32, 2)(torch.rand(8, 16, 32, 32))`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.residual = residual
        self.shortcut = nn.Sequential()
        if residual and (stride != 1 or inputs != outputs):
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, outputs, H / stride, W / stride] of x [B, inputs, H, W]."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.residual:
            out = out + self.shortcut(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A 3 x 3 stem, four stages of basic blocks (width x 1, 2, 4, 8 channels), average pool, one linear layer.

    in_channels: channels of the image. num_classes: number of logits. width: channels of the first stage.
    blocks: how many each stage has; 2-2-2-2 is ResNet-18, 3-4-23-3 what BrainCog's conversion study calls
    ResNet-101. residual: False gives the plain twin without shortcuts. The stem's ReLU is a function and each
    block's is one shared module. Input [B, in_channels, 32, 32], output logits [B, num_classes].

    Source: He et al., arXiv 1512.03385, in the form usual for CIFAR-10.
    Example: `ResNet(width=16)(torch.rand(8, 3, 32, 32))`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        width: int = 64,
        blocks: Sequence[int] = RESNET18,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks[0], 1, residual)
        self.layer2 = _stage(width, width * 2, blocks[1], 2, residual)
        self.layer3 = _stage(width * 2, width * 4, blocks[2], 2, residual)
        self.layer4 = _stage(width * 4, width * 8, blocks[3], 2, residual)
        # The maps are 4 x 4 here, so this is the mean; the stride is the published network's.
        self.pool = nn.AvgPool2d(4, stride=2)
        self.classifier = nn.Linear(width * 8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, in_channels, 32, 32]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.classifier(self.pool(x).flatten(1))


def _stage(inputs: int, outputs: int, count: int, stride: int, residual: bool) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, residual)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, residual) for _ in range(count - 1)))
