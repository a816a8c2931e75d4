"""A converted network that is trained on: surrogate gradients through its own neurons."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from snnkern import _arguments as arguments
from snnkern.convert import Recipe, convert, graph
from snnkern.convert.layers import LateralPool, Spiking
from snnkern.convert.network import SNN
from snnkern.convert.recipes import RECIPES, named
from snnkern.models.boxes import head_of, whole_cells
from snnkern.models.registry import build
from snnkern.models.spiking.scaled import scaled_multistep
from snnkern.models.weights import load_weights
from snnkern.surrogates import Triangle

LEAST = 1e-3  # of what calibration found: the smallest threshold that learning may reach


class Converted(nn.Module):
    """A network and its spiking twin, which is trained on through its own neurons.

    ann: the trained network; it becomes `teacher`. shape: (C, H, W) of an image. recipe: of the conversion, a name, a
    `Recipe`, or what makes one, whose layers are plain neurons (not srp, cos, spicalib, msat); with a `Recipe` itself,
    which may hold local functions, the network may not pickle, with the others it does. T: steps that thresholds are
    chosen for; the network runs for any number. learn_thresholds: thresholds are parameters, too; else weights and
    biases only.

    At first it is converted on noise: call `calibrate` with images of the training set, or load a state_dict, which
    holds the neurons. With learn_thresholds the potential before the first step stays what calibration made it, while
    the thresholds move away. BatchNorm is folded into the weights, so that it is trained with them and has no
    statistics.

    Backward takes the surrogate Triangle(1 / v_threshold) at each level of a neuron. Where thresholds are those of
    channels, or learned, v_threshold is there the largest that calibration found in the layer times a power of two,
    within sqrt(2) of the channel's (`scaled_multistep`). In real units the triangles of a burst add up to 1, the slope
    of the activation, between its first and its last level; where a neuron starts at v_threshold / 2 and the reset is
    not detached, a binary one comes close over time. A recipe that starts at 0 (plain_if, ijcai22) leaves layers silent
    at few steps, and no gradient reaches what stands ten layers before.

    snn: the spiking network. head: of a detector, a copy; None elsewhere. teacher: `ann` without gradients in eval
    mode; it follows this module to devices, but parameters() and state_dict() lack it. Raises ValueError for a recipe
    with other layers, and what `convert` raises. Source of the idea: Rathi et al., ICLR 2020 (hybrid conversion).
    Example: `net = Converted(ann, (3, 32, 32)); net.calibrate(images)`, then `net(encode.direct(x, 4)).mean(0)`.
    """

    numbers: Tensor
    least: Tensor
    teacher: nn.Module

    def __init__(
        self,
        ann: nn.Module,
        shape: Sequence[int],
        recipe: str | Recipe | Callable[[], Recipe] = 'default',
        T: int = 4,
        learn_thresholds: bool = False,
    ) -> None:
        super().__init__()
        self.make_recipe = recipe if callable(recipe) else partial(named, recipe)
        self.rank, self.T, self.learn_thresholds = 2 + len(shape), T, learn_thresholds
        # Not a submodule: it would be trained, saved and put into train mode.
        self.__dict__['teacher'] = graph.frozen_copy(ann)
        like = next((p for p in ann.parameters() if p.is_floating_point()), torch.empty(0))
        noise = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
        whole_cells(ann, shape[1:])
        self.head = copy.deepcopy(head_of(ann))
        self.snn = self._twin(noise)
        self.register_buffer('numbers', _numbers(self.snn).to(like.device))
        if learn_thresholds:
            self.register_buffer('least', _least(self.snn))
        self._use_numbers()
        self.snn.to(memory_format=torch.channels_last)  # convolutions of few channels are faster

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [T, B, K] of images that are the same in each of T steps, x [T, B, C, H, W] (`encode.direct`).

        Raises ValueError for another rank, no steps, and steps that differ: the network was converted for constant
        currents.
        """
        if x.dim() != self.rank or not len(x):
            raise ValueError(f'x must be [T, B, ...] with {self.rank} dimensions and T >= 1, got {tuple(x.shape)}')
        if len(x) > 1 and not arguments.repeated(x) and not bool((x[1:] == x[:1]).all()):
            if x.isnan().any():
                raise ValueError('x must be numbers, got NaN')
            raise ValueError('x must be the same in every step (direct coding), got steps that differ')
        found: Tensor = self.snn.sequence(x[0], len(x))
        return found

    def calibrate(self, x: Tensor) -> None:
        """Convert anew, for images [B, C, H, W] as the network will see them; forgets what was trained.

        Parameters stay the same objects and get other values.
        """
        snn = self._twin(x)
        own = {name: t for name, t in self.state_dict().items() if name.startswith('head.')}
        found = own | {'numbers': _numbers(snn), **{f'snn.{name}': t for name, t in snn.state_dict().items()}}
        self.load_state_dict(found | ({'least': _least(snn)} if self.learn_thresholds else {}))

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Weights at that rate; thresholds at a tenth of it and without decay."""
        thresholds = {id(p) for layer in self.snn.neurons for p in layer.parameters()}
        rest = [p for p in self.parameters() if id(p) not in thresholds]
        own = [p for p in self.parameters() if id(p) in thresholds]
        groups: list[dict[str, Any]] = [{'params': rest, 'lr': learning_rate}]
        return [*groups, {'params': own, 'lr': learning_rate / 10, 'weight_decay': 0.0}] if own else groups

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep learned thresholds positive; a neuron fires no more where its threshold is not."""
        if self.learn_thresholds:
            thresholds = [layer.coefficients['v_threshold'] for layer in self.snn.neurons]
            for p, least in zip(thresholds, self.least.split([p.numel() for p in thresholds]), strict=True):
                p.clamp_(min=least.view(p.shape))

    def _twin(self, x: Tensor) -> SNN:
        """The teacher converted, with parameters that are trained."""
        recipe = self.make_recipe()
        snn = convert(self.teacher, x, recipe, self.T)
        if others := sorted({type(layer).__name__ for layer in snn.neurons} - {Spiking.__name__}):
            raise ValueError(
                f'recipe must have plain neurons, which have gradients, got {recipe.name} with {", ".join(others)}'
            )
        for p in snn.parameters():
            p.requires_grad_(True)
        for layer in snn.neurons:
            layer.multistep = scaled_multistep
        if self.learn_thresholds:
            for layer in snn.neurons:
                theta = nn.Parameter(torch.as_tensor(layer.v_threshold).float().to(x.device))
                layer.set(layer.neuron, {**layer.coefficients, 'v_threshold': theta}, layer.get_buffer('v0'))
            _use_thresholds(snn)
        return snn

    def _use_numbers(self) -> None:
        """Let neurons have the thresholds and most spikes that the buffer says."""
        for layer, (theta, most) in zip(self.snn.neurons, self.numbers.tolist(), strict=True):
            fire: Any = layer.neuron.fire
            counts = {'max_spikes': int(most)} if hasattr(fire, 'max_spikes') else {}
            fire = replace(fire, v_threshold=theta, **counts)
            layer.neuron = replace(layer.neuron, fire=fire, surrogate=Triangle(1 / theta))
        _use_thresholds(self.snn)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Whether a neuron has a bias is what calibration found; what is learned here must come, too."""
        if not self.learn_thresholds:
            state_dict.pop(f'{prefix}least', None)
        for name, layer in self.named_modules():
            own = f'{prefix}{name}.'
            if isinstance(layer, Spiking) and f'{own}v0' in state_dict:
                found = {n: state_dict.get(f'{own}of_{n}') for n in layer.neuron.coefficients}
                here, v0 = layer.coefficients, layer.get_buffer('v0')
                wanted = {n: v.to(v0.device, copy=True) for n, v in found.items() if v is not None and n not in here}
                kept = {n: v for n, v in here.items() if found[n] is not None or isinstance(v, nn.Parameter)}
                if wanted or kept.keys() != here.keys():
                    layer.set(layer.neuron, {**kept, **wanted}, v0)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._use_numbers()

    def _apply(self, fn: Any, recurse: bool = True) -> 'Converted':
        self.teacher._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self


def _numbers(snn: SNN) -> Tensor:
    """[L, 2]: threshold and most spikes of each neuron layer."""
    return torch.tensor([[layer.neuron.fire.v_threshold, layer.max_spikes] for layer in snn.neurons])


def _least(snn: SNN) -> Tensor:
    """The smallest value of every threshold, layer by layer, from those that calibration found."""
    return LEAST * torch.cat([torch.as_tensor(layer.v_threshold).detach().flatten() for layer in snn.neurons])


def _use_thresholds(snn: SNN) -> None:
    """Let each pool know what a spike of its neurons is worth."""
    body = snn.body
    assert isinstance(body, fx.GraphModule)
    for node in body.graph.nodes:
        pool = source = graph.module_of(body, node)
        if not isinstance(pool, LateralPool):
            continue
        while not isinstance(source, Spiking):  # past pools, and pads, which keep spikes whole
            node = graph.source(node)
            source = graph.module_of(body, node)
        pool.use(source.v_threshold)


def converted(
    in_channels: int,
    size: tuple[int, int],
    num_classes: int,
    *,
    network: str = 'resnet32',
    weights: str | Path | None = None,
    width: int | None = None,
    network_options: dict[str, Any] | None = None,
    recipe: str = 'default',
    recipe_options: dict[str, Any] | None = None,
    T: int = 4,
    learn_thresholds: bool = False,
) -> Converted:
    """A network of the registry with trained weights, converted, to be trained on.

    in_channels, size, num_classes: of the images. network: a key of `snnkern.models.MODELS`; width: of it;
    network_options: what it takes besides. weights: a file that `snnkern.models.load_weights` reads, of an archive the
    member that is named after the network; None: untrained. recipe, recipe_options: the function of
    `snnkern.convert.recipes` and its arguments. Others as in `Converted`, which says what is raised. Raises
    WeightsError for weights that do not fit, ValueError for an unknown name. Example: `converted(3, (32, 32), 10,
    weights='pretrained_weights.zip', recipe='layerwise')`.
    """
    if recipe not in RECIPES:
        raise ValueError(f'recipe must be one of {", ".join(RECIPES)}, got {recipe!r}')
    sizes: dict[str, Any] = {'in_channels': in_channels, 'num_classes': num_classes, 'width': width}
    ann = build(network, **sizes, **(network_options or {}))
    if weights is not None:
        load_weights(ann, weights, network)
    return Converted(ann, (in_channels, *size), partial(RECIPES[recipe], **(recipe_options or {})), T, learn_thresholds)
