"""Native event-driven programs against the same programs in torch, on every instruction set."""

import os
import subprocess
import sys
from itertools import product

import pytest
import torch
from test_events_reference import SYNAPSES
from torch import Tensor

from snnkern.backends.events import BLOCKS, POOLS, Axis, Layer, Pool, Slot, Synapse, pack, unpack
from snnkern.backends.native import events as native
from snnkern.backends.reference import events as reference
from snnkern.charges import IF, LIF, Affine
from snnkern.fires import Binary, Burst, Signed, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Hard, Soft

NEURONS = [
    Neuron(IF(), SignedMemory(1.0, 15), Soft()),
    Neuron(IF(), Burst(0.5, 3), Soft()),
    Neuron(LIF(2.0, decay_input=False), Binary(0.7), Hard(0.1)),
    Neuron(Affine(0.8, 1.5, 0.1), Signed.leaky(0.1, 0.5, 3), Soft()),
]


def drawn(T: int, images: int, channels: int, rows: int, cols: int, share: float = 0.3) -> Tensor:
    """Counts [T, B, C, H, W], some of them negative, most 0."""
    counts = torch.randint(-3, 10, (T, images, channels, rows, cols))
    return counts * (torch.rand(counts.shape) < share)


def both(
    steps: list[Layer | Pool],
    slots: list[Slot],
    given: dict[int, Tensor],
    T: int,
    calls: tuple[int, ...] = (),
    **choice: int,
) -> list[tuple[dict[int, Tensor], dict[int, Tensor]]]:
    """Slots and states after the same calls by the reference and by the native kernels; what is written begins as
    garbage. calls: steps of each, T altogether; counts are given for whole words."""
    images, found = len(given[0]), []
    for module in (reference, native):
        program = module.Program(slots, steps)
        states = {i: reference.start(step, slots, images) for i, step in enumerate(steps)}
        states = {i: state for i, state in states.items() if state is not None}
        buffers = {}
        for i, slot in enumerate(slots):
            empty = torch.full(slot.shape(images, T), -1, dtype=torch.int32)
            buffers[i] = given[i] if i in given else empty.view(slot.dtype)
        numbers = list(range(len(steps)))
        begin = 0
        for count in calls or (T,):
            here = {i: _times(slot, begin, count) for i, slot in enumerate(slots)}
            now = {i: t[:, here[i]].contiguous() for i, t in buffers.items()}
            blocks = [choice.get('block', 8)] * len(steps)
            program.run(numbers, now, states, count, blocks, choice.get('threads', 1), choice.get('together', 1))
            for i, t in now.items():
                buffers[i][:, here[i]] = t
            begin += count
        found.append((buffers, states))
    return found


