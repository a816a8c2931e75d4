"""Plastic weights over two processes: as of one process with the whole batch. CPU tensors, gloo."""

import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from snnkern import encode
from snnkern.nn.plastic import Plastic

SPLIT = (2, 7)  # samples of each process: not the same number


def data():
    return torch.rand(sum(SPLIT), 20, generator=torch.Generator().manual_seed(3))


def run(x):
    """H after a call whose potentials do not depend on H, since only then parts can be put together."""
    torch.manual_seed(0)
    layer = Plastic(20, 6)
    with torch.no_grad():
        layer.alpha.zero_()
    layer.plastic.normal_()
    layer(encode.direct(x, 10))
    return layer.plastic


def process(rank, folder):
    store = distributed.FileStore(f'{folder}/store', len(SPLIT))
    distributed.init_process_group('gloo', store=store, rank=rank, world_size=len(SPLIT))
    torch.set_num_threads(1)
    torch.save(run(data().split(SPLIT)[rank]), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    # As a program of its own: the children import neither pytest's plugins nor what it has loaded.
    context = multiprocessing.get_context('spawn')
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        children = [context.Process(target=process, args=(rank, str(tmp_path))) for rank in range(len(SPLIT))]
        for child in children:
            child.start()
        for child in children:
            child.join(120)
            assert child.exitcode == 0
    finally:
        sys.path.pop(0)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in range(len(SPLIT))]
    assert torch.equal(*parts)
    torch.testing.assert_close(parts[0], run(data()))
