"""The ResNets of He et al. for CIFAR-10: three narrow stages and shortcuts without parameters."""

from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS = {'resnet20': 3, 'resnet32': 5, 'resnet44': 7, 'resnet56': 9}


class CifarBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm and a shortcut of kind A: every second pixel, zeros for new channels.

    inputs, outputs: channels. stride: of the first convolution. Input [B, inputs, H, W], output
    [B, outputs, H / stride, W / stride].

    Source: He et al., arXiv 1512.03385, option A. Example: `CifarBlock(16, 32, 2)(torch.rand(8, 16, 32, 32))`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.added = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, outputs, H / stride, W / stride] of x [B, inputs, H, W]."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.added:
            before = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """ResNet-20, -32, -44, -56: three stages of 16, 32, 64 channels, mean, one linear layer.

    blocks: how many each stage has (3, 5, 7, 9; see DEPTHS). in_channels, num_classes: as usual. width:
    channels of the first stage. Input [B, in_channels, 32, 32], output logits [B, num_classes]. The names of
    the parameters (conv1, bn1, layer1..3, linear) are those of github.com/akamaster/pytorch_resnet_cifar10,
    whose trained weights load as they are (read_weights strips their `module.`); they want RGB with the mean
    and deviation of ImageNet, which `snnkern.data.cifar10` gives.

    Source: He et al., arXiv 1512.03385, section 4.2. Example: `CifarResNet(3)(torch.rand(8, 3, 32, 32))`.
    """

    def __init__(self, blocks: int = 3, in_channels: int = 3, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, 1)
        self.layer2 = _stage(width, width * 2, blocks, 2)
        self.layer3 = _stage(width * 2, width * 4, blocks, 2)
        self.linear = nn.Linear(width * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, in_channels, 32, 32]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inputs: int, outputs: int, count: int, stride: int) -> nn.Sequential:
    first = CifarBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(CifarBlock(outputs, outputs) for _ in range(count - 1)))
