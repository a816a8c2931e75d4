"""Pictures for training: random crops of bytes, predictions batch by batch, and the soft Dice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.data import Images

Normalise = Callable[[Tensor], Tensor]
PADDING = 4  # pixels


def _draw(high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(high, (count,), generator=generator)


def shift_and_flip(x: Tensor, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Each picture [B, C, H, W] shifted by up to `padding` pixels, zeros coming in, and mirrored or not.

    The random crop and flip that is usual for CIFAR, a draw of its own for each picture.
    Example: `shift_and_flip(torch.rand(8, 3, 32, 32), torch.Generator().manual_seed(0))`.
    """
    count, _, height, width = x.shape
    padded = nn.functional.pad(x, (padding,) * 4)
    rows = _draw(2 * padding + 1, count, generator)[:, None] + torch.arange(height)
    columns = _draw(2 * padding + 1, count, generator)[:, None] + torch.arange(width)
    mirrored = _draw(2, count, generator).bool()[:, None]
    columns = torch.where(mirrored, columns.flip(1), columns)
    # An index on each side of the slice puts channels last, where the convolutions want them.
    picked = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def quarter_turns(x: Tensor, turns: Tensor) -> Tensor:
    """Each square picture [B, C, S, S] turned by its number [B] of quarter turns, 0 to 3."""
    out = x.clone()
    for k in range(1, 4):
        chosen = turns == k
        out[chosen] = torch.rot90(x[chosen], k, (2, 3))
    return out


def random_crops(x: Images, y: Tensor, index: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops [B, C, size, size] of the pictures and masks of those indices, each turned and mirrored at random.

    Example: `random_crops(d.x_train, d.y_train, torch.arange(4), 128, torch.Generator())`.
    """
    height, width = x.shape[2:]
    tops = _draw(height - size + 1, len(index), generator).tolist()
    lefts = _draw(width - size + 1, len(index), generator).tolist()
    turns, mirrored = _draw(4, len(index), generator), _draw(2, len(index), generator).bool()
    picked = []
    for part in (x, y):
        crops = torch.stack(
            [part[i][:, t : t + size, s : s + size] for i, t, s in zip(index.tolist(), tops, lefts, strict=True)]
        )
        crops[mirrored] = crops[mirrored].flip(3)
        picked.append(quarter_turns(crops, turns))
    return picked[0], picked[1]


@torch.no_grad()
def predict(net: nn.Module, x: Images, normalise: Normalise, batch: int = 100) -> Tensor:
    """Outputs of the network for pictures in bytes [N, C, H, W], in eval mode, `batch` at a time.

    The mode of the network is afterwards what it was.
    """
    training = net.training
    net.eval()
    try:
        return torch.cat([net(normalise(x[i : i + batch])) for i in range(0, len(x), batch)])
    finally:
        net.train(training)


def soft_dice(p: Tensor, y: Tensor) -> Tensor:
    """(2 sum(p y) + 1) / (sum p + sum y + 1) of each picture, [B].

    p: probabilities [B, ...]. y: masks of 0 and 1 of the same shape. Source: BrainCog's U-Net conversion.
    Example: `soft_dice(logits.sigmoid(), masks).mean()`.
    """
    p, y = p.flatten(1), y.flatten(1).to(p.dtype)
    return (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)


class Part:
    """Some pictures of a set, or the middle of each, in bytes; they are read when they are indexed.

    images: uint8 [N, C, H, W], a tensor or files. index: which ones. crop: pixels of a side of the middle; None: all.
    Example: `Part(d.x_test, torch.arange(0, 1000, 10))[:5].shape`.
    """

    def __init__(self, images: Images, index: Tensor, crop: int | None = None) -> None:
        self.images, self.index, self.crop = images, index, crop
        size = images.shape[2:] if crop is None else (crop, crop)
        self.shape = (len(index), images.shape[1], *size)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any, /) -> Tensor:
        return middle(self.images[self.index[index]], self.crop)


def middle(x: Tensor, crop: int | None) -> Tensor:
    """The middle crop x crop pixels of pictures [N, C, H, W]; all of them for None."""
    if crop is None:
        return x
    top, left = ((size - crop) // 2 for size in x.shape[2:])
    return x[:, :, top : top + crop, left : left + crop]
