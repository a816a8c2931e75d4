"""Samples to train on, batch by batch: what every data set of direct training looks like."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from snnkern.data.common import Images

Change = Callable[[Tensor, torch.Generator], Tensor]


class Split(Protocol):
    """One part of a set; samples stay packed, or in their files, until a batch asks for them."""

    def __len__(self) -> int: ...

    def batch(self, index: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """The samples of these numbers: x [B, ...] in float32 and y.

        x: images [B, C, H, W] in 0..1, or frames of events [B, T, C, H, W]. y: labels int64 [B], masks int64 [B, H, W],
        or boxes float32 [B, M, 6], rows of label, x1, y1, x2, y2 (corners in shares of the image) and 1 for a crowd; a
        row of label < 0 is none. seed: of augmentation, of which every sample draws by seed and its number, so that it
        is the same in any batch and process; None: samples as they are.
        """
        ...


class SampleSet(NamedTuple):
    """Two splits and what is to be known of them.

    name: of the data set. train, test: splits. classes: their names. shape: of one x, (C, H, W) or (T, C, H, W).
    source: one line that says which data these are. mean, std: of each channel, for images; empty: frames.
    ignore: the label of pixels that do not count; None: all count.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    source: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    ignore: int | None = None

    @property
    def targets(self) -> str:
        """'labels', 'masks' or 'boxes'."""
        return kind_of(self.train.batch([0])[1])


class ImageSplit:
    """Labelled images in bytes as a split.

    images: uint8 [N, C, H, W]. labels: int64 [N]. change: augmentation of images [B, C, H, W] in 0..1, called with one
    image and its own generator; None: none. noise: a change of every image in every batch, the same each time.
    Example: `ImageSplit(d.x_train, d.y_train).batch([0, 1])[0].shape`.
    """

    def __init__(
        self, images: Images, labels: Tensor, change: Change | None = None, noise: Change | None = None
    ) -> None:
        self.images, self.labels, self.change, self.noise = images, labels, change, noise

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """See Split."""
        chosen = torch.as_tensor(index)
        x = self.images[chosen].float() / 255
        for change, drawn in ((self.noise, 0), (self.change, seed)):
            if change is not None and drawn is not None:
                x = torch.cat([change(x[i : i + 1], generator(drawn, n)) for i, n in enumerate(chosen.tolist())])
        return x, self.labels[chosen]


def kind_of(y: Tensor) -> str:
    """Whether targets of a batch are 'labels', 'masks' or 'boxes'."""
    return 'boxes' if y.is_floating_point() else 'masks' if y.dim() == 3 else 'labels'


def generator(seed: int, sample: int) -> torch.Generator:
    """What a sample of that number draws from, under that seed."""
    return torch.Generator().manual_seed((seed * 1_000_003 + sample) % 2**63)
