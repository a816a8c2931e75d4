"""What an image has of its own beside the mean of its neighbourhood."""

from torch import Tensor, nn
from torch.nn import functional as F

from snnkern._checks import whole

__all__ = ['LocalDifference2d']


class LocalDifference2d(nn.Module):
    """x - upsample(avg_pool(x)) at every step: x without the mean of each window, of both signs, of the same size.

    Maps [N, C, H, W] or [T, B, C, H, W] to the same shape; a constant image becomes 0 (away from a padded border).
    kernel_size, stride (None: kernel_size), padding: of the average pool. The means come back to the size of x by
    nearest neighbour; where windows do not fill x (odd sides), they are stretched over it: of 5 columns, the first
    three take the mean of columns 0 and 1, the others that of 2 and 3.
    Raises ValueError for x of fewer than four dimensions. Source: CustomAvgPool2d of the segmentation SNN on COCO.
    Example: `LocalDifference2d()(torch.rand(8, 2, 3, 32, 32))`.
    """

    def __init__(self, kernel_size: int = 2, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        whole('kernel_size', kernel_size)
        whole('padding', padding, at_least=0)
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        whole('stride', self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Differences [..., C, H, W] of x [..., C, H, W]."""
        if x.dim() < 4:
            raise ValueError(f'x must be [N, C, H, W] or [T, B, C, H, W], got shape {tuple(x.shape)}')
        images = x.flatten(0, -4)
        mean = F.avg_pool2d(images, self.kernel_size, self.stride, self.padding)
        return (images - F.interpolate(mean, images.shape[-2:], mode='nearest')).view(x.shape)

    def extra_repr(self) -> str:
        return f'{self.kernel_size}, stride={self.stride}, padding={self.padding}'