def _times(slot: Slot, begin: int, count: int) -> slice:
    """Where so many steps from `begin` on lie in a slot."""
    each = {'counts': 4, 'currents': 1, 'constant': 0}[slot.kind]
    return slice(begin // each, -(-(begin + count) // each)) if each else slice(None)


@pytest.mark.parametrize('name', SYNAPSES)
def test_currents(name: str, isa: str) -> None:
    """Any block of steps, any threads: what torch's convolution gives."""
    synapse = SYNAPSES[name]
    slots = [
        Slot('in', 'counts', 4, 7, 6),
        Slot('out', 'currents', 6 if synapse.channelwise else len(synapse.weight), synapse.rows.out, synapse.cols.out),
    ]
    step = Layer('layer', 1, (synapse,), torch.randn(slots[1].channels))
    for T, block, (images, threads) in product((1, 5, 16), BLOCKS, ((3, 1), (1, 3))):
        given = {0: pack(drawn(T, images, 4, 7, 6))}
        (wanted, _), (found, _) = both([step], slots, given, T, block=block, threads=threads)
        assert (found[1] - wanted[1]).abs().max() <= 1e-5 * wanted[1].abs().max()


@pytest.mark.parametrize('own', [True, False], ids=['one threshold', 'thresholds'])
@pytest.mark.parametrize('neuron', [*NEURONS, Neuron(IF(), Binary(0.6), Soft())], ids=lambda n: type(n.fire).__name__)
@pytest.mark.parametrize('size', [(40, 9, 5), (70, 2, 3), (33, 1, 1)], ids=str)
def test_neurons(neuron: Neuron, size: tuple[int, int, int], own: bool, isa: str) -> None:
    """Several synapses, currents, numbers per channel, and states that go on in the next call: rows or channels shared
    out over threads. Potentials are within rounding of the reference's, spikes but for those at a threshold."""
    C, H, W = size
    slots = [Slot('a', 'counts', 20, H, W), Slot('b', 'constant', C, H, W), Slot('c', 'currents', C, H, W),
             Slot('d', 'counts', C, H, W)]  # fmt: skip
    axes = Axis(H, H, 3, 1, 1), Axis(W, W, 3, 1, 1)
    synapses = (
        Synapse(0, 0.1 * torch.randn(C, 20, 3, 3), *axes),
        Synapse(0, 0.1 * torch.randn(C, 12, 1, 1), Axis(H, H), Axis(W, W), first=7),
        Synapse(0, 0.1 * torch.randn(9, 3, 3), *axes, first=5, to=11),
    )
    numbers = {} if own else {'v_threshold': torch.rand(C) + 0.5}
    layer = Layer('layer', 3, synapses, 0.1 * torch.randn(C), (1, 2), neuron, numbers, torch.rand(C, H, W))
    T = 12
    given = {0: pack(drawn(T, 1, 20, H, W)), 1: torch.rand(1, 1, H, W, C), 2: torch.rand(1, T, H, W, C)}
    for threads, block, calls in ((1, 8, (12,)), (2, 4, (8, 4)), (3, 1, (12,))):
        (wanted, states), (found, now) = both([layer], slots, given, T, calls, threads=threads, block=block)
        flipped = unpack(found[3], T) != unpack(wanted[3], T)
        ever = flipped.any(0).permute(0, 2, 3, 1).unsqueeze(2).expand(states[0].shape)
        assert flipped.float().mean() < 1e-3
        torch.testing.assert_close(now[0][~ever], states[0][~ever], rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize('order', [(0, 1), (1, 0)], ids=str)
def test_groups_beside_all_channels(order: tuple[int, int], isa: str) -> None:
    """A layer that has both is shared out by rows, or not at all."""
    axes, one = Axis(6, 6, 3, 1, 1), Axis(6, 6)
    both_kinds = (
        Synapse(0, torch.randn(128, 16, 3, 3), axes, axes, groups=4),
        Synapse(0, torch.randn(128, 64, 1, 1), one, one),
    )
    slots = [Slot('in', 'counts', 64, 6, 6), Slot('out', 'currents', 128, 6, 6)]
    layer = Layer('layer', 1, tuple(both_kinds[i] for i in order), torch.randn(128))
    given = {0: pack(drawn(8, 1, 64, 6, 6))}
    for threads in (1, 2, 4):
        (wanted, _), (found, _) = both([layer], slots, given, 8, threads=threads)
        assert (found[1] - wanted[1]).abs().max() <= 1e-5 * wanted[1].abs().max()


def test_potentials_of_any_size(isa: str) -> None:
    """Far above the threshold, at its multiples, and infinite."""
    thetas = (torch.rand(200) + 0.01).tolist()
    for theta in thetas:
        x = torch.tensor([theta, 2 * theta, 3e9, torch.inf, -3e9, 0.0, torch.nan]).view(1, 1, 1, 1, 7)
        slots = [Slot('in', 'constant', 7), Slot('out', 'counts', 7)]
        layer = Layer('layer', 1, (), None, (0,), Neuron(IF(), Burst(theta, 7), Soft()))
        (wanted, _), (found, _) = both([layer], slots, {0: x}, 1)
        assert torch.equal(found[1], wanted[1])


THREADS = """
import torch
from snnkern.backends.events import Axis, Layer, Slot, Synapse, pack
from snnkern.backends.native.events import Program
axis = Axis(32, 32, 3, 1, 1)
slots = [Slot('in', 'counts', 16, 32, 32), Slot('out', 'currents', 16, 32, 32)]
program = Program(slots, [Layer('l', 1, (Synapse(0, torch.ones(16, 16, 3, 3), axis, axis),))])
words, found = pack(torch.ones(8, 1, 16, 32, 32)), []
for threads in (1, 4):
    found.append(torch.full(slots[1].shape(1, 8), torch.nan))
    program.run([0], {0: words, 1: found[-1]}, {}, 8, [8], threads)
assert torch.equal(*found)
"""


@pytest.mark.parametrize('limit', ['1', '2'])
def test_fewer_threads_than_asked_for(limit: str) -> None:
    """OpenMP may give fewer: all is computed."""
    subprocess.run([sys.executable, '-c', THREADS], env={**os.environ, 'OMP_THREAD_LIMIT': limit}, check=True)


@pytest.mark.parametrize('mode', POOLS)
@pytest.mark.parametrize('window', [(2, 2, 0), (3, 2, 1), (3, 1, 1)], ids=str)
def test_pools(mode: str, window: tuple[int, int, int], isa: str) -> None:
    kernel, stride, padding = window
    axes = [Axis(n, (n + 2 * padding - kernel) // stride + 1, kernel, stride, padding) for n in (7, 6)]
    slots = [Slot('a', 'counts', 5, 7, 6), Slot('b', 'counts', 5, axes[0].out, axes[1].out)]
    pool = Pool('pool', 1, 0, mode, *axes)
    for images, threads in ((2, 1), (1, 3)):
        (wanted, states), (found, own) = both(
            [pool], slots, {0: pack(drawn(10, images, 5, 7, 6))}, 10, (4, 6), threads=threads
        )
        assert torch.equal(found[1], wanted[1])
        assert all(torch.equal(own[i], states[i]) for i in states)


def test_many_steps_at_once(isa: str) -> None:
    """A stretch of steps for many images, one by one or several together, on more threads than there are parts."""
    axes = Axis(8, 8, 3, 1, 1), Axis(8, 8, 3, 1, 1)
    slots = [Slot('in', 'counts', 6, 8, 8), Slot('a', 'counts', 34, 8, 8), Slot('b', 'counts', 34, 4, 4),
             Slot('out', 'currents', 10)]  # fmt: skip
    steps = [
        Layer('conv', 1, (Synapse(0, 0.2 * torch.randn(34, 6, 3, 3), *axes),), torch.zeros(34), (), NEURONS[0]),
        Pool('pool', 2, 1, 'lateral', Axis(8, 4, 2, 2), Axis(8, 4, 2, 2)),
        Layer('linear', 3, (Synapse(2, torch.randn(10, 34, 4, 4), Axis(4, 1, 4), Axis(4, 1, 4)),)),
    ]
    given = {0: pack(drawn(8, 5, 6, 8, 8))}
    wanted = both(steps, slots, given, 8)[0][0][3]
    for threads, together in ((1, 1), (2, 3), (4, 1), (8, 2)):
        found = both(steps, slots, given, 8, threads=threads, together=together)[1][0][3]
        close = (found - wanted).abs().amax((1, 2, 3, 4)) < 1e-5 * wanted.abs().max()
        assert close.float().mean() >= 0.8  # a spike at a threshold may fall either way


@pytest.mark.parametrize('shape', [(), (34,), (34, 8, 8)], ids=str)
def test_memory_between_layers_is_used_again(shape: tuple[int, ...], isa: str) -> None:
    """Slots and states of a few places give what those of every image give; states start within."""
    axes, half = Axis(8, 8, 3, 1, 1), Axis(8, 4, 2, 2)
    slots = [Slot('in', 'counts', 6, 8, 8), Slot('a', 'counts', 34, 8, 8), Slot('b', 'counts', 34, 4, 4)]
    weight = 0.2 * torch.randn(34, 6, 3, 3)
    steps = [Layer('conv', 1, (Synapse(0, weight, axes, axes),), None, (), NEURONS[0], v0=torch.rand(shape)),
             Pool('pool', 2, 1, 'lateral', half, half)]  # fmt: skip
    images, T, program = 7, 8, native.Program(slots, steps)
    words, found = pack(drawn(T, images, 6, 8, 8)), []
    for threads, together, places in ((1, 1, images), (1, 1, 1), (1, 3, 3), (2, 2, 4)):
        garbage = [
            torch.full(slot.shape(n, T), -1, dtype=torch.int32)
            for slot, n in zip(slots[1:], (places, images), strict=True)
        ]
        states = {0: torch.full(steps[0].state_shape(slots[1], places), torch.nan),
                  1: torch.full(steps[1].state_shape(slots[1], places), -1, dtype=torch.int32)}  # fmt: skip
        buffers = {0: words, 1: garbage[0], 2: garbage[1]}
        program.run([0, 1], buffers, states, T, [8, 1], threads, together, images, True)
        found.append(garbage[1])
    assert found[0].any()
    assert all(torch.equal(found[0], other) for other in found[1:])
    state = reference.start(steps[0], slots, images)
    memory = {0: words, 1: torch.empty(slots[1].shape(images, T), dtype=torch.int32)}
    reference.run(steps[0], slots, memory, state, T)
    reference.run(steps[1], slots, memory | {2: garbage[1]}, reference.start(steps[1], slots, images), T)
    assert (unpack(found[0], T) != unpack(garbage[1], T)).float().mean() < 1e-3


@pytest.mark.parametrize('weights', [torch.bfloat16, torch.int8])
def test_small_weights(weights: torch.dtype, isa: str) -> None:
    """Other types of weights err as their rounding does, not more."""
    synapse = Synapse(0, torch.randn(40, 30, 3, 3), Axis(6, 6, 3, 1, 1), Axis(6, 6, 3, 1, 1))
    slots = [Slot('in', 'counts', 30, 6, 6), Slot('out', 'currents', 40, 6, 6)]
    step, words = Layer('layer', 1, (synapse,), torch.randn(40)), pack(drawn(8, 2, 30, 6, 6))
    found = []
    for kind in (torch.float32, weights):
        out = torch.empty(slots[1].shape(2, 8))
        native.Program(slots, [step], kind).run([0], {0: words, 1: out}, {}, 8, [8], 1)
        found.append(out)
    error = (found[1] - found[0]).norm() / found[0].norm()
    assert 1e-4 < error < (4e-3 if weights == torch.bfloat16 else 1.5e-2)
