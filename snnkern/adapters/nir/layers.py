"""What an imported graph is made of, where torch and snnkern.nn have no module for it. All take [T, B, ...]."""

from typing import Any

import torch
from torch import Tensor, nn

from snnkern import neurons
from snnkern._arguments import repeated
from snnkern.charges import Charge
from snnkern.fires import Binary
from snnkern.nn import Neuron
from snnkern.resets import NoReset


class Entry(nn.Module):
    """Checks the input of a network. shape: of one step of one sample; None: unknown. Raises ValueError."""

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        inner = tuple(x.shape[2:])
        # Norse and snnTorch write the batch into the shape, too.
        if not inner or (self.shape is not None and inner != self.shape[len(self.shape) - len(inner) :]):
            raise ValueError(f'x must be [T, B, ...] with steps of shape {self.shape}, got {tuple(x.shape)}')
        return x


class OverSteps(nn.Module):
    """A layer without state at every step of [T, B, ...]. A step that is repeated (`expand`) is computed once."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if repeated(x):
            y = self.layer(x[0])
            return y.expand(len(x), *y.shape)
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Scale(nn.Module):
    """x * scale, one number or one for each value of a step."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer('scale', scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer('scale')


class Placed(Neuron):
    """`nn.Neuron` with a potential to start from, and numbers that may differ from neuron to neuron.

    flat: tensors count all neurons of a step, [N], in place of channels. v0: the potential before the first step, as
    it broadcasts with a step of one sample; None: as ever.
    """

    def __init__(
        self, neuron: neurons.Neuron, tensors: dict[str, Tensor], flat: bool = False, v0: Tensor | None = None
    ) -> None:
        super().__init__(neuron, tensors=tensors)
        self.flat = flat
        self.register_buffer('v0', v0)

    def carried(self, x: Tensor) -> Tensor | None:
        """The state, or what there is before the first step."""
        state, v0 = super().carried(x), self._buffers['v0']
        return v0.expand(x.shape[1:]).contiguous() if state is None and v0 is not None else state

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Any:
        """Spikes [T, B, ...] of the input current x [T, B, ...]."""
        if not self.flat or x.dim() == 3:
            return super().forward(x, residual)
        other = None if residual is None else residual.flatten(2)
        return super().forward(x.flatten(2), other).unflatten(2, x.shape[2:])


class Membrane(Placed):
    """The potential of neurons that never fire: a leaky integrator, the usual readout."""

    def __init__(self, charge: Charge, tensors: dict[str, Tensor], flat: bool = False) -> None:
        super().__init__(neurons.Neuron(charge, Binary(), NoReset()), tensors, flat)
        self.store_v_seq = True

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Potentials [T, B, ...] after every step."""
        super().forward(x, residual)
        assert self.v_seq is not None
        v, self.v_seq = self.v_seq, None
        return v.view(x.shape).to(x.dtype)


def tensor(values: Any) -> Tensor:
    """Numbers of a graph as float32."""
    return torch.as_tensor(values, dtype=torch.float32).clone()
