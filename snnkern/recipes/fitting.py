"""Loops that fit the networks: a classifier, a segmenter, and a backbone without labels."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern.data import Images
from snnkern.recipes.digits import accuracy, augment, threads
from snnkern.recipes.images import Normalise, predict, quarter_turns, random_crops, shift_and_flip, soft_dice

OnEpoch = Callable[[float], None]
Batch = tuple[Tensor, Tensor]
AUGMENTS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    'affine': augment,
    'shift-flip': shift_and_flip,
    'none': lambda x, generator: x,
}


@dataclass(frozen=True)
class Fit:
    """How a network is fitted: SGD with Nesterov's momentum 0.9, or AdamW, on one cycle of the learning rate.

    epochs: passes over the pictures. seed: of the order and of the augmentation. batch: pictures a step.
    learning_rate: the highest of the cycle. weight_decay: of all parameters. smoothing: of the labels.
    augment: 'affine' (digits), 'shift-flip' (CIFAR) or 'none'. optimizer: 'sgd' or 'adamw'. crop: pixels of a
    side of a segmenter's crops. repeats: crops a slice and epoch. threads: of torch's CPU ops; sums depend on
    it. The weights after the last epoch count, nothing is selected. Raises ValueError for what is not such.
    """

    epochs: int = 30
    seed: int = 0
    batch: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    smoothing: float = 0.1
    augment: str = 'shift-flip'
    optimizer: str = 'sgd'
    crop: int = 128
    repeats: int = 16
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ('epochs', 'batch', 'crop', 'repeats', 'threads'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}: expected at least 1, got {getattr(self, name)}')
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f'learning_rate: expected a positive number, got {self.learning_rate}')
        for name, known in (('augment', tuple(AUGMENTS)), ('optimizer', ('sgd', 'adamw'))):
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}, got {getattr(self, name)!r}')


def train_classifier(
    net: nn.Module, x: Images, y: Tensor, normalise: Normalise, fit: Fit, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """The network trained in place on pictures x (bytes, [N, C, H, W]) with labels y [N]; in eval mode.

    normalise: makes a batch of bytes the network's input. on_epoch: called after each epoch with its mean
    loss. The same network, Fit and data give the same weights again; the caller's random state stays as it was.
    Raises ValueError unless there is a label for each picture, FloatingPointError if the loss is not finite.
    Example: `train_classifier(build('resnet18', width=16), d.x_train, d.y_train, d.normalise, Fit(epochs=30))`.
    """
    _paired(x, y)
    change = AUGMENTS[fit.augment]

    def sample(index: Tensor, generator: torch.Generator) -> Batch:
        return change(normalise(x[index]), generator), y[index]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out, target, label_smoothing=fit.smoothing)

    return _fitted(net, len(x), sample, loss, fit, on_epoch)


def train_segmenter(
    net: nn.Module, x: Images, y: Tensor, normalise: Normalise, fit: Fit, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """The network trained in place on crops of slices x [N, C, H, W] with masks y [N, 1, H, W]; in eval mode.

    The loss is binary cross entropy plus 1 - soft Dice of the whole batch. An epoch takes `fit.repeats` random
    crops of each slice, turned and mirrored. Otherwise as train_classifier. Raises ValueError where a crop is
    larger than a slice. Example: `train_segmenter(build('unet', width=8), d.x_train, d.y_train, d.normalise, fit)`.
    """
    _paired(x, y)
    if fit.crop > min(x.shape[2:]):
        raise ValueError(f'crop: {fit.crop} pixels do not fit into slices of {x.shape[2]} x {x.shape[3]}')

    def sample(index: Tensor, generator: torch.Generator) -> Batch:
        pictures, masks = random_crops(x, y, index % len(x), fit.crop, generator)
        return normalise(pictures), masks.float()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        dice = soft_dice(out.sigmoid().flatten()[None], target.flatten()[None])
        return F.binary_cross_entropy_with_logits(out, target) + 1 - dice.squeeze()

    return _fitted(net, len(x) * fit.repeats, sample, loss, fit, on_epoch)


def pretrain_rotation(
    net: nn.Module, x: Images, normalise: Normalise, fit: Fit, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """The network's backbone trained in place without labels: by how many quarter turns is a picture turned?

    x: square pictures in bytes [N, C, S, S]. The last linear layer is put aside and comes back untouched: see
    linear_probe. Otherwise as train_classifier. Source: Gidaris et al., arXiv 1803.07728.
    Example: `pretrain_rotation(net, d.x_train, d.normalise, Fit(epochs=12))`.
    """
    change, (name, head) = AUGMENTS[fit.augment], last_linear(net)
    parent, own = net.get_submodule(name.rpartition('.')[0]), name.rpartition('.')[2]

    def sample(index: Tensor, generator: torch.Generator) -> Batch:
        turns = torch.randint(4, (len(index),), generator=generator)
        return quarter_turns(change(normalise(x[index]), generator), turns), turns

    with seeded(fit.seed):
        setattr(parent, own, nn.Linear(head.in_features, 4))
    try:
        return _fitted(net, len(x), sample, F.cross_entropy, fit, on_epoch)
    finally:
        setattr(parent, own, head)


def linear_probe(
    net: nn.Module, x: Images, y: Tensor, normalise: Normalise, fit: Fit, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Only the last linear layer trained in place, on what the frozen backbone gives for pictures x (bytes).

    The backbone runs once over the pictures as they are, so `fit.augment` plays no part and an epoch is
    quick. Otherwise as train_classifier. Example: `linear_probe(net, d.x_train, d.y_train, d.normalise, Fit(5))`.
    """
    _paired(x, y)
    _, head = last_linear(net)
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        with threads(fit.threads):
            predict(net, x, normalise)
    finally:
        hook.remove()
    features = torch.cat(seen)

    def sample(index: Tensor, generator: torch.Generator) -> Batch:
        return features[index], y[index]

    _fitted(head, len(features), sample, F.cross_entropy, fit, on_epoch)
    return net.eval()


