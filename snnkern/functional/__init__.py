"""Stateless spiking-neuron ops: one call runs all T time steps of a layer, forward and backward.

Inputs are `[T, ...]`, time first; everything behind T is neurons. With `T` given, the input is one step
`[...]` that is used at every step (direct coding) and read only once. Spikes have the dtype of the input
(float32, float16, bfloat16, float64); membrane potentials are float32 (float64 for float64).
"""

from snnkern.functional.neurons import integrate_fire, lif, multistep
from snnkern.functional.norm import batch_norm_neuron
from snnkern.functional.pack import PackedSpikes, pack_spikes, unpack_spikes
from snnkern.functional.pools import avg_pool2d, lateral_pool2d, max_pool2d, spike_max_pool2d

__all__ = [
    'PackedSpikes',
    'avg_pool2d',
    'batch_norm_neuron',
    'integrate_fire',
    'lateral_pool2d',
    'lif',
    'max_pool2d',
    'multistep',
    'pack_spikes',
    'spike_max_pool2d',
    'unpack_spikes',
]
