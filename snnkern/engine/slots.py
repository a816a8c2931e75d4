"""Slots as the tensors that torch code knows, and back."""

from torch import Tensor

from snnkern.backends.events import Slot
from snnkern.backends.reference.events import decode, encode


def shaped(x: Tensor, slot: Slot) -> Tensor:
    """[..., C, H, W], or [..., C] if the slot is flat, of [..., H, W, C]."""
    return x.flatten(-3) if slot.flat else x.movedim(-1, -3)


def series(slot: Slot, buffer: Tensor, steps: int) -> Tensor:
    """What a slot holds [T, B, ...], spikes times what they are worth; its own memory if that can be."""
    if slot.kind != 'counts':
        return shaped(buffer.transpose(0, 1), slot).expand(steps, *[-1] * (2 if slot.flat else 4))
    counts = decode(buffer, steps)
    return shaped(counts.mul_(slot.worth) if isinstance(slot.worth, Tensor) or slot.worth != 1 else counts, slot)


def total(slot: Slot, buffer: Tensor, steps: int) -> Tensor:
    """The sum over the steps [B, ...], in new memory."""
    if slot.kind == 'constant':
        return shaped(buffer[:, 0] * steps, slot)
    if slot.kind == 'currents':
        return shaped(buffer.sum(1), slot)
    return series(slot, buffer, steps).sum(0)


def store(slot: Slot, buffer: Tensor | None, x: Tensor, steps: int) -> Tensor:
    """Write x, [B, ...] of a constant slot, [T * B, ...] else, into a slot; x itself if it lies as the slot does.

    Returns the memory of the slot. Raises ValueError for counts that are none, and for another shape.
    """
    if slot.kind == 'constant' and buffer is None:  # on the way of every call
        if slot.flat:
            return x.contiguous().view(len(x), 1, 1, 1, -1)
        return x.permute(0, 2, 3, 1).contiguous().unsqueeze(1)
    time = 1 if slot.kind == 'constant' else steps
    rows = x.unflatten(0, (time, -1))
    rows = rows[..., None, None, :] if slot.flat else rows.movedim(-3, -1)
    if slot.kind == 'counts':
        assert buffer is not None
        if bool((rows != rows.round()).any()) or float(rows.abs().amax()) > slot.bound:
            raise ValueError(f'x must hold whole numbers of at most {slot.bound} spikes, as the example did')
        encode(rows, buffer)
        return buffer
    images_first = rows.transpose(0, 1)
    if buffer is None:
        return images_first.contiguous()
    return buffer.copy_(images_first)
