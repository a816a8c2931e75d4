"""Hybrid plasticity: a network part of whose weights learns by itself, while gradients learn how."""

from typing import Any

from torch import Tensor, nn

from snnkern._checks import positive
from snnkern.nn.plastic import Plastic

CEILING = 1.1  # of an output


class HybridMLP(nn.Module):
    """Two plastic layers (`nn.Plastic`); the answer is min(u_T / v_threshold, 1.1) of the last potentials.

    in_channels, size, num_classes: channels and height and width of images, and classes. hidden: neurons of the first
    layer. mode: "hp": both layers learn locally and by gradients; "gp": by gradients only; "lp": the first layer
    learns locally only, with weights, and rates of its learning, that stay random; the second is that of "hp".
    local_rate: learning rate of alpha, beta and eta over that of the weights. The authors have 0.5 and 30 epochs; to
    come as far in a few epochs, it must be higher. options: of `nn.Plastic` (adapt, tau, decay, ...).

    Maps [T, B, C, H, W], pixels in 0..1, to [1, B, num_classes], which is to be near one-hot labels (mean square
    error). Raises ValueError for another mode or a rate that is not positive. Source: Wu et al., Nat. Commun. 13:65
    (2022): 784-512-10, T = 10.
    Example: `HybridMLP(mode='gp')(encode.direct(images, T=10))[0].argmax(1)`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: tuple[int, int] = (28, 28),
        num_classes: int = 10,
        hidden: int = 512,
        mode: str = 'hp',
        local_rate: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__()
        positive('local_rate', local_rate)
        self.local_rate = local_rate
        self.plastic1 = Plastic(in_channels * size[0] * size[1], hidden, mode, **options)
        self.plastic2 = Plastic(hidden, num_classes, 'hp' if mode == 'lp' else mode, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [1, B, num_classes] of x [T, B, C, H, W]."""
        _, u = self.plastic2(self.plastic1(x.flatten(2)), last=True)
        return (u / self.plastic2.neuron.fire.v_threshold).clamp(max=CEILING)[None]

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Weights with this learning rate; alpha, beta and eta with local_rate times it."""
        learned = {name: p for name, p in self.named_parameters() if p.requires_grad}
        base = [p for name, p in learned.items() if '.linear.' in name]
        local = [p for name, p in learned.items() if '.linear.' not in name]
        groups: list[dict[str, Any]] = [{'params': base, 'lr': learning_rate}]
        return groups + ([{'params': local, 'lr': learning_rate * self.local_rate}] if local else [])
