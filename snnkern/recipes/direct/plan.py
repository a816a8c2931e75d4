"""Which samples each step takes, and what it draws: functions of the seed and the step alone.

Nothing random has a state, so that a run which was killed goes on as if it had not been, and any number of processes
takes the same steps together.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from snnkern.data.common import DataError
from snnkern.data.samples import Split

EPOCHS_OF_A_SEED = 1_000_003  # seeds of epochs do not meet those of another seed


class Part(NamedTuple):
    """What one process takes of a batch.

    x, y: its samples. offset: number of its first sample among all that the run has seen. share: its samples over those
    of the whole batch.
    """

    x: Tensor
    y: Tensor
    offset: int
    share: float


@dataclass(frozen=True)
class Plan:
    """The order of a split's samples over epochs, and the part of one process in it.

    count: samples of the split. batch: samples a step, of all processes together. rank, processes: of this one.
    Raises ValueError where a batch is smaller than the number of processes. Example: `Plan(100, 32, 0).steps  # 4`.
    """

    count: int
    batch: int
    seed: int
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if min(self.batch, self.count) < self.processes:
            raise ValueError(
                f'batch: expected a sample for each of {self.processes} processes, got {self.batch} of {self.count}'
            )

    @property
    def steps(self) -> int:
        """Of an epoch; each has a sample for every process."""
        return min(math.ceil(self.count / self.batch), self.count // self.processes)

    def seed_of(self, epoch: int) -> int:
        """What the order and the augmentation of an epoch draw from."""
        return (self.seed * EPOCHS_OF_A_SEED + epoch) % 2**63

    def parts(self, epoch: int, first: int = 0) -> Iterator[tuple[list[int], int, float]]:
        """Of each step of an epoch, from `first` on: this process' samples, their offset, their share of the batch."""
        generator = torch.Generator().manual_seed(self.seed_of(epoch))
        done = epoch * self.count
        # Nearly equal batches: none is left with one sample, of which BatchNorm has no deviation.
        for step, numbers in enumerate(torch.randperm(self.count, generator=generator).tensor_split(self.steps)):
            parts = numbers.tensor_split(self.processes)
            before = sum(len(part) for part in parts[: self.rank])
            if step >= first:
                yield parts[self.rank].tolist(), done + before, len(parts[self.rank]) / len(numbers)
            done += len(numbers)

    def epoch(self, split: Split, epoch: int, first: int = 0, workers: int = 0) -> Iterator[Part]:
        """The batches of an epoch, augmented, from step `first` on; workers: processes that make them."""
        chosen = list(self.parts(epoch, first))
        loaded = loader(split, [numbers for numbers, _, _ in chosen], self.seed_of(epoch), workers)
        for (x, y), (_, offset, share) in zip(loaded, chosen, strict=True):
            yield Part(x, y, offset, share)

    def all(self, split: Split, workers: int = 0) -> Iterator[Part]:
        """This process' share of a split in its order, as it is."""
        own = torch.arange(self.count).tensor_split(self.processes)[self.rank]
        numbers = [part.tolist() for part in own.split(self.batch)] if len(own) else []
        for (x, y), part in zip(loader(split, numbers, None, workers), numbers, strict=True):
            yield Part(x, y, part[0], len(part) / self.count)


class _Batches(Dataset):
    """A split that is indexed by whole batches."""

    def __init__(self, split: Split, seed: int | None) -> None:
        self.split, self.seed = split, seed

    def __getitem__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.split.batch(numbers, self.seed)


def loader(
    split: Split, numbers: Sequence[list[int]], seed: int | None, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """These batches of a split, in their order, by torch's DataLoader."""
    try:
        yield from DataLoader(_Batches(split, seed), batch_size=None, sampler=numbers, num_workers=workers)
    except DataError as error:
        if not workers:
            raise
        # A worker's error has its traceback for a text, the message last.
        message = str(error).strip().splitlines()[-1]
        raise DataError(message.partition(': ')[2] or message) from None
