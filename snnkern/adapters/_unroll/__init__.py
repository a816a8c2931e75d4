"""`unroll(net)`: a network that is run step by step, run layer by layer, all steps of a layer at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from snnkern.adapters._fused import Fused, restore
from snnkern.adapters._swap import accelerate, adapter, copied, packages
from snnkern.adapters._unroll.fold import Folder, Plan
from snnkern.adapters._unroll.record import Recorder, Recording, Ref, Watch, record
from snnkern.adapters._unroll.run import Runner
from snnkern.adapters._unroll.state import (
    UnrollError,
    answered,
    attributes,
    changed,
    contents,
    generators,
    kind_of,
    named,
    stale,
    state_of,
    untouched,
)

CONTAINERS = nn.Sequential, nn.ModuleList, nn.ModuleDict
SETTINGS = '_snnkern_unroll'
PLANS = 16  # that are kept, the oldest is dropped first


@dataclass
class Settings:
    """What `unroll` was asked for, and the plans of the inputs seen so far."""

    num_steps: int | None
    one_step: bool | None
    check: bool
    loops: bool = False  # forward was seen to call a neuron twice
    plans: dict[Any, tuple[list[Any], Plan]] = field(default_factory=dict)


class Unrolled(Fused):
    """First base of an unrolled network's class; the second is the class that it had."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        settings = self.__dict__.get(SETTINGS)
        if settings is None:  # a slice of an nn.Sequential
            return self.original().forward(self, *args, **kwargs)
        inputs, spec = tree_flatten((args, kwargs))
        key = str(spec), *map(kind_of, inputs), *[module.training for module in self.modules()]
        numbers, plan = settings.plans.get(key, (None, None))
        if plan is None or (not torch.compiler.is_compiling() and stale(numbers, attributes(self))):
            numbers = attributes(self)
            plan = planned(self, args, kwargs)
            settings.plans.pop(key, None)
            settings.plans[key] = numbers, plan
            while len(settings.plans) > PLANS:
                del settings.plans[next(iter(settings.plans))]
        return Runner(plan, self, inputs).run()

    def described(self) -> str:
        return 'unrolled: all steps of a layer at once'

    def __reduce_ex__(self, protocol: Any) -> Any:
        settings = self.__dict__[SETTINGS]
        bare = Settings(settings.num_steps, settings.one_step, settings.check)
        return empty, (self.original(),), {**self.__dict__, SETTINGS: bare}


@cache
def made(kind: Any) -> Any:
    """The class of unrolled networks of a class."""
    return type(kind.__name__, (Unrolled, kind), {'__module__': kind.__module__, '__doc__': kind.__doc__})


def empty(kind: Any) -> Any:
    """An unrolled network before a copy or a pickle gives it what it has."""
    found = made(kind)
    return found.__new__(found)


