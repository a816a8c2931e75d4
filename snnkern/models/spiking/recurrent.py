"""The ordinary recurrent network that spiking ones are compared with."""

from torch import Tensor, nn

from snnkern.nn.fold import SeqToANNContainer


class RNN(nn.Module):
    """A recurrent layer of tanh units and a linear readout at every step: no spikes, the same time steps as input.

    h_t = tanh(W x_t + U h_(t-1) + b) (Elman's network, torch.nn.RNN), h_0 = 0, as wide as the hidden layer of the
    spiking `MLP` that it is the twin of. It has the weights U besides, since its units have no memory of their own.
    in_channels, size, num_classes: channels and height and width of images, and classes. hidden: units.

    Maps [T, B, C, H, W] (or [T, B, C * H * W]) to logits [T, B, num_classes]. Source: Elman, Cognitive Science 1990.
    Example: `RNN(1, (28, 28), 10)(encode.direct(images, T=8)).mean(0).argmax(1)`.
    """

    def __init__(
        self, in_channels: int = 1, size: tuple[int, int] = (28, 28), num_classes: int = 10, hidden: int = 300
    ) -> None:
        super().__init__()
        self.recurrent = nn.RNN(in_channels * size[0] * size[1], hidden)
        self.readout = SeqToANNContainer(nn.Linear(hidden, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [T, B, num_classes] of x [T, B, C, H, W]."""
        return self.readout(self.recurrent(x.flatten(2))[0])
