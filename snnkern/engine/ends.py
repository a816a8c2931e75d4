"""What stands before and behind the steps of a plan: both run once a call."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from snnkern import _arguments as arguments
from snnkern.backends.events import MOST
from snnkern.engine.plan import Output

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk

# What inputs are: [B, ...]; or [T, B, ...], the same at every step, counts of events, or anything.
KINDS = ('given', 'constant', 'counts', 'currents')


class Stem(nn.Module):
    """What fills the first slots.

    net: gives a tuple of tensors. constants: what other slots hold for any input, [C, H, W] each. kind: one of KINDS,
    of the inputs. Raises ValueError for inputs that are not the same at every step, if they are "constant".
    """

    def __init__(self, net: nn.Module, constants: list[Tensor], kind: str) -> None:
        super().__init__()
        self.net, self.kind, self.count = net, kind, len(constants)
        for i, value in enumerate(constants):
            self.register_buffer(f'constant_{i}', value)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What fills the slots of `Plan.inputs`."""
        batch = inputs[0].shape[0 if self.kind == 'given' else 1]
        if self.kind == 'constant':
            if not all(map(steady, inputs)):
                raise ValueError('x must be the same at every step, as the example of the plan was')
            inputs = tuple(x[:1] for x in inputs)
        fixed = (self.get_buffer(f'constant_{i}') for i in range(self.count))
        return *(x.float() for x in self.net(*inputs)), *(x.expand(batch, *x.shape) for x in fixed)


def steady(x: Tensor) -> bool:
    """Whether all steps of x [T, ...] are equal."""
    return len(x) == 1 or arguments.repeated(x) or torch.equal(x[1:], x[:-1])


def kind_of(x: Tensor) -> str:
    """What an example [T, B, ...] is: one of KINDS."""
    if len(x) > 1 and steady(x):
        return 'constant'
    whole = bool((x == x.round()).all()) and bool((x.abs() <= MOST).all())
    return 'counts' if whole and 2 * int(x.count_nonzero()) <= x.numel() else 'currents'


class Tail(nn.Module):
    """What runs on the means over time. net: of as many tensors as there are outputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, means: tuple[Tensor, ...]) -> Any:
        """What the network returns."""
        return self.net(*means)


def stem(walk: 'Walk', kind: str) -> tuple[Stem, tuple[int, ...]]:
    """The stem of a walk, and the slots that it fills. kind: of the inputs, one of KINDS."""
    walk.stem.output(tuple(walk.given.values()))
    constants = [value.contiguous() for value in walk.made.constants.values()]
    return Stem(fx.GraphModule(walk.net, walk.stem), constants, kind), (*walk.given, *walk.made.constants)


def ended(walk: 'Walk') -> tuple[Any, Tail | None]:
    """The outputs of a plan, and its tail if it needs one."""
    nodes, form = pytree.tree_flatten(walk.run())
    ends = [walk.ended(node) for node in nodes]
    outputs = tuple(map(Output, walk.means.values()))
    if ends == [*walk.means]:
        return pytree.tree_unflatten(outputs, form), None
    walk.tail.output(pytree.tree_unflatten(ends, form))
    return outputs, Tail(fx.GraphModule(walk.net, walk.tail))


def tree(value: Any) -> Any:
    """What a network returns, as JSON. Raises ValueError for what JSON does not know."""
    if isinstance(value, Output):
        return {'output': value.slot}
    if type(value) in (tuple, list):
        return {type(value).__name__: [tree(part) for part in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {'dict': {key: tree(part) for key, part in value.items()}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f'the network cannot be saved: it returns {type(value).__name__}')


def read_tree(found: Any) -> Any:
    """What `tree` wrote. Raises KeyError, TypeError or ValueError if it is something else."""
    if not isinstance(found, dict):
        return found
    ((kind, inside),) = found.items()
    if kind == 'output':
        return Output(int(inside))
    if kind == 'dict':
        return {key: read_tree(part) for key, part in inside.items()}
    return {'tuple': tuple, 'list': list}[kind](map(read_tree, inside))
