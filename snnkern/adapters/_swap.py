"""`accelerate` and `undo`: which library's modules a model has, and their classes swapped for ours and back."""

import copy
import importlib
import warnings
from typing import Any

from torch import nn

from snnkern.adapters._fused import HANDS, NAME, Fused, FusedNeuron, FusedNorm, MaxPool2d, by_original, restore
from snnkern.adapters._pairs import adjacent

# The libraries by the names of their packages, and what their neurons are. The adapter of each has NEURONS (those
# classes), FUSED (their classes -> ours) and, where it needs them, POOLS, NORMS (the same for max-pools and
# BatchNorms), CONTAINERS (see `adjacent`) and copied(module), called for each module of a copy.
LIBRARIES = {
    'spikingjelly': 'spikingjelly.activation_based.neuron (BaseNode)',
    'snntorch': 'snntorch (SpikingNeuron)',
    'braincog': 'braincog.base.node (BaseNode), braincog.base.conversion (SNode)',
    'norse': 'norse.torch (SNN, SNNCell, SNNRecurrent, SNNRecurrentCell)',
    'sinabs': 'sinabs.layers (StatefulLayer)',
}


def adapter(library: str) -> Any:
    """The adapter of a library. Raises ValueError for an unknown one, ImportError where it is not installed."""
    if library not in LIBRARIES:
        raise ValueError(f'library must be "auto" or one of {", ".join(LIBRARIES)}, got {library!r}')
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f'library {library!r} is not installed: pip install "snnkern[adapters]" has it') from error
    return importlib.import_module(f'snnkern.adapters.{library}')


def packages(module: nn.Module) -> set[str]:
    """The libraries among those that a module's class and its bases come from."""
    return {kind.__module__.partition('.')[0] for kind in type(module).__mro__} & set(LIBRARIES)


def found(model: nn.Module) -> dict[str, list[str]]:
    """Library -> names of its neurons in the model."""
    neurons: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        for library in packages(module):
            if isinstance(module, adapter(library).NEURONS):
                neurons.setdefault(library, []).append(name)
    return neurons


def chosen(model: nn.Module, library: str) -> Any:
    """The adapter for a model. Raises ValueError if no neuron of it is there, or neurons of several libraries."""
    neurons = found(model)
    if library == 'auto' and len(neurons) > 1:
        examples = ', '.join(f'{name} ({at[0] or "the model"})' for name, at in sorted(neurons.items()))
        raise ValueError(f'model has neurons of several libraries, {examples}: choose one by library=')
    if library != 'auto':
        adapter(library)
    if not neurons or library not in ('auto', *neurons):
        wanted = LIBRARIES.values() if library == 'auto' else (LIBRARIES[library],)
        raise ValueError(f'model has no neurons to accelerate, looked for modules of {"; ".join(wanted)}')
    return adapter(next(iter(neurons)) if library == 'auto' else library)


def accelerate(model: nn.Module, library: str = 'auto', inplace: bool = False, norms: bool = True) -> nn.Module:
    """Run the neurons of another library's network on snnkern's kernels, with the same results.

    model: a network of SpikingJelly, snnTorch, BrainCog, Norse or sinabs. library: "auto", or the package's name, for
    a model with neurons of several. inplace: change `model` itself instead of a copy. norms: also fuse a BatchNorm
    with the neuron that alone reads it, where all steps come in one call; spikes then equal up to rounding.

    Returns the network, the same object if inplace. Its modules stay what they are, with their parameters, state_dict
    keys, hooks, step modes, layouts and states, so that checkpoints, reset functions and monitors of the library go
    on working; their classes are subclasses of the library's with another forward, which `undo` takes back. Max-pools
    keep no indices for backward. What cannot run on a kernel stays as it was: a warning names it, and
    `snnkern.explain(model)` says why.

    Raises TypeError if model is no module, ValueError for an unknown library, a model without neurons of one or with
    several's, ImportError if the library is missing, RuntimeError if the model cannot be copied (a state with its
    graph: reset it first, or pass inplace=True).
    Example: `net = snnkern.accelerate(spikingjelly_net)`.
    """
    kinds = chosen(_checked(model), library)
    if not inplace:
        model = copied(model)
    fused = {**kinds.FUSED, **getattr(kinds, 'POOLS', by_original(MaxPool2d))}
    for name, module in list(model.named_modules()):
        if type(module) in fused:
            module.__class__ = fused[type(module)]
            module.__dict__[NAME] = f'{name or "the model"} ({type(module).__name__})'
    for module in model.modules():
        if isinstance(module, FusedNorm):
            restore(module)  # of an earlier call, before the network was changed
    if norms and getattr(kinds, 'NORMS', None):
        _fuse_norms(model, kinds)
    _warn_of_rest(model, kinds)
    return model


def _fuse_norms(model: nn.Module, kinds: Any) -> None:
    neurons = tuple(kind for kind in kinds.FUSED.values() if issubclass(kind, FusedNeuron) and kind.takes_norms)
    for norm, neuron in adjacent(model, tuple(kinds.NORMS), neurons, getattr(kinds, 'CONTAINERS', ())):
        if type(norm) in kinds.NORMS and neuron.joins():  # type: ignore[operator]
            norm.__class__ = kinds.NORMS[type(norm)]
            norm.__dict__[HANDS] = True


def _warn_of_rest(model: nn.Module, kinds: Any) -> None:
    left = [
        name or 'the model'
        for name, module in model.named_modules()
        if isinstance(module, kinds.NEURONS) and (not isinstance(module, Fused) or module.refusal())
    ]
    if left:
        shown = ', '.join(left[:8]) + (', ...' if len(left) > 8 else '')
        warnings.warn(f'these neurons stay as they were (snnkern.explain(model) says why): {shown}', stacklevel=3)


def undo(model: nn.Module, inplace: bool = False) -> nn.Module:
    """The network as its library made it, with the weights and states that it has now: the reverse of `accelerate`.

    inplace: change `model` itself instead of a copy. Raises as `accelerate`. Example: `net = snnkern.undo(net)`.
    """
    model = _checked(model) if inplace else copied(_checked(model))
    for module in model.modules():
        restore(module)
    return model


def _checked(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module, got {type(model).__name__}')
    return model


def copied(model: nn.Module, kept: dict[int, Any] | None = None) -> nn.Module:
    """A copy, but for what is kept (by id). Libraries that keep lists of their modules learn of it."""
    try:
        twin = copy.deepcopy(model, kept)
    except RuntimeError as error:
        if 'deepcopy' not in str(error):
            raise
        advice = 'a tensor of it has a graph: reset its states first, or pass inplace=True'
        raise RuntimeError(f'model cannot be copied, {advice}') from error
    for old, new in zip(model.modules(), twin.modules(), strict=False):
        _complete(old, new)
        for library in packages(new):
            getattr(adapter(library), 'copied', id)(new)
    return twin


def _complete(old: nn.Module, new: nn.Module) -> None:
    """Give a copy what a library's own deepcopy forgets (sinabs'): hooks, the mode, which parameters learn."""
    new.training = old.training
    for name, parameter in new.named_parameters(recurse=False):
        parameter.requires_grad_(getattr(old, name).requires_grad)
    for name, hooks in vars(old).items():
        if '_hooks' in name and hooks and not vars(new).get(name):
            setattr(new, name, copy.deepcopy(hooks))
