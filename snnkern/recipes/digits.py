"""MNIST for LeNet-5: images as tensors, light augmentation, and a seeded training run."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern.data import Bytes
from snnkern.models import LeNet5

BATCH = 64
LEARNING_RATE = 0.1
ROTATION = math.radians(10)
SCALING = 0.1
SHIFT = 2.0  # pixels


def images(x: Bytes) -> Tensor:
    """Digits [N, 28, 28] in bytes as [N, 1, 32, 32] in 0..1, framed by two pixels of paper."""
    return F.pad(torch.from_numpy(x).unsqueeze(1).float() / 255, (2, 2, 2, 2))


def labels(y: Bytes) -> Tensor:
    """Labels [N] as int64."""
    return torch.from_numpy(y).long()


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [B, C, H, W] turned, scaled and shifted a little, at random."""

    def spread(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    angle, scale = spread(len(x)) * ROTATION, 1 + spread(len(x)) * SCALING
    shift = spread(2, len(x)) * SHIFT * 2 / x.shape[-1]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrices = torch.stack((cos, -sin, shift[0], sin, cos, shift[1]), 1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch's CPU ops on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(x: Tensor, y: Tensor, epochs: int, seed: int, on_epoch: Callable[[float], None] | None = None) -> LeNet5:
    """LeNet-5 trained on images x [N, 1, 32, 32] with labels y [N], in eval mode.

    SGD with momentum and one cycle of the learning rate; the weights after the last epoch count, nothing is
    selected. One thread: batches this small gain little from more, and sums would depend on their number.
    on_epoch: called after each epoch with its mean loss. One seed gives the same weights again; the caller's
    random state stays as it was. Example: `train(images(d.x_train), labels(d.y_train), 10, 0)`.
    """
    with torch.random.fork_rng(devices=[]), threads(1):
        torch.manual_seed(seed)
        net, generator = LeNet5(), torch.Generator().manual_seed(seed)
        optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
        total = epochs * math.ceil(len(x) / BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=total)
        for _ in range(epochs):
            loss = _epoch(net, x, y, optimizer, schedule, generator)
            if on_epoch is not None:
                on_epoch(loss)
    return net.eval()


def _epoch(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> float:
    total = 0.0
    for index in torch.randperm(len(x), generator=generator).split(BATCH):
        loss = F.cross_entropy(net(augment(x[index], generator)), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(index)
    return total / len(x)


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Percent of rows of logits [N, K] whose largest is the label."""
    return round(100 * int((logits.argmax(1) == y).sum()) / len(y), 4)
