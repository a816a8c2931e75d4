"""Event-driven programs: weights as csrc/kernels/events.h wants them, and one call for many steps."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern.backends.events import POOLS, WEIGHTS, Axis, Layer, Pool, Slot, Synapse
from snnkern.backends.native.device import DEVICES, at
from snnkern.neurons import Program as Packed

HELD = ('counts', 'currents', 'constant')  # their order is that of Held in csrc/kernels/events.h
WIDE, NARROW = 32, 16  # channels whose weights stand together
LEVELS = 127  # of an int8 weight


def refusal() -> str | None:
    """Why these kernels cannot run here, or None."""
    device = DEVICES['cpu']
    module = device.load()
    return module if isinstance(module, str) else None


class Program:
    """Steps over slots, ready to run.

    weights: the type that they are stored in, one of `events.WEIGHTS`; int8 has a scale for each output channel.
    bytes: of all weights. Raises RuntimeError where the native kernels do not load.
    """

    def __init__(
        self, slots: Sequence[Slot], steps: Sequence[Layer | Pool], weights: torch.dtype = torch.float32
    ) -> None:
        device = DEVICES['cpu']
        module = device.load()
        if not isinstance(module, ModuleType):
            raise RuntimeError(module)
        self.weights = weights
        self.kept: list[Tensor] = []
        self.native = module.EventProgram()
        for slot in slots:
            self.native.slot(HELD.index(slot.kind), slot.height, slot.width, slot.channels)
        for step in steps:
            if isinstance(step, Pool):
                mode = POOLS.index(step.mode)
                self.native.pool(step.target, step.source, mode, self._axis(step.rows), self._axis(step.cols))
            else:
                self._layer(step, slots[step.target].channels)
        self.slots = len(slots)

    @property
    def bytes(self) -> int:
        """Of weights, biases and tables."""
        return sum(t.numel() * t.element_size() for t in self.kept)

    def run(
        self,
        numbers: Sequence[int],
        buffers: Mapping[int, Tensor],
        states: Mapping[int, Tensor],
        steps: int,
        blocks: Sequence[int],
        threads: int,
        together: int = 1,
        images: int | None = None,
        fresh: bool = False,
    ) -> None:
        """Run the steps `numbers` in this order, on the memory of their slots and states (see `events`).

        buffers: by slot; states: by step. steps: T. blocks: how many steps an event stands for, for each of numbers:
        1, 2, 4 or 8, which changes time alone. together: how many images a thread takes through one step before the
        next: its weights are then read once for them. Of fewer images than threads each is shared out.

        images: None: of every slot; memory of slots and states that is of fewer images than these, threads * together
        of them (at most one for each image), is used again for the next ones, which goes easy on the cache: what is
        left there is of some images. fresh: states start anew.
        """
        images = max(len(buffer) for buffer in buffers.values()) if images is None else images
        slots = [buffers.get(slot) for slot in range(self.slots)]
        own = [states.get(number) for number in numbers]
        addresses = [[at(t) for t in some] for some in (slots, own)]
        local = [[t is not None and len(t) < images for t in some] for some in (slots, own)]
        self.native.run(
            numbers, addresses[0], local[0], addresses[1], local[1], images, steps, blocks, together, fresh, threads
        )

    def _keep(self, tensor: Tensor) -> int:
        """The address of a tensor that lives as long as the program."""
        self.kept.append(tensor.contiguous())
        return self.kept[-1].data_ptr()

    def _axis(self, axis: Axis) -> tuple[int, int, int]:
        return self._keep(axis.inputs().to(torch.int32)), axis.out, axis.kernel

    def _layer(self, layer: Layer, channels: int) -> None:
        names, rows = tuple(layer.coefficients), b''
        coefficients = 0
        if layer.neuron is not None:
            rows = Packed(layer.neuron, names).packed
        if names:
            values = [layer.coefficients[name].float().expand(channels) for name in names]
            coefficients = self._keep(torch.stack(values))
        bias = 0 if layer.bias is None else self._keep(layer.bias.float())
        v0 = torch.as_tensor(layer.v0).float()
        start = v0.permute(1, 2, 0) if v0.dim() == 3 else v0
        self.native.layer(layer.target, layer.currents, bias, rows, coefficients, self._keep(start), v0.numel())
        for synapse in layer.synapses:
            self._synapse(synapse)

    def _synapse(self, s: Synapse) -> None:
        look: tuple[Any, ...] = (s.source, self._axis(s.rows), self._axis(s.cols), s.channelwise, s.shared)
        outputs = len(s.weight) // s.groups
        if s.channelwise:
            weight = s.weight[:, :1, :1] if s.shared else s.weight
            sizes = (1, 1, outputs, s.first, s.to, 1)
            self.native.synapse(*look, sizes, 0, self._keep(weight.float().flatten(1).t()))
            return
        block = WIDE if outputs > NARROW else NARROW
        sizes = (s.groups, s.weight.shape[1], outputs, s.first, s.to, block)
        stored, scales = self._stored(s.weight.float())
        # [groups, blocks, taps, inputs, block]
        padded = F.pad(stored.unflatten(0, (s.groups, -1)).flatten(3), (0, 0, 0, 0, 0, -outputs % block))
        laid = padded.unflatten(1, (-1, block)).permute(0, 1, 4, 3, 2)
        self.native.synapse(*look, sizes, WEIGHTS.index(self.weights), self._keep(laid), scales)

    def _stored(self, weight: Tensor) -> tuple[Tensor, int]:
        """Weights as they are stored, and the address of their scales."""
        if self.weights != torch.int8:
            return weight.to(self.weights), 0
        largest = weight.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny)
        scales = largest / LEVELS
        return (weight / scales.view(-1, 1, 1, 1)).round().to(torch.int8), self._keep(scales)
