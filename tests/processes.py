"""Several processes of torch.distributed on one machine: CPU tensors, gloo."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def child(work: Callable[[int], Any], rank: int, count: int, folder: str) -> None:
    store = distributed.FileStore(f'{folder}/store', count)
    distributed.init_process_group('gloo', store=store, rank=rank, world_size=count)
    torch.set_num_threads(1)
    torch.save(work(rank), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def found_by(work: Callable[[int], Any], count: int, folder: Path) -> list[Any]:
    """What work(rank), a function of a test's module, returns in each of so many processes."""
    # As programs of their own: they import neither pytest's plugins nor what it has loaded.
    context = multiprocessing.get_context('spawn')
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        children = [context.Process(target=child, args=(work, rank, count, str(folder))) for rank in range(count)]
        for process in children:
            process.start()
        for process in children:
            process.join(120)
            assert process.exitcode == 0
    finally:
        sys.path.pop(0)
    return [torch.load(folder / f'{rank}.pt') for rank in range(count)]
