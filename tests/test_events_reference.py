"""Event-driven programs in torch: against taps read one by one, torch's modules, and the functional pools."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern import functional
from snnkern.backends.events import Axis, Layer, Pool, Slot, Synapse, pack, unpack
from snnkern.backends.reference.events import run, start
from snnkern.charges import IF, Affine
from snnkern.fires import Burst, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Soft

T, B = 6, 3


def counts(channels: int, rows: int, cols: int, most: int = 2) -> Tensor:
    """[T, B, C, H, W], most of them 0."""
    drawn = torch.randint(-most, most + 1, (T, B, channels, rows, cols))
    return drawn * (torch.rand(drawn.shape) < 0.4)


def by_taps(x: Tensor, synapse: Synapse, channels: int) -> Tensor:
    """What a synapse is, tap by tap: [N, C', H', W'] of [N, C, H, W]."""
    weight = synapse.weight.unsqueeze(1) if synapse.channelwise else synapse.weight
    groups = len(weight) if synapse.channelwise else synapse.groups
    x = x[:, synapse.first : synapse.first + weight.shape[1] * groups].float()
    total = torch.zeros(len(x), channels, synapse.rows.out, synapse.cols.out)
    for k, row in enumerate(synapse.rows.inputs().unbind(1)):
        for q, col in enumerate(synapse.cols.inputs().unbind(1)):
            cells = x[:, :, row.clamp(min=0)][..., col.clamp(min=0)]
            cells = cells * ((row >= 0)[:, None] & (col >= 0))
            tap = weight[..., 0, 0] if synapse.shared else weight[..., k, q]
            parts = zip(cells.chunk(groups, 1), tap.chunk(groups), strict=True)
            out = torch.cat([torch.einsum('nihw,oi->nohw', c, w) for c, w in parts], 1)
            total[:, synapse.to : synapse.to + len(weight)] += out
    return total


def currents(synapse: Synapse, x: Tensor, channels: int) -> Tensor:
    """[T, B, C', H', W'] by the program."""
    size = synapse.rows.size, synapse.cols.size
    slots = [
        Slot('in', 'counts', x.shape[2], *size),
        Slot('out', 'currents', channels, synapse.rows.out, synapse.cols.out),
    ]
    out = torch.full(slots[1].shape(B, T), torch.nan)
    run(Layer('layer', 1, (synapse,)), slots, {0: pack(x), 1: out}, None, T)
    return out.permute(1, 0, 4, 2, 3)


GENERATOR = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    """Weights, the same in every process."""
    return torch.randn(*shape, generator=GENERATOR)


SYNAPSES = {
    'conv': Synapse(0, drawn(5, 4, 3, 3), Axis(7, 7, 3, 1, 1), Axis(6, 6, 3, 1, 1)),
    'strided': Synapse(0, drawn(5, 4, 3, 3), Axis(7, 4, 3, 2, 1), Axis(6, 3, 3, 2, 1)),
    'dilated': Synapse(0, drawn(5, 4, 3, 2), Axis(7, 7, 3, 1, 2, 2), Axis(6, 5, 2)),
    'uneven padding': Synapse(0, drawn(5, 4, 3, 3), Axis(7, 8, 3, 1, 1), Axis(6, 3, 3, 2, 0)),
    'cropped': Synapse(0, drawn(5, 4, 1, 1), Axis(7, 3, 1, 2, -1), Axis(6, 3, 1, 2)),
    'grouped': Synapse(0, drawn(6, 2, 3, 3), Axis(7, 7, 3, 1, 1), Axis(6, 6, 3, 1, 1), groups=2),
    'depthwise': Synapse(0, drawn(3, 3, 3), Axis(7, 7, 3, 1, 1), Axis(6, 6, 3, 1, 1), first=1, to=2),
    'shared': Synapse(0, drawn(5, 4, 1, 1), Axis(7, 1, 7), Axis(6, 1, 6), shared=True),
    'linear': Synapse(0, drawn(5, 4, 7, 6), Axis(7, 1, 7), Axis(6, 1, 6)),
    'some channels': Synapse(0, drawn(5, 2, 3, 3), Axis(7, 5, 3), Axis(6, 4, 3), first=1),
    'upsampled': Synapse(0, drawn(5, 4, 3, 3), Axis(7, 14, 3, 1, 1, 1, 2), Axis(6, 18, 3, 1, 1, 1, 3)),
    'transposed': Synapse(
        0, drawn(5, 4, 3, 3), Axis(7, 14, 3, 1, 1, 1, 2, True), Axis(6, 11, 3, 1, 1, 1, 2, True)
    ),
    'transposed, grouped': Synapse(
        0, drawn(6, 2, 2, 2), Axis(7, 14, 2, 1, 1, 1, 2, True), Axis(6, 12, 2, 1, 1, 1, 2, True), groups=2
    ),
    'zeros between, strided': Synapse(
        0, drawn(5, 4, 3, 3), Axis(7, 7, 3, 2, 1, 1, 2, True), Axis(6, 6, 3, 2, 1, 1, 2, True)
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', SYNAPSES)
def test_synapses(name: str) -> None:
    torch.manual_seed(0)
    synapse = SYNAPSES[name]
    channels = 6 if synapse.channelwise else len(synapse.weight)
    x = counts(4, 7, 6)
    wanted = by_taps(x.flatten(0, 1), synapse, channels).unflatten(0, (T, B))
    torch.testing.assert_close(currents(synapse, x, channels), wanted, rtol=1e-5, atol=1e-5)


def test_transposed_is_torchs() -> None:
    """The axes of a transposed convolution, written out once."""
    torch.manual_seed(1)
    weight, x = torch.randn(4, 5, 3, 3), counts(4, 7, 6)
    # padding of taps: kernel - 1 - padding; the kernel is read backwards
    rows, cols = Axis(7, 14, 3, 1, 1, 1, 2, True), Axis(6, 12, 3, 1, 1, 1, 2, True)
    synapse = Synapse(0, weight.transpose(0, 1).flip(2, 3), rows, cols)
    wanted = F.conv_transpose2d(x.flatten(0, 1).float(), weight, None, 2, 1, 1).unflatten(0, (T, B))
    torch.testing.assert_close(currents(synapse, x, 5), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'neuron', [Neuron(IF(), Burst(1.0, 3), Soft()), Neuron(Affine(0.9, 1.0), SignedMemory(1.0), Soft())]
)
def test_layers_keep_their_state(neuron: Neuron) -> None:
    """Two calls of 4 and 2 steps are one of 6, and spikes are those of `multistep`."""
    torch.manual_seed(2)
    slots = [
        Slot('a', 'counts', 4, 5, 5),
        Slot('b', 'constant', 6, 5, 5),
        Slot('c', 'currents', 6, 5, 5),
        Slot('d', 'counts', 6, 5, 5),
    ]
    synapse = Synapse(0, torch.randn(6, 4, 3, 3), Axis(5, 5, 3, 1, 1), Axis(5, 5, 3, 1, 1))
    theta = torch.rand(6) + 0.5
    step = Layer('layer', 3, (synapse,), torch.randn(6), (1, 2), neuron, {'v_threshold': theta}, torch.rand(6, 5, 5))
    x, constant, varying = counts(4, 5, 5), torch.randn(B, 1, 5, 5, 6), torch.randn(B, T, 5, 5, 6)

    found, state = [], start(step, slots, B)
    for first, last in ((0, 4), (4, 6)):
        out = torch.full(slots[3].shape(B, last - first), -1, dtype=torch.int32)
        given = {0: pack(x[first:last]), 1: constant, 2: varying[:, first:last], 3: out}
        run(step, slots, given, state, last - first)
        found.append(unpack(out, last - first))

    total = F.conv2d(x.flatten(0, 1).float(), synapse.weight, step.bias, 1, 1).unflatten(0, (T, B))
    total = total + constant.permute(1, 0, 4, 2, 3) + varying.permute(1, 0, 4, 2, 3)
    v0 = torch.as_tensor(step.v0).expand(B, -1, -1, -1)
    wanted, last_state = functional.multistep(
        total, neuron, v0=v0.contiguous(), coefficients={'v_threshold': theta}, return_state=True
    )
    assert torch.equal(torch.cat(found).float(), wanted)
    assert wanted.any()
    assert state is not None
    kept = last_state if len(neuron.states) > 1 else last_state.unsqueeze(0)
    torch.testing.assert_close(state.permute(2, 0, 4, 1, 3), kept, rtol=1e-5, atol=1e-5)


def test_constant_input_is_computed_once() -> None:
    torch.manual_seed(3)
    slots = [Slot('b', 'constant', 6), Slot('d', 'counts', 6)]
    step = Layer('layer', 1, (), None, (0,), Neuron(IF(), Burst(1.0, 3), Soft()))
    constant, out = torch.rand(B, 1, 1, 1, 6), torch.empty(slots[1].shape(B, T), dtype=torch.int32)
    run(step, slots, {0: constant, 1: out}, start(step, slots, B), T)
    wanted = functional.multistep(constant.view(B, 6), step.neuron, v0=0.0, T=T)
    assert torch.equal(unpack(out, T).float().view(T, B, 6), wanted)


@pytest.mark.parametrize('mode', ['lateral', 'gated', 'max', 'sum'])
@pytest.mark.parametrize('window', [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pools(mode: str, window: tuple[int, int, int]) -> None:
    torch.manual_seed(4)
    kernel, stride, padding = window
    x = counts(4, 7, 6)
    out = [(n + 2 * padding - kernel) // stride + 1 for n in (7, 6)]
    axes = [Axis(n, o, kernel, stride, padding) for n, o in zip((7, 6), out, strict=True)]
    pool = Pool('pool', 1, 0, mode, *axes)
    slots = [Slot('a', 'counts', 4, 7, 6), Slot('b', 'counts', 4, *out)]
    found, state = [], start(pool, slots, B)
    for first, last in ((0, 4), (4, 6)):
        words = torch.full(slots[1].shape(B, last - first), -1, dtype=torch.int32)
        run(pool, slots, {0: pack(x[first:last]), 1: words}, state, last - first)
        found.append(unpack(words, last - first))
    ways = {
        'lateral': lambda x: functional.lateral_pool2d(x, kernel, stride, padding),
        'gated': lambda x: functional.spike_max_pool2d(x, kernel, stride, padding),
        'max': lambda x: functional.max_pool2d(x, kernel, stride, padding),
        'sum': lambda x: F.avg_pool2d(x.flatten(0, 1), kernel, stride, padding, divisor_override=1).unflatten(
            0, (T, B)
        ),
    }
    assert torch.equal(torch.cat(found).float(), ways[mode](x.float()))
