"""Event-driven programs in plain torch: the specification, and the dense way to compute a layer.

All steps of a layer go through one convolution, time folded into the batch and channels last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern import backends
from snnkern.backends.events import STEPS, Axis, Layer, Pool, Slot, Synapse

NOTHING = -(2**30)  # below every running count


# Where the bytes of a word are; shifts are vectorised, strided copies of bytes are not.
PLACES = (8 * torch.arange(STEPS, dtype=torch.int32)).view(1, STEPS, 1, 1, 1, 1)


def decode(words: Tensor, steps: int) -> Tensor:
    """Counts float32 [T, B, H, W, C] of words [B, K, H, W, C]."""
    each = words.transpose(0, 1).unsqueeze(1) << PLACES.flip(1) >> 8 * (STEPS - 1)
    return each.float().flatten(0, 1)[:steps]


def encode(counts: Tensor, words: Tensor) -> None:
    """Write counts [T, B, H, W, C], whole numbers from -127 to 127, as words [B, K, H, W, C]."""
    rest = -len(counts) % STEPS
    whole = counts.to(torch.int32) if rest == 0 else F.pad(counts.to(torch.int32), (0, 0) * 4 + (0, rest))
    each = (whole.unflatten(0, (-1, STEPS)) & 255).bitwise_left_shift_(PLACES)
    torch.sum(each, 1, dtype=torch.int32, out=words.transpose(0, 1))


def start(step: Layer | Pool, slots: Sequence[Slot], images: int) -> Tensor | None:
    """The state before the first step; None if a step has none."""
    if isinstance(step, Pool):
        shape = step.state_shape(slots[step.source], images)
        return None if shape is None else torch.zeros(shape, dtype=torch.int32)
    shape = step.state_shape(slots[step.target], images)
    if shape is None:
        return None
    v0 = torch.as_tensor(step.v0, dtype=torch.float32)
    state = torch.zeros(shape)
    state[:, :, 0] = v0.permute(1, 2, 0) if v0.dim() == 3 else v0
    return state


class Program:
    """Steps over slots, as `snnkern.backends.native.events.Program` takes them, in torch."""

    def __init__(
        self, slots: Sequence[Slot], steps: Sequence[Layer | Pool], weights: torch.dtype = torch.float32
    ) -> None:
        if weights != torch.float32:
            raise ValueError(f'weights of the reference must be torch.float32, got {weights}')
        self.slots = slots
        self.steps = [_Layer(step, slots) if isinstance(step, Layer) else step for step in steps]

    def run(
        self,
        numbers: Sequence[int],
        buffers: Mapping[int, Tensor],
        states: Mapping[int, Tensor],
        steps: int,
        blocks: Sequence[int] = (),
        threads: int = 0,
        together: int = 1,
        images: int | None = None,
        fresh: bool = False,
    ) -> None:
        """Run the steps of these numbers, in this order. buffers: by slot; states: by number, changed in place.

        steps: of the call. blocks, threads, together: choices of the native kernels, which mean nothing here; images:
        all of those that there is memory for. fresh: states start anew.
        """
        for number in numbers:
            step = self.steps[number]
            if fresh and number in states:
                first = start(step if isinstance(step, Pool) else step.step, self.slots, 1)
                assert first is not None
                states[number].copy_(first)
            if isinstance(step, Pool):
                _pool(step, buffers, states.get(number), steps)
            else:
                step.run(buffers, states.get(number), steps)


def run(
    step: Layer | Pool, slots: Sequence[Slot], buffers: Mapping[int, Tensor], state: Tensor | None, steps: int
) -> None:
    """Run one step from slots to its target. state: what `start` gives or the last call left; changed in place."""
    Program(slots, [step]).run([0], buffers, {} if state is None else {0: state}, steps)


@dataclass
class _Layer:
    """A layer with its weights as torch wants them."""

    step: Layer
    slots: Sequence[Slot]

    @cached_property
    def synapses(self) -> list['_Synapse']:
        return [_Synapse(synapse) for synapse in self.step.synapses]

    @cached_property
    def program(self) -> tuple[Tensor | None, str]:
        """The neuron's coefficients [P, 1, 1|C], or None, and its text; channels are the last dimension."""
        assert self.step.neuron is not None
        if not self.step.coefficients:
            return None, self.step.neuron.spec
        rows = torch.broadcast_tensors(*[value.float().view(1, -1) for value in self.step.coefficients.values()])
        return torch.stack(rows), f'{self.step.neuron.spec} @4 {" ".join(self.step.coefficients)}'

    def run(self, buffers: Mapping[int, Tensor], state: Tensor | None, steps: int) -> None:
        step = self.step
        constant = not step.synapses and all(self.slots[i].kind == 'constant' for i in step.currents)
        x = self.currents(buffers, steps, buffers[step.target].shape[0], constant)
        if step.neuron is None or state is None:
            buffers[step.target].copy_(x.transpose(0, 1))  # of one step, if it is constant
            return
        kernel = backends.select('multistep', x.device, x.dtype)
        states = state.permute(2, 0, 1, 3, 4).contiguous()
        coefficients, spec = self.program
        counts, last, *_ = kernel.multistep_fwd(x, states, coefficients, None, spec, steps, False, True, False, False)
        state.copy_(last.permute(1, 2, 0, 3, 4))
        encode(counts, buffers[step.target])

    def currents(self, buffers: Mapping[int, Tensor], steps: int, images: int, constant: bool) -> Tensor:
        """The sum [T, B, H, W, C] of bias, synapses and slots of currents; [1, B, ...] if it is constant."""
        to = self.slots[self.step.target]
        total: Tensor | None = None
        sources = {i: decode(buffers[i], steps) for i in {s.source for s in self.step.synapses}}
        for synapse in self.synapses:
            part = synapse(sources[synapse.source], to.channels)
            total = part if total is None else total.add_(part)
        if total is None:
            total = torch.zeros(1 if constant else steps, images, to.height, to.width, to.channels)
        if self.step.bias is not None:
            total += self.step.bias
        for slot in self.step.currents:
            total += buffers[slot].transpose(0, 1)
        return total


