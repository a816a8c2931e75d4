"""Calls of torch as data, so that parts of a network that run in torch can be saved without code."""

import operator
from collections.abc import Callable
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


def written(call: nn.Module, tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    """A module as JSON; its tensors go into `tensors`. Raises ValueError that names a call that is no known one."""
    net = call if isinstance(call, fx.GraphModule) else _traced(call, prefix)
    modules: dict[str, Any] = {}
    nodes = []
    for node in net.graph.nodes:
        op, target, args = node.op, node.target, node.args
        if target is getattr and args[1:] == ('shape',):  # another name in a file would be any attribute
            op, target, args = 'call_method', 'size', args[:1]
        elif node.op == 'call_function':
            target = NAMES.get(target)
        elif node.op == 'call_method' and target not in METHODS:
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


def read(found: dict[str, Any], tensors: dict[str, Tensor], prefix: str) -> fx.GraphModule:
    """What `written` wrote. Raises KeyError, TypeError or ValueError if it is something else."""
    root = nn.Module()
    for name, (kind, arguments) in found['modules'].items():
        module = {known.__name__: known for known in MODULES}[kind](**_filled(arguments, {}))
        own = f'{prefix}.{name}.'
        module.load_state_dict({key.removeprefix(own): t for key, t in tensors.items() if key.startswith(own)})
        _put(root, name, module)
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for op, name, target, args, kwargs in found['nodes']:
        called: Any = FUNCTIONS[target] if op == 'call_function' else target
        if op == 'call_method' and target not in METHODS:
            raise ValueError(f'{target} is no known method')
        if op == 'get_attr':
            _put(root, target, nn.Buffer(tensors[f'{prefix}.{target}']))
        nodes[name] = graph.create_node(op, called, _filled(args, nodes), _filled(kwargs, nodes), name)
    graph.lint()
    return fx.GraphModule(root, graph).eval()


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


def _put(root: nn.Module, path: str, value: Any) -> None:
    """Set what a dotted path names, with modules on the way."""
    *names, last = path.split('.')
    for name in names:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    setattr(root, last, value)


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


def _filled(value: Any, nodes: dict[str, fx.Node]) -> Any:
    """JSON as arguments."""
    if isinstance(value, list):
        return [_filled(part, nodes) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == 'node':
        return nodes[inside]
    if kind == 'tuple':
        return tuple(_filled(inside, nodes))
    if kind == 'dict':
        return {key: _filled(part, nodes) for key, part in inside.items()}
    if kind == 'slice':
        return slice(*_filled(inside, nodes))
    if kind == 'ellipsis':
        return ...
    raise ValueError(f'{kind} is no kind of argument')
