"""Layer by layer: each neuron is tuned on what the tuned layers before it really emit."""

from typing import Any

import torch
from torch import Tensor, fx

from snnkern.convert.calibrate import KEPT, Progress
from snnkern.convert.layers import LateralPool, Spiking
from snnkern.convert.recipe import Recipe, Site
from snnkern.convert.replace import Replacing

BYTES = 2**29  # about what the activations of the tuning inputs may take


class Targets(fx.Interpreter):
    """Runs the original graph and keeps the outputs of its activations, by site's name."""

    def __init__(self, net: fx.GraphModule, names: dict[str, str]) -> None:
        super().__init__(net)
        self.names = names
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.names:
            self.found[self.names[n.name]] = value.clone()  # later calls may work in place
        return value


class Tuner(fx.Interpreter):
    """Runs the spiking graph and tunes each neuron before it fires."""

    def __init__(self, replacing: Replacing, targets: dict[str, Tensor], progress: Progress) -> None:
        super().__init__(replacing.net)
        self.replacing, self.targets, self.progress = replacing, targets, progress
        self.done = 0

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, Spiking):
            site = self.replacing.layers[target][1]
            tune_layer(self.replacing.recipe, module, args[0], self.targets.pop(target), site)
            self.done += 1
            self.progress('tuning thresholds', self.done / site.count)
        elif isinstance(module, LateralPool):
            module.use(self.replacing.pools[target][1].v_threshold)
        out = super().call_module(target, args, kwargs)
        if hasattr(module, 'reset'):
            module.reset()
        return out


def tune_layer(recipe: Recipe, layer: Spiking, x: Tensor, target: Tensor, site: Site) -> None:
    """Tune one layer on its input."""
    assert recipe.tune is not None
    recipe.tune(layer, x, target, site)


def how_many(values: int, largest: int) -> int:
    """How many inputs to tune on: values of one input's activations, and of its largest tensor with time."""
    return max(2, min(KEPT, BYTES // max(4 * values, 4 * 4 * largest)))


@torch.no_grad()
def tune(
    original: fx.GraphModule,
    replacing: Replacing,
    names: dict[str, str],
    inputs: tuple[Tensor, ...],
    timesteps: int,
    progress: Progress,
) -> None:
    """Tune all neurons for so many steps, on a few of the calibration inputs: as many as memory allows.

    names: of the sites by the name of their node in `original`.
    """
    size = sum(site.sketch.size for _, site in replacing.layers.values())
    few = tuple(x[: how_many(size, timesteps * replacing.largest)] for x in inputs)
    targets = Targets(original, names)
    targets.run(*few)
    replacing.clock.steps, replacing.clock.start = timesteps, 0
    Tuner(replacing, targets.found, progress).run(*few)