class _Synapse:
    """A convolution: of the source as it is, upsampled, or with zeros between (a transposed convolution)."""

    def __init__(self, synapse: Synapse) -> None:
        self.source, self.to = synapse.source, synapse.to
        self.axes = rows, cols = synapse.rows, synapse.cols
        weight = synapse.weight.unsqueeze(1) if synapse.channelwise else synapse.weight
        self.groups = len(weight) if synapse.channelwise else synapse.groups
        self.channels = slice(synapse.first, synapse.first + weight.shape[1] * self.groups)
        if synapse.shared:
            weight = weight.expand(-1, -1, rows.kernel, cols.kernel)
        self.plain = self.groups == 1 and all(_whole(axis) for axis in self.axes)
        self.transposed = all(_transposed(axis) for axis in self.axes)
        if self.plain:
            weight = weight.permute(0, 2, 3, 1).flatten(1)
        elif self.transposed:
            split = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)  # [groups, in, out, rows, columns]
            weight = split.flatten(0, 1).flip(-2, -1)
        self.weight = weight.contiguous() if self.plain else weight.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor, channels: int) -> Tensor:
        """Currents [T, B, H', W', C'] of counts [T, B, H, W, C]."""
        T, B = x.shape[:2]
        x = x[..., self.channels]
        rows, cols = self.axes
        if self.plain:
            return F.linear(x.flatten(2), self.weight).view(T, B, 1, 1, -1)
        planes = x.flatten(0, 1).permute(0, 3, 1, 2)
        if planes.shape[1] == 1:  # oneDNN is wrong for one channel last
            planes = planes.contiguous().clone(memory_format=torch.contiguous_format)
        if self.transposed:
            out = self._transposed(planes)
        else:
            planes, padding = _padded(_spread(_spread(planes, rows, 2), cols, 3), rows, cols)
            steps, gaps = (rows.stride, cols.stride), (rows.dilation, cols.dilation)
            out = F.conv2d(planes, self.weight, None, steps, padding, gaps, self.groups)
        out = out.permute(0, 2, 3, 1)
        if out.shape[-1] != channels:
            out = F.pad(out, (self.to, channels - self.to - out.shape[-1]))
        return out.contiguous().unflatten(0, (T, B))

    def _transposed(self, planes: Tensor) -> Tensor:
        rates, gaps = zip(*((axis.rate, axis.dilation) for axis in self.axes), strict=True)
        padding, more = zip(*map(_around, self.axes), strict=True)
        return F.conv_transpose2d(planes, self.weight, None, rates, padding, more, self.groups, gaps)


