"""snnkern: fused kernels for spiking neural networks. One call runs all T time steps of a layer.

`snnkern.functional` holds the stateless ops, `snnkern.nn` the modules, `Neuron` and its parts describe any neuron as
data, `snnkern.encode` makes spikes of static data, `snnkern.convert(model, calibration)` a spiking network of a trained
one, `snnkern.accelerate(model)` runs another library's network on our kernels; `explain()` says what runs where.

Every name is imported when it is first asked for: `import snnkern` takes milliseconds, and `from snnkern import _cpu`
needs no torch (docs/backend.md).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnkern import adapters, convert, encode, functional, losses, nn, presets
    from snnkern.adapters import accelerate, explain, undo, unroll
    from snnkern.backends import use_backend
    from snnkern.charges import IF, LIF, PLIF, Affine, Synaptic
    from snnkern.fires import Adaptive, Binary, Burst, Integer, MultiSpike, Signed, SignedMemory, Ternary
    from snnkern.neurons import Neuron
    from snnkern.ops.saved import compress_saved_spikes
    from snnkern.resets import Bounded, Delayed, Hard, NoReset, Soft
    from snnkern.surrogates import (
        STE,
        ATan,
        Custom,
        Erf,
        FastSigmoid,
        LeakyReLU,
        PiecewiseExp,
        Rectangle,
        Sigmoid,
        SoftSign,
        SuperSpike,
        Triangle,
        Window,
    )

__version__ = '0.1.0'

__all__ = [
    'IF',
    'LIF',
    'PLIF',
    'STE',
    'ATan',
    'Adaptive',
    'Affine',
    'Binary',
    'Bounded',
    'Burst',
    'Custom',
    'Delayed',
    'Erf',
    'FastSigmoid',
    'Hard',
    'Integer',
    'LeakyReLU',
    'MultiSpike',
    'Neuron',
    'NoReset',
    'PiecewiseExp',
    'Rectangle',
    'Sigmoid',
    'Signed',
    'SignedMemory',
    'Soft',
    'SoftSign',
    'SuperSpike',
    'Synaptic',
    'Ternary',
    'Triangle',
    'Window',
    '__version__',
    'accelerate',
    'adapters',
    'compress_saved_spikes',
    'convert',
    'encode',
    'explain',
    'functional',
    'losses',
    'nn',
    'presets',
    'undo',
    'unroll',
    'use_backend',
]

# Module: the names that are imported from it. A new one stands here, above for type checkers, and in __all__.
_NAMES = {
    'adapters': 'accelerate explain undo unroll',
    'backends': 'use_backend',
    'charges': 'Affine IF LIF PLIF Synaptic',
    'fires': 'Adaptive Binary Burst Integer MultiSpike Signed SignedMemory Ternary',
    'neurons': 'Neuron',
    'ops.saved': 'compress_saved_spikes',
    'resets': 'Bounded Delayed Hard NoReset Soft',
    'surrogates': 'ATan Custom Erf FastSigmoid LeakyReLU PiecewiseExp Rectangle STE Sigmoid SoftSign SuperSpike '
    'Triangle Window',
}
_MODULES = (
    *(
        'adapters',
        'backends',
        'charges',
        'convert',
        'encode',
        'engine',
        'fires',
        'functional',
        'losses',
        'neurons',
        'nn',
        'ops',
        'presets',
        'resets',
    ),
    'surrogates',
)
_SOURCES = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # to a type checker a module with __getattr__ has every name

    def __getattr__(name: str) -> Any:
        """A public name, or a module, at its first use."""
        if name in _SOURCES:
            value = getattr(importlib.import_module(f'{__name__}.{_SOURCES[name]}'), name)
        elif name in _MODULES:
            value = importlib.import_module(f'{__name__}.{name}')
        else:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SOURCES, *_MODULES})
