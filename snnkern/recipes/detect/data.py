"""The images that a detector is converted and evaluated on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnkern.data import SampleSet, samples
from snnkern.data.samples import Split
from snnkern.data.sets import SAMPLES
from snnkern.recipes.detect.detector import Detector

SETS = tuple(name for name, (place, _) in SAMPLES.items() if '_boxes:' in place)
BATCH = 4  # images: a layer of full width takes 45 MB for them


class Batches:
    """Batches (x, y) of some samples of a split in their order, which can be run through again.

    Example: `for x, y in Batches(data.test, range(8)): ...`.
    """

    def __init__(self, split: Split, index: Sequence[int], size: int = BATCH) -> None:
        self.split, self.parts = split, [list(index[i : i + size]) for i in range(0, len(index), size)]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in self.parts:
            yield self.split.batch(part)


def read(spec: str, detector: Detector, options: Mapping[str, Any]) -> SampleSet:
    """A set of images and boxes, as large as the detector takes them and without augmentation.

    spec: "name:DIR", see `snnkern.data.samples`. options: of the loader. Raises ValueError for a set without boxes,
    DataError, or CorruptError, for files that are missing or broken.
    """
    name = spec.partition(':')[0]
    if name in SAMPLES and name not in SETS:
        raise ValueError(f'data: {name} has no boxes, expected one of {", ".join(SETS)}')
    taken = sorted({'size', 'augment'} & options.keys())
    if taken:
        raise ValueError(f'data: {taken[0]} is what the detector asks for, got {options[taken[0]]!r}')
    return samples(spec, **{'size': detector.size, 'augment': 'none', **options})


def same_classes(data: SampleSet, detector: Detector) -> None:
    """Raise ValueError unless data and detector have the same classes in the same order."""
    file = detector.facts['file']
    if len(data.classes) != len(detector.classes):
        raise ValueError(f'{file} finds {len(detector.classes)} classes, {data.name} has {len(data.classes)}')
    for k, (ours, theirs) in enumerate(zip(detector.classes, data.classes, strict=True)):
        if ours != theirs:
            raise ValueError(f'class {k} is {ours} for {file} and {theirs} in {data.name}: --classes names them anew')


def spread(count: int, limit: int | None) -> list[int]:
    """The numbers of at most `limit` of so many samples, evenly spread; None: all."""
    return torch.linspace(0, count - 1, min(limit or count, count)).round().long().tolist()


def drawn(count: int, wanted: int, seed: int) -> list[int]:
    """The numbers of so many of `count` samples, drawn by the seed."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted].tolist()