def _whole(axis: Axis) -> bool:
    """Whether the kernel is as large as its input: a linear layer."""
    return (axis.out, axis.kernel, axis.padding, axis.dilation, axis.rate) == (1, axis.size, 0, 1, 1)


def _around(axis: Axis) -> tuple[int, int]:
    """Padding and output padding of a transposed convolution."""
    reach = (axis.kernel - 1) * axis.dilation
    padding = reach - axis.padding
    return padding, axis.out - ((axis.size - 1) * axis.rate - 2 * padding + reach + 1)


def _transposed(axis: Axis) -> bool:
    """Whether torch has it as a transposed convolution."""
    padding, more = _around(axis)
    return axis.exact and axis.stride == 1 and padding >= 0 and 0 <= more < max(axis.rate, axis.dilation)


def _spread(x: Tensor, axis: Axis, dim: int) -> Tensor:
    """x with each cell `rate` times, or once and zeros behind it."""
    if axis.rate == 1:
        return x
    if not axis.exact:
        return x.repeat_interleave(axis.rate, dim)
    wide = torch.stack([x, *[torch.zeros_like(x)] * (axis.rate - 1)], dim + 1)
    return wide.flatten(dim, dim + 1)


def _padded(x: Tensor, rows: Axis, cols: Axis) -> tuple[Tensor, tuple[int, int]]:
    """x and the padding of its convolution; what a convolution cannot do alone is done to x."""
    sides = []
    for axis in (cols, rows):
        end = (axis.out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
        sides.append((axis.padding, end - axis.size * axis.rate - axis.padding))
    # torch drops what its last window does not reach
    strides = (cols.stride, rows.stride)
    if all(left >= 0 and 0 <= left - right < s for (left, right), s in zip(sides, strides, strict=True)):
        return x, (rows.padding, cols.padding)
    return F.pad(x, (*sides[0], *sides[1])), (0, 0)


def _pool(pool: Pool, buffers: Mapping[int, Tensor], state: Tensor | None, steps: int) -> None:
    """All steps of a pool."""
    counts = decode(buffers[pool.source], steps).to(torch.int32)
    if state is None:
        encode(_windows(counts, pool, 'sum' if pool.mode == 'sum' else 'max'), buffers[pool.target])
        return
    totals = torch.cat([state.unsqueeze(0), counts]).cumsum(0, dtype=torch.int32)
    if pool.mode == 'lateral':
        out = _windows(totals, pool, 'max').diff(dim=0)
    else:  # the largest total, then the largest count, in one number
        keys = totals[1:] * 256 + (counts + 128)
        out = (_windows(keys, pool, 'max') & 255) - 128
    state.copy_(totals[-1])
    encode(out, buffers[pool.target])


def _windows(x: Tensor, pool: Pool, mode: str) -> Tensor:
    """The sum or the largest cell [..., H', W', C] of each window of [..., H, W, C]."""
    found: Tensor | None = None
    outside = 0 if mode == 'sum' else NOTHING
    for row in pool.rows.inputs().unbind(1):
        for col in pool.cols.inputs().unbind(1):
            there = (row >= 0)[:, None, None] & (col >= 0)[:, None]
            cell = x[..., row.clamp(min=0), :, :][..., col.clamp(min=0), :].where(there, outside)
            if found is None:
                found = cell
            else:
                found = found + cell if mode == 'sum' else found.maximum(cell)
    assert found is not None
    return found
