"""Tiny-YOLO: the small network of YOLOv2, which Spiking-YOLO converts."""

from collections.abc import Sequence

from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.models.yolo import YoloHead

SLOPE = 0.1
POOLED = (1, 2, 4, 8, 16)  # channels of stages that end in a max-pool, in units of the first


class TinyYolo(nn.Module):
    """Eight 3 x 3 convolutions with BatchNorm and LeakyReLU(0.1), six max-pools, and a 1 x 1 convolution as head.

    in_channels: of the image. num_classes: K. width: channels of the first convolution; the others have 2, 4, ..., 64
    times as many (16 to 1024). last: of the eighth, in units of width: 64 as trained on VOC, 32 as on COCO. anchors:
    their number or sizes, see `head`, a `YoloHead`, which reads the maps. The sixth pool has stride 1; it sees the
    map's right and lower edge once more, which is what Darknet's pad of -inf comes to. The order of convolutions, and
    of the head's channels, is that of Darknet's files (`snnkern.models.darknet`).

    Input [B, in_channels, H, W] in 0..1, H and W multiples of 32 (416 usually); output raw maps
    [B, A * (5 + K), H / 32, W / 32], to which a spiking network's mean input of the last layer corresponds.

    Source: Redmon and Farhadi, CVPR 2017 (arXiv 1612.08242), yolov2-tiny.
    Example: `net = TinyYolo(num_classes=3).eval(); detect(net.head, net(images))`.
    """

    stride = 32  # of the maps; sides of images are multiples of it

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 20,
        width: int = 16,
        last: int = 64,
        anchors: int | Sequence[Sequence[float]] = 5,
    ) -> None:
        super().__init__()
        for name, value in (('in_channels', in_channels), ('width', width), ('last', last)):
            whole(name, value)
        self.head = YoloHead(num_classes, anchors)
        channels = [in_channels, *(width * n for n in (*POOLED, 32, 64, last))]
        pools: list[list[nn.Module]] = [[nn.MaxPool2d(2)]] * len(POOLED)
        pools += [[nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1)], [], []]
        stages = zip(channels, channels[1:], pools, strict=False)
        self.stages = nn.Sequential(*(_stage(inputs, outputs, pool) for inputs, outputs, pool in stages))
        self.maps = nn.Conv2d(channels[-1], self.head.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, A * (5 + K), H / 32, W / 32] of images [B, in_channels, H, W]."""
        return self.maps(self.stages(x))


def _stage(inputs: int, outputs: int, pool: list[nn.Module]) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE), *pool)
