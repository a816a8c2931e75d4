"""Stateless spiking-neuron ops: one call runs all T time steps of a layer, forward and backward.

Inputs are `[T, ...]`, time first; everything behind T is neurons. With `T` given, the input is one step
`[...]` that is used at every step (direct coding) and read only once. Spikes have the dtype of the input
(float32, float16, bfloat16, float64); membrane potentials are float32 (float64 for float64).
"""

from snnkern.functional.neurons import integrate_fire, lif, multistep
from snnkern.functional.pools import avg_pool2d, lateral_pool2d, max_pool2d, spike_max_pool2d

__all__ = [
    'avg_pool2d',
    'integrate_fire',
    'lateral_pool2d',
    'lif',
    'max_pool2d',
    'multistep',
    'spike_max_pool2d',
]
