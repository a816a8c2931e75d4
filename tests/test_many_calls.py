"""Many calls: one after the other, at once from many threads, and in the processes of a DataLoader."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from snnkern import encode, nn
from snnkern.functional import lateral_pool2d, lif

STATUS = Path('/proc/self/statm')
PAGE = os.sysconf('SC_PAGE_SIZE')


def step(x):
    """Forward and backward of a neuron and of a pool: spikes, outputs, the gradient of x."""
    x = x.detach().requires_grad_()
    s = lif(x)
    pooled = lateral_pool2d(s, 2)
    (grad,) = torch.autograd.grad(s.sum() + pooled.square().sum(), x)
    return s.detach(), pooled.detach(), grad


def resident():
    return int(STATUS.read_text().split()[1]) * PAGE


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason='no /proc')
@pytest.mark.parametrize('shape', [(4, 2, 3, 6, 6), (20, 1, 3, 7, 5)])
def test_memory_stays(shape):
    """10,000 steps of a training, those of more than 16 steps with checkpoints, leave nothing behind."""
    x = torch.randn(shape)
    for _ in range(1000):
        step(x)
    before = resident()
    for _ in range(10_000):
        step(x)
    assert resident() - before < 4 << 20


@pytest.mark.skipif(not STATUS.exists(), reason='no /proc')
def test_memory_of_large_outputs_stays(cpu):
    """They come from blocks that are kept: sizes that change from call to call do not add up beyond the limit."""
    cpu.set_keep_limit(16 << 20)
    sizes = [(4, 1, 8, 128 + 8 * i, 128) for i in range(20)]
    for shape in sizes:
        step(torch.randn(shape))
    before = resident()
    for shape in sizes[::-1] * 2:
        step(torch.randn(shape))
        assert cpu.kept_bytes() <= 16 << 20
    assert resident() - before < 48 << 20


def test_calls_of_many_threads_at_once():
    """Neurons, pools and encoders of several sizes, 400 calls on eight threads: what each gives alone."""
    inputs = [torch.randn(4, 1, 4, 8 + 4 * i, 10 + 30 * i) for i in range(8)]
    expected = [step(x) for x in inputs]
    drawn = [encode.poisson(x[0].sigmoid(), 4, seed=7) for x in inputs]

    def equal(i):
        x = inputs[i % 8]
        found = *step(x), encode.poisson(x[0].sigmoid(), 4, seed=7)
        return all(torch.equal(a, b) for a, b in zip(found, (*expected[i % 8], drawn[i % 8]), strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(equal, range(400)))


class Encoded(torch.utils.data.Dataset):
    """Samples that the library's kernels make, forward and backward."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        x = torch.full((4, 2, 2, 200, 200), i / 4, requires_grad=True)
        s = nn.LIF()(x)
        s.sum().backward()
        return torch.cat([s.detach(), x.grad])


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded:DeprecationWarning')
@pytest.mark.usefixtures('two_threads')
def test_workers_after_parallel_calls():
    """Two forked workers, after the parent's kernels ran on OpenMP's threads, and while it calls more."""
    data = Encoded()
    expected = torch.stack([data[i] for i in range(8)])
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context='fork', timeout=60)
    found = []
    for batch in loader:
        found.append(batch)
        assert torch.equal(data[len(found)], expected[len(found)])
    assert torch.equal(torch.cat(found), expected)
