"""A neuron as a node of NIR, with metadata that hold what NIR cannot say: exact numbers, reset, strictness, surrogate.

Other readers skip the metadata. Ours believes them only as long as the numbers of the node still say the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern._checks import positive
from snnkern.adapters.nir.layers import tensor
from snnkern.adapters.nir.neurons import Read, array, encode
from snnkern.neurons import Neuron
from snnkern.resets import Hard, NoReset
from snnkern.surrogates import ATan, Custom

FLAT = -1


@dataclass
class Layer:
    """A layer of neurons to be written.

    shape: of a step of one sample; axis: the dimension of it that tensors [C] count, or FLAT if they count all neurons.
    v0: the potential before the first step, as it broadcasts with `shape`; None: as ever. potential: gives v, and no
    spikes.
    """

    neuron: Neuron
    tensors: dict[str, Tensor]
    shape: tuple[int, ...]
    axis: int = 0
    v0: Tensor | None = None
    potential: bool = False
    spread: Callable[[Any], Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.spread = self._spread

    def _spread(self, value: Any) -> Tensor:
        full = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
        if full.numel() > 1:
            full = full.reshape(self.shape if self.axis == FLAT else along(self.axis, len(self.shape)))
        return full.reshape(()).expand(self.shape) if full.numel() == 1 else full.expand(self.shape)

    @property
    def theta(self) -> Tensor:
        """Of every neuron."""
        return self.spread(torch.as_tensor(self.tensors.get('v_threshold', self.neuron.fire.v_threshold)).float())


def fields_of(layer: Layer, dt: float) -> tuple[str, dict[str, Any]]:
    """The kind of NIR's node and its numbers."""
    kind, found = encode(layer.neuron.charge, layer.tensors, layer.spread, dt)
    if isinstance(layer.neuron.reset, NoReset):
        return {'IF': 'I', 'LIF': 'LI'}.get(kind, ''), found
    return kind, found | {'v_threshold': array(layer.theta)}


def has_v_reset(made: Any) -> bool:
    """Whether a node or a class of nodes has a v_reset: that of neurons since nir 1.0.5."""
    return 'v_reset' in {f.name for f in fields(made)}


def node_of(nir: Any, layer: Layer, dt: float) -> Any:
    """The node of a layer that NIR can say."""
    kind, found = fields_of(layer, dt)
    made = getattr(nir, kind)
    neuron = layer.neuron
    kept: dict[str, Any] = {'dt': float(dt), 'axis': layer.axis}
    if has_v_reset(made):
        kept['v_reset'] = neuron.reset.v_reset if isinstance(neuron.reset, Hard) else 0.0
        found['v_reset'] = array(layer.spread(torch.tensor(kept['v_reset'])))
    if isinstance(neuron.surrogate, Custom):  # a function has no text
        neuron = replace(neuron, surrogate=ATan(2.0))
    kept['snnkern'] = neuron.spec
    arrays = {f'of_{name}': t for name, t in layer.tensors.items()}
    arrays |= {} if layer.v0 is None else {'v0': layer.v0}
    kept |= {name: np.atleast_1d(t.detach().cpu().numpy()) for name, t in arrays.items()}  # files compress no numbers
    return made(**found, metadata=kept)


def restored(node: Any, kind: str) -> Read | None:
    """The neuron that the metadata of a node describe, or None if there is none, or not any more.

    Raises ValueError for metadata that are not what `node_of` writes.
    """
    kept = node.metadata
    if not {'snnkern', 'dt', 'axis'} <= kept.keys():
        return None
    shape = tuple(np.shape(node.r))
    layer, dt = parsed(kept, shape)
    neuron, tensors, axis, v0 = layer.neuron, layer.tensors, layer.axis, layer.v0
    sizes = {t.numel() for t in tensors.values()} - {1}
    if sizes and (axis >= len(shape) or sizes != {math.prod(shape) if axis == FLAT else shape[axis]}):
        return None
    known, again = fields_of(layer, dt)
    if 'v_reset' in kept and has_v_reset(node):
        again['v_reset'] = array(layer.spread(torch.tensor(float(kept['v_reset']))))
    if known != kind or any(not np.array_equal(again[name], getattr(node, name)) for name in again):
        return None
    wanted = (math.prod(shape),) if axis == FLAT else shape
    if v0 is not None and not (fits(v0, wanted) and bool(v0.isfinite().all())):
        raise ValueError(f'v0 of its metadata must be finite and fit {wanted}, got shape {tuple(v0.shape)}')
    if axis not in (0, FLAT) and any(t.numel() > 1 for t in tensors.values()):
        tensors = {name: _flat(t, shape, axis) for name, t in tensors.items()}
        axis = FLAT
    return Read(neuron, tensors, axis == FLAT, v0)


def parsed(kept: dict[str, Any], shape: tuple[int, ...]) -> tuple[Layer, float]:
    """The layer of steps of this shape that metadata describe, and dt. Raises ValueError if they describe none."""
    try:
        neuron, dt, axis = Neuron.parse(str(kept['snnkern'])), float(kept['dt']), int(kept['axis'])
        positive('dt', dt)
        if axis < FLAT:
            raise ValueError(f'axis must be {FLAT} or more, got {axis}')
        float(kept.get('v_reset', 0.0))
        arrays = {name: tensor(v) for name, v in kept.items() if name.startswith('of_') or name == 'v0'}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f'its metadata must be as snnkern writes them: {error}') from error
    arrays = {name: t.reshape(()) if t.numel() == 1 else t for name, t in arrays.items()}
    v0 = arrays.pop('v0', None)
    tensors = {name.removeprefix('of_'): t for name, t in arrays.items()}
    return Layer(neuron, tensors, shape, axis, v0), dt


def fits(t: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor broadcasts to this shape."""
    try:
        return torch.broadcast_shapes(t.shape, shape) == shape
    except RuntimeError:
        return False


def _flat(t: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    return t if t.numel() == 1 else t.reshape(along(axis, len(shape))).expand(shape).reshape(-1)


def along(axis: int, dims: int) -> list[int]:
    """The sizes of a view whose values lie along one of so many dimensions."""
    return [-1 if i == axis else 1 for i in range(dims)]
