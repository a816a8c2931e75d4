"""Thresholds of spikes in real units, put into the weights that read the spikes."""

import numpy as np

from snnkern.adapters.nir import stateless
from snnkern.adapters.nir.export import Exporting

PASSING = ('AvgPool2d', 'SumPool2d', 'Flatten')


def fold_scales(work: Exporting) -> None:
    """Remove the Scale nodes of `work` by multiplying weights. Raises ValueError where a scaled signal meets others."""
    for name in work.scales:
        try:
            _fold(work, name, work.nodes[name].scale)
        except ValueError as error:
            neuron = name.removesuffix('_scale')
            raise ValueError(
                f'the spikes of layer {neuron} are worth its threshold, and that cannot go into weights: {error}'
            ) from error
        (before,) = (a for a, b in work.edges if b == name)
        del work.nodes[name]
        work.edges = [(before if a == name else a, b) for a, b in work.edges if b != name]


def _fold(work: Exporting, name: str, scale: np.ndarray) -> None:
    for reader in [b for a, b in work.edges if a == name]:
        node, kind = work.nodes[reader], type(work.nodes[reader]).__name__
        if sum(b == reader for _, b in work.edges) > 1:
            raise ValueError(f'{reader} reads a sum')
        if kind in ('Linear', 'Affine', 'Conv1d', 'Conv2d'):
            stateless.scaled(node, kind, scale)
        elif kind in PASSING:
            _fold(work, reader, _passed(scale, kind, work.shapes[reader]))
        else:
            raise ValueError(f'{reader} ({kind}) has no weights')


def _passed(scale: np.ndarray, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The scale behind a pool or Flatten."""
    if kind == 'Flatten':
        return scale.reshape(shape)
    channel = scale.reshape(len(scale), -1)
    if (channel != channel[:, :1]).any():
        raise ValueError('its thresholds differ within a channel')
    return np.broadcast_to(channel[:, :1, None], shape)
