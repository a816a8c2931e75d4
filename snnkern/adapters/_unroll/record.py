"""What a network computes in one run: its calls of modules and torch functions, and where their tensors come from.

The run is a real one, with Python's own numbers, loops and branches, so that whatever the forward does is recorded as
it was done. What must not be repeated blindly raises ValueError: reading a tensor's values, random numbers, states that
are changed between the calls of their neurons.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from snnkern.adapters._unroll.state import PLAIN, UnrollError, changed, has_hooks, named, state_of

READS = {'__bool__', '__float__', '__int__', '__index__', '__complex__', '__array__', '__contains__', 'item', 'tolist',
         'numpy', 'equal', 'allclose', 'is_nonzero'}  # fmt: skip
SHAPES = {'nonzero', 'argwhere', 'masked_select', 'unique', 'unique_consecutive', 'bincount', '_unique2'}
HOOKS = {'register_hook', 'register_post_accumulate_grad_hook', 'retain_grad', 'backward'}


def refuse(func: Any, args: Any = ()) -> None:
    """Raise UnrollError for a call that does what no plan would repeat, or whose result's shape is told by values."""
    name = getattr(func, '__name__', '')
    if name in HOOKS:
        raise UnrollError(f'forward calls {name} of a tensor')
    if func == Tensor.data.__set__:  # type: ignore[attr-defined]
        raise UnrollError('forward sets .data of a tensor')
    masks = [leaf for leaf in tree_leaves(args[1:]) if isinstance(leaf, Tensor)]
    by_mask = func is Tensor.__getitem__ and any(leaf.dtype in (torch.bool, torch.uint8) for leaf in masks)
    if by_mask or name in SHAPES or (name == 'where' and len(args) == 1):
        raise UnrollError(f'forward makes a tensor whose shape depends on values ({name})')


