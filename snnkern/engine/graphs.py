"""Calls of torch as data, so that parts of a network that run in torch can be saved without code."""

import operator
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

# What a file may name: modules with the arguments that make them again, functions and methods.
MODULES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.AdaptiveAvgPool2d: ('output_size',),
    nn.AvgPool2d: ('kernel_size', 'stride', 'padding', 'ceil_mode', 'count_include_pad', 'divisor_override'),
    nn.BatchNorm1d: ('num_features', 'eps', 'momentum', 'affine', 'track_running_stats'),
    nn.BatchNorm2d: ('num_features', 'eps', 'momentum', 'affine', 'track_running_stats'),
    nn.Conv2d: ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups'),
    nn.ConvTranspose2d: (
        *('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'output_padding', 'groups'),
        'dilation',
    ),
    nn.Dropout: ('p',),
    nn.Flatten: ('start_dim', 'end_dim'),
    nn.Identity: (),
    nn.LeakyReLU: ('negative_slope',),
    nn.Linear: ('in_features', 'out_features'),
    nn.MaxPool2d: ('kernel_size', 'stride', 'padding', 'dilation', 'return_indices', 'ceil_mode'),
    nn.ReLU: (),
    nn.Sigmoid: (),
    nn.SiLU: (),
    nn.Softmax: ('dim',),
    nn.Tanh: (),
    nn.Upsample: ('size', 'scale_factor', 'mode', 'align_corners'),
    nn.ZeroPad2d: ('padding',),
}
BIASED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_HOMES = {
    'operator': (operator, 'add getitem mul neg pow sub truediv'),
    'torch': (
        torch,
        'add cat chunk concat exp flatten flip mean mul permute relu reshape sigmoid softmax split stack sub sum tanh',
    ),
    'functional': (
        F,
        'adaptive_avg_pool2d avg_pool2d batch_norm conv2d conv_transpose2d dropout interpolate leaky_relu linear '
        'max_pool2d pad relu silu softmax',
    ),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    f'{home}.{name}': getattr(module, name) for home, (module, names) in _HOMES.items() for name in names.split()
}
NAMES = {function: name for name, function in FUNCTIONS.items()}
_METHODS = (
    'add chunk contiguous detach exp expand flatten flip mean mul permute reshape sigmoid size softmax split squeeze '
    'sub sum tanh transpose unflatten unsqueeze view'
)
METHODS = frozenset(_METHODS.split())
OPS = ('placeholder', 'get_attr', 'call_function', 'call_method', 'call_module', 'output')
NAME = re.compile(r'[\w -]+(\.[\w -]+)*')  # names of modules need be no identifiers