def unroll(
    net: nn.Module, num_steps: int | None = None, *, one_step: bool | None = None, check: bool = True
) -> nn.Module:
    """Run a network of another library that goes step by step through all its layers layer by layer instead: each
    layer without a state once for all steps, each neuron in one call of a kernel. The results are those of the loop.

    net: a network whose layers feed forward, with neurons of SpikingJelly, snnTorch, BrainCog or Norse that take one
    step a call. Either its forward has the loop over the steps in it; then it is called as ever. Or forward is one
    step; then the new network takes x [T, ...] and returns what the steps return, stacked [T, ...]. num_steps: for
    that, x is one step, the same for each of num_steps. one_step: which of both; None: forward is one step if it calls
    no neuron twice, nor gives one its first state, nor resets one; where an input with a size of 1 may be one step of
    a loop, you are asked to say. check: compare with the loop on the first input of each shape, outputs within 1 %
    (half precision: 10 %) of their sum, since rounding may flip a spike.

    Returns a network of the same class with the parameters and buffers of net itself, so that optimizers, state_dict
    and checkpoints go on working, and with neurons of its own, accelerated as by `accelerate`; their states go on from
    call to call, the library's reset functions and `undo` work. net stays as it is. `.to`, `.double` and alike set
    buffers anew, for one of both networks only: call them before. For each shape of input and each mode (train, eval)
    forward is recorded at the first call, and after plain attributes (numbers, strings, lists and dicts of them) or
    hooks have changed; the 16 newest plans are kept. What it reads from elsewhere, such as a global number, stays what
    it was then. Recording runs the original twice, four times where it must find out whether forward is one step, and
    the check runs the plan twice, so that hooks are called that often; `nn.Module.__call__` is patched meanwhile,
    for all threads.

    Raises TypeError if net is no module, ValueError for bad arguments and, at the first call, where the loop cannot be
    folded: recurrent connections between layers, states that are changed between steps, forwards that read values of
    tensors or let a shape depend on them, draw random numbers (dropout in training), keep tensors as attributes, set
    hooks on tensors or `.data`, switch gradients off for some steps of a neuron, call a BatchNorm in training twice a
    step, take or return other things than tensors, plain values and torch's pytrees of them (and arrays, as arguments);
    RuntimeError if the check fails.
    A BatchNorm in training, whose statistics are those of a step, and layers with hooks are called step by step. All
    steps of a layer are in memory at once, as they are in the loop's graph in training.
    Example: `fast = unroll(net); spk_rec, mem_rec = fast(x)`.

    Neurons of an adapter take part by a method many(x, *states, trace=True) that does what as many calls as
    x [T, ...] has steps would do and returns what they return, each tensor stacked [T, ...], or NotImplemented. states
    are what the first call is given besides x; the later ones get what those before returned. The module is left as
    the last call leaves it. trace=False: only the first tensor, the spikes, is needed, None may stand for the others.
    Neurons without it are called step by step.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f'net must be a torch.nn.Module, got {type(net).__name__}')
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f'num_steps must be an integer >= 1 or None, got {num_steps!r}')
    if num_steps is not None and one_step is False:
        raise ValueError('num_steps must be None where one_step=False: forward itself says how many steps it does')
    held = (value for module in net.modules() for value in state_of(module).values())
    kept = {id(t): t for t in (*net.parameters(), *held) if isinstance(t, Tensor)}
    twin = copied(net, kept)
    if isinstance(twin, Unrolled):
        restore(twin)
    if not any(isinstance(module, Fused) for module in twin.modules()):
        accelerate(twin, inplace=True, norms=False)
    kind: Any = type(twin)
    twin.__class__ = made(kind)
    twin.__dict__[SETTINGS] = Settings(num_steps, num_steps is not None or one_step, check)
    return twin


def outer(net: nn.Module, wholes: dict[nn.Module, str]) -> Iterator[nn.Module]:
    """The modules that are looked into."""
    yield net
    for child in net.children():
        if child not in wholes:
            yield from outer(child, wholes)


def parts(net: nn.Module) -> tuple[dict[nn.Module, str], set[nn.Module]]:
    """Modules that are one call each, by name, and those of them with a state."""
    wholes, neurons = {}, set()
    for name, module in net.named_modules():
        if any(isinstance(module, adapter(library).NEURONS) for library in packages(module)):
            neurons.add(module)
            wholes[module] = name
        elif type(module).__module__.startswith('torch.nn.') and not isinstance(module, CONTAINERS):
            wholes[module] = name
    return wholes, neurons


def planned(net: Any, args: Any, kwargs: Any) -> Plan:
    """The plan for an input, checked."""
    settings: Settings = net.__dict__[SETTINGS]
    recording, first, loops = recorded(net, settings, args, kwargs)
    plan = Folder(recording).plan()
    if settings.check:
        with untouched(net, original=False), torch.no_grad():
            for expected in (first, recording.results):  # the second run starts from the states that the first left
                compare(tree_leaves(Runner(plan, net, tree_leaves((args, kwargs))).run()), tree_leaves(expected))
    settings.loops |= loops
    return plan


def recorded(net: Any, settings: Settings, args: Any, kwargs: Any) -> tuple[Recording, Any, bool]:
    """`observed`, with the loop that forward has or that is put around it; whether it has it for sure."""
    forward, failed = net.original().forward, None
    if settings.one_step is not True:
        try:
            found = observed(net, lambda *a, **k: forward(net, *a, **k), args, kwargs)
        except Exception as error:
            if settings.one_step is False or isinstance(error, UnrollError):
                raise
            failed = error
        else:
            if settings.one_step is False or settings.loops or is_loop(net, found[0], tree_leaves((args, kwargs))):
                names = [call.target for call in found[0].calls if call.neuron]
                return *found, len(names) > len(set(names))
    try:
        found = observed(net, looping(net, forward, settings.num_steps), args, kwargs)
    except Exception as error:
        raise error from failed
    return *found, False


def is_loop(net: nn.Module, recording: Recording, inputs: list[Any]) -> bool:
    """Whether forward, which ran on the inputs, has the loop over steps in it. Raises UnrollError where that is open.

    It has, if it calls a neuron twice, or if a neuron begins anew in it, by states that it is given or a reset: then it
    is a loop of one step. Otherwise it is one step that was given all, unless one of the first sizes is 1 (a loop over
    that would do the same) and is not found again in the neurons' inputs.
    """
    calls = [call for call in recording.calls if call.neuron]
    if len(calls) > len({call.target for call in calls}):
        return True
    if any(call.before or any(isinstance(v, Ref) for v in tree_leaves((call.args[1:], call.kwargs))) for call in calls):
        return True
    sizes = {tuple(leaf.shape[:2]) for leaf in inputs if isinstance(leaf, Tensor)}
    if any(1 in size for size in sizes) and not ({call.size for call in calls} <= sizes - {(1, 1)}):
        raise UnrollError(
            f'no neuron is called twice for inputs {sorted(sizes)}, which may be one step of a loop in forward or '
            'forward may be one step: pass one_step=False or one_step=True'
        )
    return False


def looping(net: nn.Module, forward: Callable[..., Any], num_steps: int | None) -> Callable[..., Any]:
    """The loop over a forward of one step."""

    def step(t: int, value: Any) -> Any:
        return value[t] if isinstance(value, Tensor) else value

    def loop(*args: Any, **kwargs: Any) -> Any:
        lengths = {leaf.shape[:1] for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if num_steps is None and (len(lengths) != 1 or lengths == {()}):
            raise ValueError(f'x must be [T, ...], all inputs with one T, got sizes {sorted(map(tuple, lengths))}')
        steps = []
        for t in range(num_steps or next(iter(lengths))[0]):
            now = (args, kwargs) if num_steps else tree_map(partial(step, t), (args, kwargs))
            steps.append(forward(net, *now[0], **now[1]))
        return tree_map(lambda *leaf: torch.stack(leaf) if isinstance(leaf[0], Tensor) else leaf[0], *steps)

    return loop


def observed(net: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Recording, Any]:
    """Two runs of the original network that leave no trace: the second recorded, and what the first returned.

    The first leaves states, so that a forward that resets them shows it.
    """
    with untouched(net, original=True), torch.no_grad():
        with Watch():
            first = function(*args, **kwargs)
        wholes, neurons = parts(net)
        before, random = {module: contents(module) for module in outer(net, wholes)}, generators()
        found = record(function, Recorder(net, wholes, neurons, tree_leaves((args, kwargs))), args, kwargs)
        for module, state in before.items():
            if keys := changed(state, contents(module)):
                raise UnrollError(f'forward of {type(module).__name__} keeps something ({named(keys)})')
        if random != generators():
            raise UnrollError("forward draws random numbers (Python's or NumPy's)")
        answered(found.results)
    return found, first


def compare(found: list[Any], expected: list[Any]) -> None:
    """Raise RuntimeError where outputs differ by more than a few spikes."""
    for i, (actual, wanted) in enumerate(zip(found, expected, strict=True)):
        if not isinstance(wanted, Tensor):
            continue
        half = wanted.dtype in (torch.float16, torch.bfloat16) or torch.is_autocast_enabled(wanted.device.type)
        a, b = actual.double(), wanted.double()
        differ = (
            torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs()).sum() if a.shape == b.shape else None
        )
        total = b.abs().nansum()
        if differ is None or not differ <= (0.1 if half else 0.01) * total:
            raise RuntimeError(
                f'the unrolled network gives other results than the loop: output {i}, shape {tuple(a.shape)} and '
                f'{tuple(b.shape)}, differs by {differ} in sum, of {total:.3g}. Should it be right, check=False; '
                'should forward have been taken wrongly for a loop or for one step, pass one_step='
            )
