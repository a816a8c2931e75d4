"""Conversion without a trace: modules are replaced where they stand, for models that torch.fx cannot trace."""

import inspect
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern.convert import calibrate, graph
from snnkern.convert.activations import of_module
from snnkern.convert.calibrate import Calibration, Progress
from snnkern.convert.check import deviation
from snnkern.convert.graph import ConversionError
from snnkern.convert.layers import Analogue, Clock, Spiking, Timed
from snnkern.convert.network import SNN
from snnkern.convert.origin import Origin
from snnkern.convert.recipe import Recipe, Site
from snnkern.convert.replace import Entry, coded, spiking
from snnkern.convert.sketch import Sketch
from snnkern.convert.stands import Alone, Once, Stand, Whole, kinds_of
from snnkern.convert.tune import how_many, tune_layer

ROWS = 3  # inputs of the first look: few, and rarely the size of something else
DEVIATION = 1e-3
Call = tuple[str, int]  # the module's name, and which of its calls in a forward
POOL = 'a max-pool on the running mean: without a trace nobody knows what a spike of its input is worth'


class Converting:
    """Conversion by modules, step by step. calls: in the order of one forward; layers: by call."""

    def __init__(
        self, model: nn.Module, modules: str | Mapping[str, str], recipe: Recipe, timesteps: int, count: int
    ) -> None:
        kinds = kinds_of(model, modules)
        self.recipe, self.timesteps, self.clock = recipe, timesteps, Clock()
        self.whole = Whole(graph.frozen_copy(model), kinds)
        self.whole.over_time.clock = self.clock
        self.calls: dict[Call, tuple[Stand, tuple[bool, ...]]] = {}
        self.sites: dict[Call, Site] = {}
        self.targets: dict[Call, Tensor] = {}
        self.entries: list[Entry] = []
        for i in range(count if recipe.coding == 'poisson' else 0):
            layer, entry = coded(i, f'input {i + 1}')
            layer.clock, layer.name = self.clock, entry.name
            self.whole.coded.append(layer)
            self.entries.append(entry)
        self.rows, self.largest = 0, 1

    def look(self, inputs: tuple[Tensor, ...]) -> None:
        """Find out which calls there are."""
        self.rows = len(inputs[0])
        self._run(self._first, inputs)
        neurons = [call for call, (stand, _) in self.calls.items() if stand.kind == 'neuron']
        if not neurons:
            raise ConversionError('the model calls no activation module, so there is nothing to convert')
        for i, (name, k) in enumerate(neurons):
            was = self.calls[name, k][0].was
            kind = of_module(was)
            assert kind is not None
            words = f'module {name} ({type(was).__name__}), call {k + 1}'
            sketch = Sketch(self.recipe.channels)
            self.sites[name, k] = Site(f'neuron_{i}', words, kind, sketch, self.timesteps, len(neurons))

    def observe(self, inputs: tuple[Tensor, ...]) -> None:
        """Count the activations of a batch."""
        self._run(self._count, inputs)

    def replace(self) -> None:
        """Give every call its layer."""
        for call, (stand, varying) in self.calls.items():
            layer: Timed
            if call in self.sites:
                layer, entry = spiking(self.recipe, self.sites[call], False)
            else:
                layer = Analogue(Alone(stand.was), varying, self.recipe.original_readout)
                why = POOL if isinstance(stand.was, nn.MaxPool2d) else 'not affine, so it reads the mean over time'
                name = f'analogue_{len(self.entries)}'
                entry = Entry(
                    'analogue', name, f'module {call[0]} ({type(stand.was).__name__}), call {call[1] + 1}', why
                )
            layer.clock, layer.name = self.clock, entry.name
            stand.layers.append(layer)
            self.whole.layers.append(layer)
            self.entries.append(entry)
        self.whole.watch(None)

    def tune(self, inputs: tuple[Tensor, ...], progress: Progress) -> None:
        """Tune neurons in the order of their calls, each on what those before it emit."""
        size = sum(site.sketch.size for site in self.sites.values())
        few = tuple(x[: how_many(size, self.timesteps * self.largest)] for x in inputs)
        self._run(self._aim, few)
        self.clock.steps, self.clock.start = self.timesteps, 0
        done = iter(range(1, len(self.sites) + 1))

        def watch(stand: Stand, k: int, args: Any, kwargs: Any) -> Any:
            call, layer = (stand.name, k), stand.layers[k]
            if isinstance(layer, Spiking):
                tune_layer(self.recipe, layer, args[0], self.targets.pop(call), self.sites[call])
                progress('tuning thresholds', next(done) / len(self.sites))
            out = stand.run(layer, args, kwargs)
            layer.reset()
            return out

        self.whole.watch(watch)
        self.whole(*few)
        self.whole.watch(None)

    def _run(self, watch: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
        self.whole.watch(watch)
        try:
            self.whole.once(*(x.clone() for x in inputs))
        except ConversionError:
            raise
        except Exception as error:  # a model may raise anything
            given = ', '.join(f'{list(x.shape)} {x.dtype} on {x.device}' for x in inputs)
            raise ConversionError(f'{type(self.whole.model).__name__} fails for {given}: {error}') from error

    def _first(self, stand: Stand, k: int, args: Any, kwargs: Any) -> Any:
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        varying = tuple(x.dim() > 0 and x.shape[0] % self.rows == 0 for x in tensors)
        self.calls[stand.name, k] = stand, varying
        out = stand.was(*args, **kwargs)
        leaves = [x for x in pytree.tree_leaves(out) if isinstance(x, Tensor)]
        self.largest = max([self.largest, *(x.numel() // self.rows for x in leaves)])
        return out

    def _count(self, stand: Stand, k: int, args: Any, kwargs: Any) -> Any:
        if (stand.name, k) not in self.calls:
            raise ConversionError(f'module {stand.name} is not called as often for every calibration input')
        out = stand.was(*args, **kwargs)
        if (site := self.sites.get((stand.name, k))) is not None:
            try:
                site.sketch.add(out)
            except ValueError as error:
                raise ConversionError(f'{site.was} has {error} in calibration') from None
        return out

    def _aim(self, stand: Stand, k: int, args: Any, kwargs: Any) -> Any:
        out = stand.was(*args, **kwargs)
        if (stand.name, k) in self.sites:
            self.targets[stand.name, k] = out.clone()
        return out


def by_modules(
    model: nn.Module,
    calibration: Calibration,
    recipe: Recipe,
    timesteps: int,
    modules: str | Mapping[str, str],
    progress: Progress,
) -> SNN:
    """`convert` for a model that torch.fx cannot trace; see there.

    A module that is called k times in a forward becomes k layers, by the order of calls; a forward that calls it a
    different number of times raises ConversionError. BatchNorm stays as it is. Functional calls are unseen: where they
    are not affine, the first entry warns that the outputs deviate.
    """
    if recipe.prepare is not None:
        raise ConversionError(f'recipe {recipe.name} changes weights, which needs a traced model; modules must be None')
    count = _inputs_of(model)
    work = Converting(model, modules, recipe, timesteps, count)
    stream = calibrate.batches(calibration, count, recipe.coding == 'poisson')
    first, total, few = next(stream), calibrate.length(calibration, count), calibrate.Few()
    work.look(tuple(x[:ROWS] for x in first))
    for i, batch in enumerate(chain([first], stream)):
        work.observe(batch)
        few.add(batch)
        progress('calibrating', min(1.0, (i + 1) / total) if total else 0.5)
    work.replace()
    if recipe.tune is not None:
        work.tune(few.inputs(), progress)
    why = 'converted without a trace: all of it runs at every step, and functional calls are unseen'
    about = Entry('network', '', type(model).__name__, why)
    snn = SNN(Once(), work.whole, work.clock, [about, *work.entries], recipe.name, timesteps, work.largest)
    asked = modules if isinstance(modules, str) else dict(modules)
    readout, coding = recipe.original_readout, recipe.coding
    snn.origin = Origin(Origin.shapes(first), (), asked, recipe.gated, readout, coding=coding)
    _check(snn, graph.frozen_copy(model), tuple(x[:ROWS] for x in first), about)
    return snn


def _inputs_of(model: nn.Module) -> int:
    """How many arguments of forward have no default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = inspect.signature(model.forward).parameters.values()
    return max(1, sum(p.kind in kinds and p.default is p.empty for p in known))


@torch.no_grad()
def _check(snn: SNN, model: nn.Module, inputs: tuple[Tensor, ...], about: Entry) -> None:
    off = deviation(snn, model, inputs)
    if not off <= DEVIATION:
        about.warnings.append(
            f"even with exact neurons the outputs are {off:.1%} off the model's: something that is not affine (a "
            'functional relu or softmax, a product of signals) sees single steps'
        )
