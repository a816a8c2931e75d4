"""Converted networks in one safetensors file: tensors, and everything else as JSON in its metadata.

The file holds no code: `load` converts the architecture that it is given once more, with the stored neurons in place of
calibration, and lets the stored tensors take the place of its own.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor, fx, nn

import snnkern
from snnkern._checks import whole
from snnkern._files import safetensors, write
from snnkern.convert import affine
from snnkern.convert.coding import CODINGS
from snnkern.convert.converter import rebuild
from snnkern.convert.layers import Spiking, Timed
from snnkern.convert.network import SNN
from snnkern.convert.origin import Origin
from snnkern.convert.recipe import Choice, Recipe, Site
from snnkern.convert.recipes import named
from snnkern.convert.replace import Entry
from snnkern.neurons import Neuron

FORMAT = 1
KEY = 'snnkern.convert'
BROKEN = (RuntimeError, LookupError, TypeError, ValueError, OverflowError, AttributeError)
DTYPES = {  # of inputs
    *('float16', 'bfloat16', 'float32', 'float64'),
    *('bool', 'uint8', 'int8', 'int16', 'int32', 'int64'),
}
MOST = 1 << 28  # numbers of one input
# What the JSON must have at least: of the network, of each neuron layer, of the call that converted.
FOUND = {
    'recipe': str,
    'timesteps': int,
    'origin': dict,
    'entries': list,
    'layers': dict,
    'calls': list,
    'modules': dict,
}
ORIGIN = {'inputs': list, 'leaves': list, 'gated': bool, 'original_readout': bool, 'prepared': dict}
LAYER = {'path': str, 'class': str, 'neuron': str, 'coefficients': list, 'options': dict}


def save(snn: SNN, path: Path) -> None:
    """What `SNN.save` does."""
    if snn.origin is None:
        raise ValueError('only networks that convert() made by a recipe that can prepare a network again can be saved')
    library = safetensors('networks')
    found = {
        'format': FORMAT,
        'version': snnkern.__version__,
        'recipe': snn.recipe,
        'timesteps': snn.timesteps,
        'seed': snn.seed,
        'origin': asdict(snn.origin),
        'entries': [asdict(entry) for entry in snn.entries],
        'layers': _layers(snn),
        'calls': list(_calls(snn)),
        'modules': dict(_modules(snn)),
    }
    # Copies: modules that share a tensor would share memory, which the format does not hold.
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in snn.state_dict().items()}
    write(path, lambda p: library.torch.save_file(tensors, p, metadata={KEY: json.dumps(found)}))


def _layers(snn: SNN) -> dict[str, Any]:
    """What makes the neuron layers again, beside their tensors."""
    paths = {layer: path for path, layer in snn.named_modules()}
    found = {}
    for name, layer in snn.by_name.items():
        if not isinstance(layer, Spiking):
            continue
        if not layer.neuron.fused:
            raise ValueError(f'{name} cannot be saved: its surrogate is a Python function')
        found[name] = {
            'path': paths[layer],
            'class': type(layer).__name__,
            'neuron': layer.neuron.spec,
            'coefficients': layer.names,
            'options': layer.options,
        }
    return found


def _calls(snn: SNN) -> Iterator[str]:
    """What the graphs compute, call by call."""
    for net in (snn.stem, snn.body):
        for node in net.graph.nodes if isinstance(net, fx.GraphModule) else ():
            target = node.target if node.op == 'call_module' else affine.name_of(node)
            yield f'{node.name} = {target}{node.args}{node.kwargs or ""}'


def _modules(snn: SNN) -> Iterator[tuple[str, dict[str, Any]]]:
    """The plain attributes of all modules: strides, paddings and so on."""
    for name, module in snn.named_modules():
        if name and not isinstance(module, Timed | fx.GraphModule):
            own = {key: value for key, value in vars(module).items() if key != 'training' and key[0] != '_'}
            plain = {key: value for key, value in own.items() if isinstance(value, bool | int | float | str | tuple)}
            yield name, {'class': type(module).__name__, **json.loads(json.dumps(plain, default=str))}


class Stored:
    """The neurons of a file, as a recipe that needs no calibration."""

    def __init__(self, path: Path, found: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.path, self.found, self.tensors = path, found, tensors
        self.site: dict[str, Any] = {}

    def recipe(self) -> Recipe:
        """For `rebuild`, which calls `choose` and then `layer` for each site."""
        origin = self.found['origin']
        return Recipe(
            self.found['recipe'],
            self.choose,
            layer=cast(Any, self.layer),
            gated=origin['gated'],
            original_readout=origin['original_readout'],
            coding=origin.get('coding', 'direct'),
            prepare=self.prepare if origin['prepared'] else None,
            again=lambda net, sites, numbers: None,  # what is loaded can be saved once more
        )

    def prepare(self, net: fx.GraphModule, sites: dict[fx.Node, Site]) -> dict[str, float]:
        """What the recipe did to the network then. Raises ValueError for a recipe that is none of the library's."""
        name, numbers = self.found['recipe'], self.found['origin']['prepared']
        again = named(name).again
        if again is None:
            raise ValueError(f'{self.path} needs recipe {name}, which prepares no network again')
        again(net, sites, numbers)
        return numbers

    def choose(self, site: Site) -> Choice:
        """The neuron that was chosen then. Raises ValueError if there was none at this place."""
        if site.name not in self.found['layers']:
            raise ValueError(f'{self.path} is of another architecture: it has no neuron for {site.was}')
        self.site = self.found['layers'][site.name]
        own = self._own()
        missing = [key for key in ('v0', *(f'of_{name}' for name in self.site['coefficients'])) if key not in own]
        if missing:
            raise ValueError(f'{self.path} is broken: {site.name} has no {missing[0]}')
        coefficients = {name: own[f'of_{name}'] for name in self.site['coefficients']}
        return Choice(Neuron.parse(self.site['neuron']), coefficients, own['v0'], self.site['options'])

    def _own(self) -> dict[str, Tensor]:
        """The tensors of the layer at hand."""
        prefix = f'{self.site["path"]}.'
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}

    def layer(self, *arguments: Any, **options: Any) -> Spiking:
        """The layer that ran it then. Raises ValueError for a class that nobody has imported."""
        kinds = {kind.__name__: kind for kind in _kinds(Spiking)}
        name = self.site['class']
        if name not in kinds:
            raise ValueError(f'{self.path} needs the layer {name}: import the module that defines it')
        try:
            layer = kinds[name](*arguments, **options)
        except TypeError as error:
            raise ValueError(f'{self.path} is broken: {error}') from error
        for name, tensor in self._own().items():
            if name not in layer.state_dict() and '.' not in name:
                layer.register_buffer(name, tensor)
        return layer