class Calls(nn.Module):
    """Calls of torch as a file holds them, one after another. Nothing becomes Python source, as in fx, which would run
    whatever a name of the file says.

    found, tensors, prefix: of `written`, the tensors of any module. Raises KeyError, RuntimeError, TypeError or
    ValueError if they are something else. Example: `Calls({'nodes': nodes, 'modules': {}}, tensors, 'stem')(x)`.
    """

    def __init__(self, found: dict[str, Any], tensors: dict[str, Tensor], prefix: str) -> None:
        super().__init__()
        self.nodes, self.modules_found = found['nodes'], found['modules']
        self.unneeded = _unneeded(self.nodes)
        self.places = {name: i for i, name in enumerate(self.modules_found)}
        self.layers = nn.ModuleList(
            _layer(kind, arguments, tensors, f'{prefix}.{name}')
            for name, (kind, arguments) in self.modules_found.items()
        )
        self.constants = dict[str, str]()
        for op, _, target, args, kwargs in self.nodes:
            _check(op, target, args, kwargs, self.places)
            if op == 'get_attr' and target not in self.constants:
                self.constants[target] = f'constant_{len(self.constants)}'
                self.register_buffer(self.constants[target], tensors[f'{prefix}.{target}'])
        self.eval()

    def forward(self, *inputs: Any) -> Any:
        """What the calls give for these inputs. Raises TypeError for more or fewer than they take."""
        given = iter(inputs)
        values: dict[str, Any] = {}
        for (op, name, target, args, kwargs), unneeded in zip(self.nodes, self.unneeded, strict=True):
            found = self._called(op, target, _filled(args, values), _filled(kwargs, values), given)
            values[name] = found
            for old in unneeded:
                del values[old]
        if any(True for _ in given):
            raise TypeError(f'there are {len(inputs)} inputs, more than calls take')
        return found

    def _called(self, op: str, target: str, args: Any, kwargs: dict[str, Any], given: Iterator[Any]) -> Any:
        if op == 'placeholder':
            try:
                return next(given, *args)
            except StopIteration:
                raise TypeError(f'input {target} is missing') from None
        if op == 'output':
            return args[0]
        if op == 'get_attr':
            return self.get_buffer(self.constants[target])
        if op == 'call_module':
            return self.layers[self.places[target]](*args, **kwargs)
        return (FUNCTIONS[target] if op == 'call_function' else getattr(Tensor, target))(*args, **kwargs)

    def written(self, tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
        """What it was read from; its tensors go into `tensors`."""
        for name, place in self.places.items():
            for key, value in self.layers[place].state_dict().items():
                tensors[f'{prefix}.{name}.{key}'] = value
        for target, buffer in self.constants.items():
            tensors[f'{prefix}.{target}'] = self.get_buffer(buffer)
        return {'nodes': self.nodes, 'modules': self.modules_found}


def written(call: nn.Module, tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    """A module as JSON; its tensors go into `tensors`. Raises ValueError that names a call that is no known one."""
    if isinstance(call, Calls):
        return call.written(tensors, prefix)
    net = call if isinstance(call, fx.GraphModule) else _traced(call, prefix)
    modules: dict[str, Any] = {}
    nodes = []
    for node in net.graph.nodes:
        op, target, args = node.op, node.target, node.args
        if target is getattr and args[1:] == ('shape',):  # another name in a file would be any attribute
            op, target, args = 'call_method', 'size', args[:1]
        elif node.op == 'call_function':
            target = NAMES.get(target)
        elif (node.op == 'call_method' and target not in METHODS) or not NAME.fullmatch(str(target)):
            target = None
        elif node.op == 'call_module':
            modules[target] = _module(net.get_submodule(target), f'{prefix}: {target}')
        elif node.op == 'get_attr':
            tensors[f'{prefix}.{target}'] = _attribute(net, target)
        if target is None:
            raise ValueError(f'{prefix} cannot be saved: it calls {node.target}, which is no known call of torch')
        nodes.append([op, node.name, target, _plain(args, prefix), _plain(dict(node.kwargs), prefix)])
    for name in modules:
        for key, value in net.get_submodule(name).state_dict().items():
            tensors[f'{prefix}.{name}.{key}'] = value
    return {'nodes': nodes, 'modules': modules}


def _check(op: Any, target: Any, args: Any, kwargs: Any, modules: Collection[str]) -> None:
    """Raise ValueError unless it is a call that may be made."""
    known: dict[str, Collection[str]] = {'call_function': FUNCTIONS, 'call_method': METHODS, 'call_module': modules}
    if op not in OPS:
        raise ValueError(f'{op!r} is no kind of call')
    if target not in known.get(op, (target,)) or not NAME.fullmatch(target):
        raise ValueError(f'{target!r} is nothing that {op} knows')
    if [*args] != ['tuple'] or [*kwargs] != ['dict'] or not all(map(str.isidentifier, kwargs['dict'])):
        raise ValueError(f'the arguments of {target} are {args!r} and {kwargs!r}')


def _unneeded(nodes: list[Any]) -> list[list[str]]:
    """The values that nobody reads after each node. Raises ValueError for nodes that are in no order."""
    last: dict[str, int] = {}
    for i, (op, name, _, *arguments) in enumerate(nodes):
        for used in _used(arguments):
            if used not in last:
                raise ValueError(f'{name!r} reads {used!r}, which is not there')
            last[used] = i
        if name in last or not name.isidentifier():
            raise ValueError(f'{name!r} is no name for a call, or that of two')
        if (op == 'output') != (i == len(nodes) - 1):
            raise ValueError('what calls return must be their last one, and is not')
        last[name] = i
    if not nodes:
        raise ValueError('there are no calls')
    return [[name for name, at in last.items() if at == i] for i in range(len(nodes))]


def _used(value: Any) -> Iterator[str]:
    """The names of the nodes in JSON."""
    if isinstance(value, dict) and [*value] == ['node']:
        yield value['node']
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _used(part)


def _layer(kind: str, arguments: Any, tensors: dict[str, Tensor], path: str) -> nn.Module:
    """A module with its tensors; what it says of its size takes no memory."""
    with torch.device('meta'):
        module = {known.__name__: known for known in MODULES}[kind](**_filled(arguments, {}))
    module.load_state_dict({key: tensors[f'{path}.{key}'] for key in module.state_dict()}, assign=True)
    return module


def _traced(call: nn.Module, prefix: str) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(call)
    except Exception as error:  # whatever the module's own code raises
        raise ValueError(f'{prefix} cannot be saved: {type(call).__name__} cannot be traced: {error}') from error


def _module(module: nn.Module, where: str) -> list[Any]:
    if type(module) not in MODULES or getattr(module, 'padding_mode', 'zeros') != 'zeros':
        raise ValueError(f'{where} cannot be saved: {module} is no known layer of torch')
    arguments = {name: getattr(module, name) for name in MODULES[type(module)]}
    if isinstance(module, BIASED):
        arguments['bias'] = module.bias is not None
    return [type(module).__name__, _plain(arguments, where)]


def _attribute(net: nn.Module, target: str) -> Tensor:
    *path, name = target.split('.')
    return getattr(net.get_submodule('.'.join(path)), name)


def _plain(value: Any, where: str) -> Any:
    """Arguments as JSON."""
    if isinstance(value, fx.Node):
        return {'node': value.name}
    if isinstance(value, tuple):
        return {'tuple': [_plain(part, where) for part in value]}
    if isinstance(value, list):
        return [_plain(part, where) for part in value]
    if isinstance(value, dict):
        return {'dict': {key: _plain(part, where) for key, part in value.items()}}
    if isinstance(value, slice):
        return {'slice': [_plain(part, where) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {'ellipsis': True}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f'{where} cannot be saved: {value!r} is an argument of a call')


def _filled(value: Any, values: dict[str, Any]) -> Any:
    """JSON as arguments. values: of nodes."""
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == 'node':
        return values[inside]
    if kind == 'tuple':
        return tuple(_filled(inside, values))
    if kind == 'dict':
        return {key: _filled(part, values) for key, part in inside.items()}
    if kind == 'slice':
        return slice(*_filled(inside, values))
    if kind == 'ellipsis':
        return ...
    raise ValueError(f'{kind} is no kind of argument')
