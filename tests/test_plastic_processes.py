"""Plastic weights over two processes: as of one process with the whole batch. CPU tensors, gloo."""

import pytest
import torch
from processes import found_by

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


def part(rank):
    return run(data().split(SPLIT)[rank])


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    parts = found_by(part, len(SPLIT), tmp_path)
    assert torch.equal(*parts)
    torch.testing.assert_close(parts[0], run(data()))