def _kinds(kind: type[Spiking]) -> Iterator[type[Spiking]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def load(path: Path, model: nn.Module, leaves: Collection[str] | None) -> SNN:
    """What `SNN.load` does."""
    found, tensors, origin, entries = _read(path)
    if leaves is not None:
        origin = replace(origin, leaves=tuple(leaves))
    try:
        snn = rebuild(model, Stored(path, found, tensors).recipe(), found['timesteps'], origin)
    except BROKEN as error:
        if str(path) in str(error):
            raise
        raise ValueError(f'{path} does not fit {type(model).__name__}: {error}') from error
    difference = _difference(snn, found, tensors)
    if difference:
        raise ValueError(f'{path} is of another architecture than {type(model).__name__}: {difference}')
    snn.load_state_dict(tensors, assign=True)
    snn.seed = found.get('seed', 0)
    snn.entries = entries
    weight = next(model.parameters(), None)
    return snn if weight is None else snn.to(weight.device)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], Origin, list[Entry]]:
    """The JSON of a file, its tensors, and two parts of the JSON. Raises FileNotFoundError and ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}')
    library = safetensors('networks')
    try:
        with library.safe_open(path, 'pt') as file:
            found = json.loads((file.metadata() or {}).get(KEY, 'null'))
            if found is not None and found['format'] <= FORMAT:
                origin, entries = _parts(found)
                return found, {name: file.get_tensor(name) for name in file.keys()}, origin, entries  # noqa: SIM118
    except (library.SafetensorError, *BROKEN) as error:
        raise ValueError(f'{path} is broken or no safetensors file: {error}') from error
    if found is None:
        raise ValueError(f'{path} holds no converted network')
    raise ValueError(
        f'{path} was written by snnkern {found.get("version")} in format {found["format"]}; '
        f'this is snnkern {snnkern.__version__}, which reads up to format {FORMAT}'
    )


def _parts(found: dict[str, Any]) -> tuple[Origin, list[Entry]]:
    """Two parts of the JSON, all of which is checked. Raises some of BROKEN."""
    _check(found, FOUND)
    _check(found['origin'], ORIGIN)
    for layer in found['layers'].values():
        _check(layer, LAYER)
    _check(found['modules'], dict.fromkeys(found['modules'], dict))
    whole('timesteps', found['timesteps'])
    whole('seed', found.get('seed', 0), at_least=0)
    origin = Origin.read(found['origin'])
    for shape, name in origin.inputs:
        if name not in DTYPES or not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) > MOST:
            raise TypeError(f'inputs are {name} {list(shape)}')
    if not all(isinstance(leaf, str) for leaf in origin.leaves) or not isinstance(origin.modules, str | dict | None):
        raise TypeError(f'leaves are {origin.leaves}, modules are {origin.modules}')
    if origin.coding not in CODINGS:
        raise ValueError(f'coding is {origin.coding!r}')
    return origin, [Entry(**entry) for entry in found['entries']]


def _check(found: Any, kinds: Mapping[str, type]) -> None:
    """Raise KeyError or TypeError unless it is a dictionary with these keys, of these types."""
    for key, kind in kinds.items():
        if not isinstance(found[key], kind):
            raise TypeError(f'{key} is {found[key]!r}, expected a {kind.__name__}')


def _difference(snn: SNN, found: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """The first thing in which a network is not the stored one, in words; empty if there is none."""
    own = snn.state_dict()
    for name in [*own, *tensors]:
        ours, theirs = (str(list(d[name].shape)) if name in d else 'missing' for d in (own, tensors))
        if ours != theirs:
            return f'{name} is {theirs} in the file and {ours} in the model'
    for here, there in zip(_calls(snn), found['calls'], strict=False):
        if here != there:
            return f'the call `{there}` in the file is `{here}` in the model'
    for name, attributes in _modules(snn):
        stored = found['modules'].get(name, {})
        for key in attributes.keys() & stored.keys():
            if attributes[key] != stored[key]:
                return f'{name}.{key} is {stored[key]} in the file and {attributes[key]} in the model'
    return ''
