"""What stands in a copy of a model in the place of modules, and which modules that is."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern.convert import graph
from snnkern.convert.activations import of_module
from snnkern.convert.affine import ANALOGUE_MODULES
from snnkern.convert.graph import ConversionError
from snnkern.convert.layers import Analogue, OverTime, Timed

KINDS = ('neuron', 'pool', 'analogue')


class Stand(nn.Module):
    """Stands where a module was: the k-th call of a forward goes to the k-th layer.

    was: the module; layers: what took the place of its calls; watch: sees the calls instead, while it is set.
    """

    def __init__(self, name: str, kind: str, was: nn.Module) -> None:
        super().__init__()
        self.name, self.kind, self.was = name, kind, was
        self.at = 0
        self.layers: list[Timed] = []  # a plain list: they are registered with the network, in the order of calls
        self.watch: Callable[..., Any] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        k, self.at = self.at, self.at + 1
        if self.watch is not None:
            return self.watch(self, k, args, kwargs)
        if k >= len(self.layers):
            raise ConversionError(f'module {self.name} was called {len(self.layers)} times in calibration, now more')
        return self.run(self.layers[k], args, kwargs)

    @staticmethod
    def run(layer: Timed, args: Any, kwargs: Any) -> Any:
        """Call a layer with the arguments that the module got."""
        if not isinstance(layer, Analogue):
            return layer(*args, **kwargs)
        assert isinstance(layer.call, Alone)
        return layer(*layer.call.take(args, kwargs))


class Alone(nn.Module):
    """A module as a function of the tensors among its arguments."""

    def __init__(self, was: nn.Module) -> None:
        super().__init__()
        self.was = was

    def take(self, args: Any, kwargs: Any) -> list[Tensor]:
        """The tensors; the other arguments are kept for the next call."""
        self.leaves, self.shape = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]
        self.leaves = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in self.leaves]
        return tensors

    def forward(self, *tensors: Tensor) -> Any:
        given = iter(tensors)
        args, kwargs = pytree.tree_unflatten([next(given) if x is None else x[0] for x in self.leaves], self.shape)
        return self.was(*args, **kwargs)


class Once(nn.Module):
    """What stands before the first neuron: without a trace, nothing."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs


class Whole(nn.Module):
    """The copy of a model with stands in it; its inputs are repeated at every step, or coded as spikes.

    coded: the layers that do that, for the first inputs. layers: of all stands, in the order of their calls.
    """

    def __init__(self, model: nn.Module, kinds: Mapping[str, str]) -> None:
        super().__init__()
        self.coded = nn.ModuleList()
        self.layers = nn.ModuleList()
        self.over_time = OverTime()
        self.model = model
        self.stands: list[Stand] = []
        names: dict[nn.Module, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            names.setdefault(module, []).append(name)
        for name, kind in kinds.items():
            was = model.get_submodule(name)
            if isinstance(was, Stand):
                continue  # another name of the same module
            stand = Stand(name, kind, was)
            self.stands.append(stand)
            for alias in names[was]:
                parent, _, child = f'model.{alias}'.rstrip('.').rpartition('.')
                setattr(self.get_submodule(parent), child, stand)

    def forward(self, *inputs: Tensor) -> Any:
        layers = chain(self.coded, repeat(self.over_time))
        out = self.once(*(layer(x) for x, layer in zip(inputs, layers, strict=False)))
        for stand in self.stands:
            if stand.watch is None and stand.at != len(stand.layers):
                raise ConversionError(
                    f'module {stand.name} was called {len(stand.layers)} times in calibration, now {stand.at}'
                )
        return out

    def once(self, *inputs: Tensor) -> Any:
        """Run the copy on inputs as they are."""
        for stand in self.stands:
            stand.at = 0
        return self.model(*inputs)

    def watch(self, watch: Callable[..., Any] | None) -> None:
        """Let a function see the calls of all stands."""
        for stand in self.stands:
            stand.watch = watch


def kinds_of(model: nn.Module, modules: str | Mapping[str, str]) -> dict[str, str]:
    """What to make of which module. Raises ConversionError for unknown names and modules that cannot be it."""
    if modules == 'auto':
        return dict(_known(model))
    if isinstance(modules, str) or not isinstance(modules, Mapping):
        raise ValueError(f"modules must be None, 'auto' or a mapping of names to {KINDS}, got {modules!r}")
    graph.check_names(model, list(modules))
    for name, kind in modules.items():
        found = model.get_submodule(name)
        if kind not in KINDS:
            raise ValueError(f'modules[{name!r}] must be one of {KINDS}, got {kind!r}')
        if kind == 'neuron' and of_module(found) is None:
            raise ConversionError(
                f'module {name} ({type(found).__name__}) is no activation that a neuron can stand for'
            )
        if kind == 'pool' and not isinstance(found, nn.MaxPool2d):
            raise ConversionError(f'module {name} ({type(found).__name__}) is no MaxPool2d')
        outer = [other for other in modules if other != name and (f'{name}.'.startswith(f'{other}.') or not other)]
        if outer:
            raise ConversionError(f'module {name} lies within {outer[0] or "the model"}, which modules names too')
    return dict(modules)


def _known(model: nn.Module) -> Iterator[tuple[str, str]]:
    """The modules that are activations, max-pools and known to be not affine."""
    for name, module in model.named_modules():
        if of_module(module) is not None:
            yield name, 'neuron'
        elif isinstance(module, nn.MaxPool2d):
            yield name, 'pool'
        elif isinstance(module, ANALOGUE_MODULES):
            yield name, 'analogue'
