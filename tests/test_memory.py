"""What autograd keeps alive, and behaviour over threads and processes."""

import multiprocessing
import threading
from contextlib import contextmanager

import pytest
import torch

from snnkern import Neuron, nn
from snnkern.functional import lateral_pool2d, lif, multistep


@contextmanager
def saved_bytes():
    """Yields a dict of storage address -> bytes of what is saved for backward."""
    seen = {}

    def pack(t):
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield seen


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('T', [4, 16, 17, 64])
def test_training_saves_x_and_checkpoints(T, dtype):
    """4 bytes an element-step (2 in half), and a float32 potential every 16 (8) steps, the last one not."""
    N, interval = 10_000, 16 if dtype == torch.float32 else 8
    x = torch.randn(T, N).to(dtype).requires_grad_()
    with saved_bytes() as seen:
        s = multistep(x, Neuron())
    kept = -(-T // interval) - 1
    assert sorted(seen.values()) == sorted([x.nbytes, *([4 * N * kept] if kept else [])])
    assert x.untyped_storage().data_ptr() in seen
    assert s.requires_grad


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('T', [4, 40])
def test_layers_save_x_and_checkpoints(T, dtype):
    """Of a layer, too: 4 bytes an element-step (2 in half), S potentials a checkpoint, and the coefficients."""
    kinds = nn.LIF(), nn.LIF(store_v_seq=True), nn.ParametricLIF(), nn.Synaptic(), nn.SignedIF(), nn.AdaptiveLIF()
    for layer in kinds:
        x = torch.randn(T, 10, 1000).to(dtype).requires_grad_()
        with saved_bytes() as seen:
            layer(x)
        interval = 16 if dtype == torch.float32 else 8
        states = len(layer.neuron.states) * 4 * 10_000 * (-(-T // interval) - 1)
        large = [nbytes for nbytes in seen.values() if nbytes > 100]
        assert sorted(large) == sorted([x.nbytes, *([states] if states else [])]), layer
        with torch.no_grad(), saved_bytes() as seen:
            layer.reset()
            layer(x)
        assert seen == {}


def test_training_saves_the_given_state_too():
    x, v0 = torch.randn(4, 1000, requires_grad=True), torch.randn(1000)
    with saved_bytes() as seen:
        multistep(x, Neuron(), v0=v0, return_state=True)
    assert set(seen) == {x.data_ptr(), v0.data_ptr()}


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_inference_saves_nothing(mode):
    x = torch.randn(40, 1000, requires_grad=True)
    with mode(), saved_bytes() as seen:
        s, v = multistep(x, Neuron(), return_state=True)
    assert seen == {}
    assert s.grad_fn is None
    assert v.grad_fn is None


def test_input_that_needs_no_gradient_saves_nothing():
    with saved_bytes() as seen:
        s = multistep(torch.randn(40, 1000), Neuron())
    assert seen == {}
    assert not s.requires_grad


@pytest.mark.parametrize('save', [False, True])
def test_peak_memory(save, poisoned):
    """Nothing is allocated but spikes, the last state where wanted, and checkpoints for training."""
    x = torch.randn(40, 1000, requires_grad=save)
    multistep(x, Neuron())
    assert poisoned == ([40, 2] if save else [40])
    poisoned.clear()
    multistep(x, Neuron(), return_state=True)
    assert poisoned == ([40, 1, 2] if save else [40, 1])


def test_backward_of_a_chain_frees_its_blocks(cpu):
    """Blocks of a training step come back: a second step of the same shape needs no more memory."""
    cpu.set_keep_limit(1 << 30)
    x = torch.randn(4, 1 << 19, requires_grad=True)
    kept = []
    for _ in range(3):
        lif(lif(x)).sum().backward()
        x.grad = None
        kept.append(cpu.kept_bytes())
    assert kept[0] > 0
    assert kept[0] == kept[1] == kept[2]


def test_threads():
    """Calls of many threads, small and large, do not disturb each other."""
    inputs = [torch.randn(6, 40_000 + 100 * i) for i in range(8)]
    expected = [work(x) for x in inputs]
    wrong, barrier = [], threading.Barrier(len(inputs))

    def loop(x, wanted):
        barrier.wait()
        for _ in range(10):
            for a, b in zip(work(x), wanted, strict=True):
                if not torch.equal(a, b):
                    wrong.append(x.shape)

    threads = [threading.Thread(target=loop, args=pair) for pair in zip(inputs, expected, strict=True)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def work(x):
    x = x.detach().requires_grad_()
    s, v = multistep(x, Neuron(), return_state=True)
    (grad,) = torch.autograd.grad(s.sum() + v.sum(), x)
    return s.detach(), v.detach(), grad


def sums(x):
    """Of all results of a call, by numpy: torch's own parallel operations hang in a forked child."""
    s, v = multistep(x, Neuron(), return_state=True)
    pooled = lateral_pool2d(s.view(6, 4, -1, 100), 2)
    return [float(t.numpy().sum(dtype='float64')) for t in (s, v, pooled)]


def child(queue, x):
    queue.put(sums(x))


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded:DeprecationWarning')
@pytest.mark.usefixtures('two_threads')
def test_fork_after_parallel_calls():
    """OpenMP's threads do not live on in a child: it must not wait for them, nor for a lock of the parent."""
    x = torch.randn(6, 400_000)
    expected = sums(x)
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, x))
    process.start()
    try:
        assert queue.get(timeout=60) == pytest.approx(expected)
    finally:
        process.kill()
        process.join()


def test_data_loader_workers():
    """Encoders run in workers: forked ones too."""

    class Spikes(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return nn.LIF()(torch.full((4, 300_000), float(i)))

    loader = torch.utils.data.DataLoader(
        Spikes(), batch_size=2, num_workers=1, multiprocessing_context='fork', timeout=60
    )
    spikes = torch.cat([batch.sum((1, 2)) for batch in loader])
    assert spikes[0] == 0
    assert spikes[3] > 0
