"""FastestDet, a detector of 0.24 million parameters whose activations are all ReLU, for images of 352 x 352 pixels."""

import torch
from torch import Tensor, nn

from snnkern.models.boxes import corners, fits

REPEATS = (4, 8, 4)
CHANNELS = (24, 48, 96, 192)
SPP_CHANNELS = 96


class ShuffleBlock(nn.Module):
    """A block of ShuffleNetV2: 1 x 1, depthwise 3 x 3 and 1 x 1 convolution beside a second branch, both joined.

    channels: of each branch's output. stride: 1: x [B, 2 * channels, H, W], whose even channels pass as they are and
    whose odd ones are convolved; 2: x [B, channels, H, W] goes into both branches. Output
    [B, 2 * channels, H / stride, W / stride].

    Source: Ma et al., arXiv 1807.11164; even and odd channels as in FastestDet. Example:
    `ShuffleBlock(24, stride=2)(torch.rand(1, 24, 88, 88))`.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.branch_main = nn.Sequential(
            *_pointwise(channels, channels), *_depthwise(channels, 3, stride), *_pointwise(channels, channels)
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(*_depthwise(channels, 3, 2), *_pointwise(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, 2 * channels, H / stride, W / stride] of x."""
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        return torch.cat([x[:, ::2], self.branch_main(x[:, 1::2])], 1)


class ShuffleBackbone(nn.Module):
    """A 3 x 3 stem, a max-pool and three stages of shuffle blocks. Input [B, 3, H, W]; output three maps.

    Source: as of ShuffleBlock, at FastestDet's width. Example: `ShuffleBackbone()(torch.rand(1, 3, 64, 64))[2]`.
    """

    def __init__(self) -> None:
        super().__init__()
        stem = CHANNELS[0]
        self.first_conv = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(ShuffleBlock(channels, 2), *(ShuffleBlock(channels) for _ in range(count - 1)))
            for channels, count in zip(CHANNELS, REPEATS, strict=False)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [B, 48, H / 8, W / 8], [B, 96, H / 16, W / 16] and [B, 192, H / 32, W / 32] of x [B, 3, H, W]."""
        p1 = self.stage2(self.maxpool(self.first_conv(x)))
        p2 = self.stage3(p1)
        return p1, p2, self.stage4(p2)


class Conv1x1(nn.Module):
    """A 1 x 1 convolution with BatchNorm and ReLU. inputs, outputs: channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_pointwise(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, outputs, H, W] of x [B, inputs, H, W]."""
        return self.conv1x1(x)


class SPP(nn.Module):
    """Three scales of depthwise 5 x 5 convolutions, one, two and three deep, joined and added to what they read.

    inputs, outputs: channels. Input [B, inputs, H, W], output [B, outputs, H, W].

    Source: FastestDet. Example: `SPP(336, 96)(torch.rand(1, 336, 22, 22))`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv1x1 = Conv1x1(inputs, outputs)
        self.S1, self.S2, self.S3 = (_tower(outputs, depth) for depth in (1, 2, 3))
        self.output = nn.Sequential(nn.Conv2d(3 * outputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, outputs, H, W] of x [B, inputs, H, W]."""
        x = self.Conv1x1(x)
        return self.relu(x + self.output(torch.cat([self.S1(x), self.S2(x), self.S3(x)], 1)))


class Branch(nn.Module):
    """A depthwise 5 x 5 and a 1 x 1 convolution, the last without activation. inputs, outputs: channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(*_tower(inputs, 1), *_pointwise(inputs, outputs)[:2])

    def forward(self, x: Tensor) -> Tensor:
        """Raw maps [B, outputs, H, W] of x [B, inputs, H, W]."""
        return self.conv5x5(x)


class DetectHead(nn.Module):
    """Objectness, box and class from one 1 x 1 convolution and a branch each. channels: of the input.

    Source: FastestDet. Example: `DetectHead(96, 80)(torch.rand(1, 96, 22, 22))`.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1x1 = Conv1x1(channels, channels)
        self.obj_layers = Branch(channels, 1)
        self.reg_layers = Branch(channels, 4)
        self.cls_layers = Branch(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Raw maps [B, 1 + 4 + num_classes, H, W] of x [B, channels, H, W]."""
        x = self.conv1x1(x)
        return torch.cat([self.obj_layers(x), self.reg_layers(x), self.cls_layers(x)], 1)


class CellHead(nn.Module):
    """Reads FastestDet's raw maps: one box for each cell. num_classes: K; channels: of the maps, 1 + 4 + K.

    Source: FastestDet. Example: `boxes, scores = CellHead(80).decode(torch.rand(1, 85, 22, 22))`.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.channels = 5 + num_classes

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, h * w, 4], corners x1, y1, x2, y2 as shares of the image, and scores [B, h * w, K], of maps.

        maps: [B, 5 + K, h, w], raw: objectness, x, y, width, height, classes. A centre lies tanh(x), tanh(y) cells
        off its cell's corner, sizes are the sigmoid's share of the image, a score is the sigmoid of objectness times
        the softmax of the class. Boxes may reach out of the image. Raises ValueError for other channels.
        """
        fits(self, maps)
        t = maps.float().movedim(1, -1)
        rows, columns = (torch.arange(n, device=maps.device) for n in maps.shape[2:])
        cells = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1)
        centres = (t[..., 1:3].tanh() + cells) / torch.tensor([len(columns), len(rows)], device=maps.device)
        scores = t[..., :1].sigmoid() * t[..., 5:].softmax(-1)
        return corners(centres, t[..., 3:5].sigmoid()).flatten(1, 2), scores.flatten(1, 2)


class FastestDet(nn.Module):
    """ShuffleNetV2, SPP and a head without anchors: raw maps of objectness, box and class for each cell of 16 pixels.

    in_channels: 3, RGB in 0..1 (the trained network reads BGR, so the channels are turned round first). num_classes:
    K. Input [B, 3, H, W] with H and W multiples of 32 (352 x 352 in training, the whole image resized), output RAW
    maps [B, 1 + 4 + K, H / 16, W / 16]; `head` decodes them. The names of the parameters are those of
    github.com/dog-qiuqiu/FastestDet, whose weights load as they are. Raises ValueError for other in_channels.

    Source: the repository above. Example: `net = FastestDet(); boxes, scores = net.head.decode(net(x))`.
    """

    stride = 32  # of the deepest map; sides of images are multiples of it

    def __init__(self, in_channels: int = 3, num_classes: int = 80) -> None:
        super().__init__()
        if in_channels != 3:
            raise ValueError(f'fastestdet takes colour images: in_channels is 3, not {in_channels}')
        self.backbone = ShuffleBackbone()
        self.upsample = nn.Upsample(scale_factor=2, mode='nearest')
        self.avg_pool = nn.AvgPool2d(3, 2, 1)
        self.SPP = SPP(sum(CHANNELS[1:]), SPP_CHANNELS)
        self.detect_head = DetectHead(SPP_CHANNELS, num_classes)
        self.head = CellHead(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Raw maps [B, 1 + 4 + num_classes, H / 16, W / 16] of images x [B, 3, H, W], RGB in 0..1."""
        p1, p2, p3 = self.backbone(x.flip(1))
        return self.detect_head(self.SPP(torch.cat([self.avg_pool(p1), p2, self.upsample(p3)], 1)))


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _depthwise(channels: int, size: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, size, stride, size // 2, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _tower(channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(depth) for layer in (*_depthwise(channels, 5), nn.ReLU())))