def last_linear(net: nn.Module) -> tuple[str, nn.Linear]:
    """The name of the network's last linear layer, and the layer; raises ValueError where there is none."""
    found = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not found:
        raise ValueError(f'net: {type(net).__name__} has no linear layer')
    return found[-1]


def score(net: nn.Module, x: Images, y: Tensor, normalise: Normalise) -> float:
    """Accuracy in percent for labels y [N], or the mean soft Dice of whole slices for masks y [N, 1, H, W]."""
    if y.ndim == 1:
        return accuracy(predict(net, x, normalise), y)
    return round(float(soft_dice(predict(net, x, normalise, batch=1).sigmoid(), y).mean()), 4)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global random state as after manual_seed(seed); the caller's state comes back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _paired(x: Images, y: Tensor) -> None:
    """Raises ValueError unless there is a target for each picture, and a picture at all."""
    if not len(x) == len(y) > 0:
        raise ValueError(f'y: expected a target for each of {len(x)} pictures, at least one, got {len(y)}')


def _fitted(
    net: nn.Module,
    count: int,
    sample: Callable[[Tensor, torch.Generator], Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    fit: Fit,
    on_epoch: OnEpoch | None,
) -> nn.Module:
    with seeded(fit.seed), threads(fit.threads):
        generator = torch.Generator().manual_seed(fit.seed)
        net.train().to(memory_format=torch.channels_last)
        optimizer = _optimizer(net, fit)
        steps = math.ceil(count / fit.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, fit.learning_rate, total_steps=fit.epochs * steps)
        for _ in range(fit.epochs):
            mean = 0.0
            # Nearly equal batches: none is left with one picture, of which BatchNorm has no deviation.
            for index in torch.randperm(count, generator=generator).tensor_split(steps):
                x, y = sample(index, generator)
                value = loss(net(x), y)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                mean += value.item() * len(index) / count
            if not math.isfinite(mean):
                raise FloatingPointError(f'the loss became {mean}: lower learning_rate, it is {fit.learning_rate}')
            if on_epoch is not None:
                on_epoch(mean)
    return net.eval()


def _optimizer(net: nn.Module, fit: Fit) -> torch.optim.Optimizer:
    if fit.optimizer == 'adamw':
        return torch.optim.AdamW(net.parameters(), fit.learning_rate, weight_decay=fit.weight_decay)
    return torch.optim.SGD(
        net.parameters(), fit.learning_rate, momentum=0.9, weight_decay=fit.weight_decay, nesterov=True
    )
