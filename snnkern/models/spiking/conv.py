"""A small convolutional spiking network for small images."""

from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.models.spiking.neurons import norm_neuron
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.pool import MaxPool2d


class ConvNet(nn.Module):
    """Twice a convolution, norm fused with its neurons and 2 x 2 max-pool, then one linear layer.

    in_channels, size, num_classes: channels and height and width (both divided by 4) of images, and classes. width:
    channels of the first convolution; the second has twice as many. kernel_size: of both, padded to keep the size; 5 as
    in LeNet. neuron, norm, tau: see `neurons.norm_neuron`;
    neuron "relu" is the non-spiking twin. T: steps, for norm "tebn".

    Maps [T, B, C, H, W] to logits [T, B, num_classes], whose mean over T is the answer; a constant input is convolved
    once. Raises ValueError for a size below 4 or another neuron or norm. Source: the usual MNIST network of
    SpikingJelly's CSNN example (Fang et al., ICCV 2021), with one linear layer.
    Example: `ConvNet(1, (28, 28), 10)(encode.direct(images, T=8)).mean(0).argmax(1)`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: tuple[int, int] = (28, 28),
        num_classes: int = 10,
        width: int = 32,
        kernel_size: int = 3,
        neuron: str = 'lif',
        norm: str = 'bn',
        tau: float | None = None,
        T: int | None = None,
    ) -> None:
        super().__init__()
        whole('kernel_size', kernel_size)
        if min(size) < 4:
            raise ValueError(f'size: expected at least 4 x 4 pixels, got {tuple(size)}')
        stages: list[nn.Module] = []
        for inputs, outputs in ((in_channels, width), (width, 2 * width)):
            convolution = nn.Conv2d(inputs, outputs, kernel_size, padding='same', bias=norm == 'none')
            stages += [SeqToANNContainer(convolution), norm_neuron(neuron, outputs, norm, T, tau), MaxPool2d(2)]
        self.features = nn.Sequential(*stages)
        features = 2 * width * (size[0] // 4) * (size[1] // 4)
        self.classifier = SeqToANNContainer(nn.Flatten(), nn.Linear(features, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [T, B, num_classes] of x [T, B, C, H, W]."""
        return self.classifier(self.features(x))
