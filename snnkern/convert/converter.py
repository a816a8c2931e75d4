"""`convert`: ANN in, SNN out."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, fx, nn

from snnkern._checks import whole
from snnkern.convert import calibrate, graph
from snnkern.convert.activations import Activation, activation
from snnkern.convert.calibrate import Calibration, Progress, silent
from snnkern.convert.coding import CODINGS
from snnkern.convert.fold import fold_batch_norm
from snnkern.convert.graph import ConversionError
from snnkern.convert.inplace import out_of_place
from snnkern.convert.modules import by_modules
from snnkern.convert.network import SNN
from snnkern.convert.origin import Origin
from snnkern.convert.probe import probe
from snnkern.convert.recipe import Recipe, Site
from snnkern.convert.recipes import named
from snnkern.convert.replace import Replacing
from snnkern.convert.sketch import Sketch
from snnkern.convert.tune import tune


@torch.random.fork_rng(devices=[])  # a loader draws its seed from the global generator
@torch.inference_mode(False)  # tensors made within could not be trained or written to later
@torch.no_grad()
def convert(
    model: nn.Module,
    calibration: Calibration,
    recipe: str | Recipe = 'default',
    timesteps: int = 8,
    *,
    leaves: Collection[str] = (),
    modules: str | Mapping[str, str] | None = None,
    readout: str | None = None,
    coding: str | None = None,
    progress: Progress = silent,
) -> SNN:
    """A spiking twin of a trained network for about `timesteps` steps; `model` stays as it is.

    Each call of ReLU, ReLU6, LeakyReLU or clamp(0, c), module or function, becomes a neuron of its own (a module
    called twice is two calls), each MaxPool2d of spikes a lateral pool. BatchNorm is folded, Dropout removed. What
    is affine stays; what is neither (softmax, sigmoid, a product of two signals) stays analogue and reads the mean
    over time. Spikes carry real units (count * theta), so additions and concatenations need no rescaling.
    `SNN.report()` lists all of it.

    calibration: inputs [N, ...] that the model was trained on, or an iterable of such batches, read once (a
    loader's (x, label) tuples will do). recipe: a name (`snnkern.convert.recipes.RECIPES`) or a `Recipe`. timesteps:
    T >= 1 that thresholds are chosen for; the SNN runs for any T. leaves: names of modules that stay whole and
    analogue. modules: None for torch.fx; "auto", for models that it cannot trace, replaces activation and max-pool
    modules where they stand (functional calls stay unseen), and a mapping {name: "neuron" | "pool" | "analogue"}
    names them. readout: "mean" applies analogue parts at the end (softmax, sigmoid) to the mean over time, "original"
    to every step, as published converters do, and averages (`min_max` is what those for segmentation do after it);
    None: as the recipe says. coding: "direct", the input is a constant current and what stands before the first neuron
    runs once, or "poisson", it is turned into spikes with probability x in every step (`SNN.seed`; x must lie in 0..1);
    None: as the recipe says, all of the library's "direct". progress: called with what is being done and the share done
    of it.

    Raises ConversionError, naming the call and its place, for what cannot be converted and for NaN activations;
    ValueError for bad arguments and empty calibration. Example: `snn = convert(net, x_train[:500], timesteps=4)`,
    then `logits = snn(x, T=4)`.
    """
    whole('timesteps', timesteps)
    chosen = _with(named(recipe), readout, coding)
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module, got {type(model).__name__}')
    model = graph.unwrapped(model)
    if modules is not None:
        return by_modules(model, calibration, chosen, timesteps, modules, progress)
    net = _traced(model, leaves)
    count = sum(node.op == 'placeholder' for node in net.graph.nodes)
    stream = calibrate.batches(calibration, count, chosen.coding == 'poisson')
    first = next(stream)
    sites = _folded(net, first, chosen, timesteps, leaves)
    total = calibrate.length(calibration, count)
    few = calibrate.observe(net, sites, chain([first], stream), total, progress)
    return _finish(net, sites, chosen, timesteps, leaves, few, progress)


@torch.no_grad()
def rebuild(model: nn.Module, recipe: Recipe, timesteps: int, origin: Origin) -> SNN:
    """The same conversion again, with a recipe that needs no calibration, since it knows its neurons."""
    inputs = origin.examples(next(model.parameters(), torch.empty(0)).device)
    if origin.modules is not None:
        return convert(model, [inputs], recipe, timesteps, modules=origin.modules)
    net = _traced(model, origin.leaves)
    sites = _folded(net, inputs, recipe, timesteps, origin.leaves)
    return _finish(net, sites, recipe, timesteps, origin.leaves, inputs, silent)


def _with(recipe: Recipe, readout: str | None, coding: str | None) -> Recipe:
    """The recipe, with these where they are given."""
    if readout not in (None, 'mean', 'original'):
        raise ValueError(f"readout must be 'mean', 'original' or None, got {readout!r}")
    original = recipe.original_readout if readout is None else readout == 'original'
    coding = recipe.coding if coding is None else coding
    if coding not in CODINGS:
        raise ValueError(f'coding must be one of {", ".join(CODINGS)} or None, got {coding!r}')
    return replace(recipe, original_readout=original, coding=coding)


def _traced(model: nn.Module, leaves: Collection[str]) -> fx.GraphModule:
    net = graph.trace(model, leaves, lambda m: isinstance(getattr(m, 'activation', None), Activation))
    out_of_place(net)
    return net


def _folded(
    net: fx.GraphModule, inputs: tuple[Tensor, ...], recipe: Recipe, timesteps: int, leaves: Collection[str]
) -> dict[fx.Node, Site]:
    """Let nodes know their shapes, fold BatchNorm, and find the activations."""
    probe(net, inputs)
    fold_batch_norm(net)
    return _sites(net, recipe, timesteps, leaves)


def _finish(
    net: fx.GraphModule,
    sites: dict[fx.Node, Site],
    recipe: Recipe,
    timesteps: int,
    leaves: Collection[str],
    inputs: tuple[Tensor, ...],
    progress: Progress,
) -> SNN:
    """Replace, tune, and take apart what runs once and what runs every step."""
    numbers = {} if recipe.prepare is None else recipe.prepare(net, sites)
    original, names = _copy(net), {node.name: site.name for node, site in sites.items()}
    replacing = Replacing(net, sites, recipe, leaves)
    replacing.run()
    if recipe.tune is not None:
        tune(original, replacing, names, inputs, timesteps, progress)
    stem, body = replacing.split()
    snn = SNN(stem, body, replacing.clock, replacing.entries, recipe.name, timesteps, replacing.largest)
    if recipe.prepare is None or recipe.again is not None:
        seen = Origin.shapes(inputs)
        snn.origin = Origin(seen, tuple(leaves), None, recipe.gated, recipe.original_readout, numbers, recipe.coding)
    return snn


def _copy(net: fx.GraphModule) -> fx.GraphModule:
    """The same modules under a graph of its own, with the same names."""
    twin = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    twin.output(twin.graph_copy(net.graph, known))
    return fx.GraphModule(net, twin)


def _sites(net: fx.GraphModule, recipe: Recipe, timesteps: int, leaves: Collection[str]) -> dict[fx.Node, Site]:
    """The activations of a graph, but for the leaves."""
    kinds = ((node, activation(net, node)) for node in net.graph.nodes if node.target not in leaves)
    found = {node: kind for node, kind in kinds if kind is not None and node.meta['tensor']}
    if not found:
        raise ConversionError('the model has no ReLU, so there is nothing to convert')
    return {
        node: Site(f'neuron_{i}', graph.describe(net, node), kind, Sketch(recipe.channels), timesteps, len(found))
        for i, (node, kind) in enumerate(found.items())
    }