class Watch(TorchFunctionMode):
    """The first run, without gradients, in which hooks on them would fail."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, '__name__', '') in HOOKS:
            refuse(func)
        return func(*args, **kwargs or {})


@dataclass(frozen=True)
class Ref:
    """A tensor of the run: leaf number `leaf` of what call number `call` returned, or of the arguments (call -1)."""

    call: int
    leaf: int = 0


@dataclass(frozen=True)
class Held:
    """A parameter or buffer of the network."""

    name: str

    def of(self, net: nn.Module) -> Any:
        owner, _, name = self.name.rpartition('.')
        return getattr(net.get_submodule(owner), name)


@dataclass(eq=False)
class Call:
    """One call. target: the name of a module or a function. args, kwargs: with `Ref` and `Held` in place of tensors.

    neuron: it has a state. before: attributes of it that forward has set before, as (key of `state_of`, value). looped:
    a module that must be called once a step, since it changes its buffers or has hooks. written: which leaf of the
    arguments it writes into; that is its result then. size: the first two sizes of what a module is given. grad: not
    under torch.no_grad.
    """

    index: int
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    neuron: bool = False
    before: list[tuple[Any, Any]] = field(default_factory=list)
    looped: bool = False
    written: int | None = None
    size: tuple[int, ...] = ()
    grad: bool = True

    @property
    def tree(self) -> Any:
        """All that it reads."""
        return self.args, self.kwargs, self.before

    def __str__(self) -> str:
        name = self.target if isinstance(self.target, str) else getattr(self.target, '__name__', str(self.target))
        return f'module {name!r}' if isinstance(self.target, str) else f'call {name}'


@dataclass
class Recording:
    """calls in order; outputs: what forward returned, with `Ref`s; results: the same with the tensors of this run."""

    calls: list[Call]
    outputs: Any
    results: Any


def version(tensor: Tensor) -> int:
    """How often it was written into, as far as that is counted."""
    return 0 if tensor.is_inference() else tensor._version


def autocast() -> tuple[bool, ...]:
    """Where autocast is on."""
    return tuple(torch.is_autocast_enabled(device) for device in ('cpu', 'cuda'))


@dataclass(eq=False)
class Recorder(TorchFunctionMode):
    """Notes calls. wholes: modules that are one call -> name; neurons: those of them with a state."""

    net: nn.Module
    wholes: dict[nn.Module, str]
    neurons: set[nn.Module]
    inputs: Iterable[Any]
    calls: list[Call] = field(default_factory=list)
    inside: bool = False
    bare: set[int] = field(default_factory=set)  # ids of what `.data` returned

    def __post_init__(self) -> None:
        super().__init__()
        named = [*self.net.named_parameters(), *self.net.named_buffers()]
        self.places: dict[int, Any] = {id(t): Held(name) for name, t in named}
        self.kept: list[Any] = [t for _, t in named]  # an id must not be used again
        self.autocast = autocast()
        self.states = {module: state_of(module) for module in self.neurons}
        for leaf, value in enumerate(self.inputs):
            self.know(value, Ref(-1, leaf))

    def know(self, value: Any, place: Any) -> None:
        if isinstance(value, Tensor):
            self.places[id(value)] = place
            self.kept.append(value)

    def place(self, value: Any) -> Any:
        """What stands for a value of the run."""
        if isinstance(value, slice) and any(isinstance(v, Tensor) for v in (value.start, value.stop, value.step)):
            raise UnrollError('forward reads the values of a tensor (in a slice)')
        if not isinstance(value, Tensor):
            return value
        found = self.places.get(id(value))
        if isinstance(found, str) or found is None:
            what = f'a state of {found!r}, which it did not return' if found else 'no input, parameter or buffer'
            raise UnrollError(f'forward uses a tensor {tuple(value.shape)} that is {what}')
        return found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        name = getattr(func, '__name__', '')
        refuse(func, args)
        if autocast() != self.autocast:
            raise UnrollError('forward switches autocast on or off')
        if name == 'unbind':
            x, dim = args[0], args[1] if len(args) > 1 else kwargs.get('dim', 0)
            return tuple(self.note(torch.select, torch.select, (x, dim, i), {}) for i in range(x.shape[dim]))
        return self.note(func, func, args, kwargs)

    def module(self, module: nn.Module, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A call of a module."""
        name = self.wholes.get(module)
        if self.inside or name is None:
            if not self.inside and module is not self.net and has_hooks(module):
                raise UnrollError(f'{type(module).__name__} has hooks and is no single layer')
            return call(module, *args, **kwargs)
        if module not in self.neurons:
            return self.note(name, lambda *a, **k: call(module, *a, **k), args, kwargs, module)
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        bound.apply_defaults()
        explicit = any(isinstance(leaf, Tensor) for leaf in tree_leaves((bound.args[1:], bound.kwargs)))
        before = [] if explicit else self.set(module)
        out = self.note(name, lambda *a, **k: call(module, *a, **k), bound.args, bound.kwargs, module)
        self.calls[-1].before = before
        self.states[module] = state_of(module)
        for value in self.states[module].values():
            if isinstance(value, Tensor) and id(value) not in self.places:
                self.places[id(value)] = name
                self.kept.append(value)
        return out

    def set(self, module: nn.Module) -> list[tuple[Any, Any]]:
        """What forward has set attributes of a neuron to since its last call: a reset before the first."""
        name, state = self.wholes[module], state_of(module)
        keys = changed(self.states[module], state)
        again = any(call.target == name for call in self.calls)
        empty = [key for key in keys if isinstance(state.get(key), list | dict) and not state[key]]
        known = all(isinstance(state.get(key), (*PLAIN, Tensor)) and key in state for key in keys if key not in empty)
        if keys and (again or not known):
            raise UnrollError(f'forward changes {named(keys)} of {name!r} itself')
        return [(key, type(state[key]) if key in empty else self.place(state[key])) for key in keys]

    def note(self, target: Any, run: Callable[..., Any], args: Any, kwargs: Any, module: Any = None) -> Any:
        """Run a call and write it down, if a tensor came out or was written into."""
        self.inside = True
        try:
            return self._note(Call(len(self.calls), target, (), {}), run, args, kwargs, module)
        finally:
            self.inside = False

    def _note(self, call: Call, run: Callable[..., Any], args: Any, kwargs: Any, module: Any) -> Any:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if getattr(call.target, '__name__', '') in READS and tensors:
            raise UnrollError(f'forward reads the values of a tensor ({call})')
        held = [] if module is None else list(module.buffers())
        versions, random = [version(t) for t in (*tensors, *held)], self.random(tensors)
        out = run(*args, **kwargs)
        if not torch.equal(random, self.random(tensors)):
            raise UnrollError(f'{call} draws random numbers, others at every step')
        after = [version(t) for t in (*tensors, *held)]
        written = [t for t, old, new in zip(tensors, versions, after, strict=False) if old != new]
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        if not written and all(id(t) in self.places for t in results):
            return out  # nothing new: a size, or x.contiguous() of what is
        call.args, call.kwargs = tree_map(self.place, (args, kwargs))
        call.grad = torch.is_grad_enabled()
        if module is not None:
            call.neuron = module in self.neurons
            call.size = tuple(tensors[0].shape[:2]) if tensors else ()
            call.looped = has_hooks(module) or versions[len(tensors) :] != after[len(tensors) :]
        self.calls.append(call)
        if call.target == Tensor.data.__get__:  # type: ignore[attr-defined]
            self.bare.update(map(id, results))
        if not written:
            for leaf, value in enumerate(tree_leaves(out)):
                if isinstance(value, Tensor) and id(value) not in self.places:
                    self.know(value, Ref(call.index, leaf))
            return out
        target = written[0]
        if (
            id(target) in self.bare
            or target._is_view()
            or any(t is not target for t in written)
            or isinstance(self.place(target), Held)
        ):
            raise UnrollError(f'{call} writes into a view, a parameter or a buffer')
        call.written = next(i for i, t in enumerate(tree_leaves((args, kwargs))) if t is target)
        self.know(target, Ref(call.index))
        return out

    def random(self, tensors: list[Tensor]) -> Tensor:
        """The state of the generators that a call could draw from."""
        cuda = next((t.device for t in tensors if t.is_cuda), None)
        states = [torch.get_rng_state(), *([] if cuda is None else [torch.cuda.get_rng_state(cuda)])]
        return torch.cat(states)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Calls of modules and torch functions go to the recorder."""
    call = nn.Module.__call__
    patched = mock.patch.object(nn.Module, '__call__', lambda self, *a, **k: recorder.module(self, call, a, k))
    with patched, torch.inference_mode(False), torch.enable_grad(), recorder:
        yield


def record(function: Callable[..., Any], recorder: Recorder, args: Any, kwargs: Any) -> Recording:
    """Run function(*args, **kwargs) and say what it did."""
    with recording(recorder):
        results = function(*args, **kwargs)
        recorder.inside = True
    return Recording(recorder.calls, tree_map(recorder.place, results), results)
