"""What a network holds besides parameters and modules, and what of it and of the arguments a plan depends on."""

import copy
import pickle
import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnkern.adapters._fused import Fused, FusedNeuron

PLAIN = (int, float, str, type(None))
# Arguments that a repr says all of.
SHOWN = *PLAIN, complex, bytes, slice, type(...), torch.dtype, torch.device, torch.memory_format, torch.layout
CONTENTS = 4096  # of how many plain values a container is still compared


class UnrollError(ValueError):
    """A network cannot be unrolled."""

    def __init__(self, why: str) -> None:
        super().__init__(f'net cannot be unrolled: {why}')


def state_of(module: nn.Module) -> dict[Any, Any]:
    """What a module holds, but for parameters and modules."""
    found: dict[Any, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, dict):
            if name not in ('_modules', '_parameters'):
                found.update({(name, key): entry for key, entry in value.items()})
        else:
            found[name] = value
    return found


def shot(value: Any) -> Any:
    """A value, its contents apart where it is a container."""
    if isinstance(value, dict):
        return [(key, shot(entry)) for key, entry in value.items()]
    return [shot(entry) for entry in value] if isinstance(value, list | tuple | deque | set) else value


def contents(module: nn.Module) -> dict[Any, Any]:
    """`state_of`, to be compared after containers of it may have been filled."""
    return {key: shot(value) for key, value in state_of(module).items()}


def alike(old: Any, new: Any) -> bool:
    """Whether two values are one, or equal numbers, or containers of such."""
    if old is new:
        return True
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(alike, old, new))
    return isinstance(old, PLAIN) and isinstance(new, PLAIN) and old == new


def changed(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Any]:
    """The keys of what differs."""
    both = {**before, **after}
    return [key for key in both if not alike(before.get(key), after.get(key))]


def named(keys: Iterable[Any]) -> str:
    return ', '.join(str(key[-1] if isinstance(key, tuple) else key) for key in keys)


def has_hooks(module: nn.Module) -> bool:
    """Whether calls of it are watched."""
    hooks = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
    return any(getattr(module, name) for name in hooks)


def plain(value: Any, depth: int = 4) -> Any:
    """What a plain value or a small container of such is now; None for others."""
    if isinstance(value, PLAIN):
        return value
    if not isinstance(value, list | tuple | dict) or not depth or len(value) > CONTENTS:
        return None
    entries = value.items() if isinstance(value, dict) else value
    return type(value), [plain(entry, depth - 1) for entry in entries]


def attributes(net: nn.Module) -> list[Any]:
    """What its forward may read of a network's modules besides tensors: plain numbers, also in containers, and which
    modules have hooks."""
    found: list[Any] = []
    for module in net.modules():
        found.append(has_hooks(module))
        if isinstance(module, FusedNeuron):
            own = {k: v for k, v in vars(module).items() if isinstance(v, PLAIN) and not k.startswith('_')}
            found.append(own)
        elif not module.__module__.startswith('torch.'):
            found += [
                plain(v) for k, v in vars(module).items() if k not in ('_modules', '_parameters', '_buffers', 'forward')
            ]
    return found


def stale(old: Any, new: list[Any]) -> bool:
    """Whether `attributes` have changed, but for states of neurons that are sometimes numbers, sometimes tensors."""
    return (
        old is None
        or len(old) != len(new)
        or any(
            any(k in b and a[k] != b[k] for k in a) if isinstance(a, dict) and isinstance(b, dict) else a != b
            for a, b in zip(old, new, strict=True)
        )
    )


def kind_of(value: Any) -> Any:
    """What a plan depends on of an argument."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    if isinstance(value, SHOWN):
        return repr(value)
    numpy = sys.modules.get('numpy')
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype != object:
        return value.shape, str(value.dtype), value.tobytes()
    raise UnrollError(f'forward is given a {type(value).__name__}, of which it is not known what it holds')


def answered(results: Any) -> None:
    """Raise UnrollError for results that hold what cannot be looked into."""
    for value in tree_leaves(results):
        if not isinstance(value, (*SHOWN, Tensor)):
            raise UnrollError(f'forward returns a {type(value).__name__}: only tensors and plain values, in tuples, '
                              'lists, dicts and other pytrees of torch, can be')  # fmt: skip


def generators() -> tuple[Any, bytes]:
    """The states of Python's and NumPy's random numbers."""
    numpy = sys.modules.get('numpy.random')
    return random.getstate(), b'' if numpy is None else pickle.dumps(numpy.get_state(legacy=False))


@contextmanager
def untouched(net: nn.Module, original: bool) -> Iterator[None]:
    """States and buffers are what they were afterwards. original: with the library's own neurons meanwhile."""
    kept = {m: dict(vars(m)) for m in net.modules()}
    holders = [(v, copy.copy(v)) for own in kept.values() for v in own.values() if isinstance(v, dict | list)]
    values = {t: t.clone() for m in net.modules() for t in state_of(m).values() if isinstance(t, Tensor)}
    fused: dict[Any, Any] = {m: type(m) for m in net.modules() if isinstance(m, Fused)}
    for module, kind in fused.items():
        if original:
            module.__class__ = kind.original()
            module.__dict__.pop('forward', None)  # somebody's wrapper around that of our class
    try:
        yield
    finally:
        for module, kind in fused.items():
            module.__class__ = kind
        for module, own in kept.items():
            module.__dict__.clear()
            module.__dict__.update(own)
        for holder, was in holders:
            holder.clear()
            holder.update(was) if isinstance(holder, dict) else holder.extend(was)
        with torch.no_grad():
            for tensor, value in values.items():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
