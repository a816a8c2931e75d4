"""Memory and time of a training step of a spiking VGG-11, and the speed of packing: `python -m benchmarks.memory`.

Three forms of one network (convolution, BatchNorm over T*B, LIF; max pools between; T = 8, images 3x32x32), on the CPU:
SpikingJelly's layers in multi-step mode, snnkern's (`BatchNormNeuron`, `MaxPool2d`), and those within
`compress_saved_spikes`. With `--torch-layers` snnkern has torch's BatchNorm2d, its own LIF and torch's MaxPool2d.

Each provider has processes of its own. Peak: VmHWM of /proc/self/status after one step, forgotten (clear_refs) before
it, minus VmRSS then; parameters, gradients and the optimizer's state exist already. Saved: bytes of distinct memory
that autograd keeps after forward, parameters not counted; packed data count as their own bytes. Times: one step of
each provider in turn, repeated.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from benchmarks.timing import Call, Timing, interleave, peak_bytes
from snnkern.functional import pack_spikes
from snnkern.ops.pack import smallest

VGG11 = (64, 'M', 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M')
T, CLASSES = 8, 10
MOST_MEMORY, MOST_TIME = 0.5, 1.1  # targets: of SpikingJelly's peak, of the time without compression


@dataclass(frozen=True)
class Layers:
    """How a provider spells the layers between convolutions. All map [T, B, ...] to [T, B, ...]."""

    convolution: Callable[[int, int], nn.Module]
    norm_neuron: Callable[[int], list[nn.Module]]
    pool: Callable[[], nn.Module]


class Folded(nn.Module):
    """A layer of torch over [T * B, ...]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with T and B apart."""
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def snnkern_layers(torch_layers: bool = False) -> Layers:
    """torch_layers: torch's BatchNorm and pool beside the neurons."""

    def norm_neuron(channels: int) -> list[nn.Module]:
        if torch_layers:
            return [Folded(nn.BatchNorm2d(channels)), snnkern.nn.LIF()]
        return [snnkern.nn.BatchNormNeuron(channels, snnkern.Neuron())]

    pool = (lambda: Folded(nn.MaxPool2d(2))) if torch_layers else (lambda: snnkern.nn.MaxPool2d(2))
    return Layers(lambda a, b: Folded(nn.Conv2d(a, b, 3, padding=1, bias=False)), norm_neuron, pool)


def spikingjelly_layers() -> Layers:
    """SpikingJelly's, all in step mode "m"."""
    from spikingjelly.activation_based import layer, neuron, surrogate

    m = {'step_mode': 'm'}
    return Layers(
        lambda a, b: layer.Conv2d(a, b, 3, padding=1, bias=False, **m),
        lambda c: [layer.BatchNorm2d(c, **m), neuron.LIFNode(surrogate_function=surrogate.ATan(), **m)],
        lambda: layer.MaxPool2d(2, **m),
    )


class Vgg(nn.Module):
    """VGG-11 of CIFAR size: the mean output of T steps."""

    def __init__(self, layers: Layers, width: float) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        channels = 3
        for item in VGG11:
            if item == 'M':
                stack.append(layers.pool())
                continue
            wide = int(item * width)
            stack += [layers.convolution(channels, wide), *layers.norm_neuron(wide)]
            channels = wide
        self.features, self.head = nn.Sequential(*stack), nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, 3, 32, 32], shown at every step."""
        steps = x.unsqueeze(0).expand(T, *x.shape).contiguous()
        return self.head(self.features(steps).flatten(2)).mean(0)


Contexts = Callable[[], AbstractContextManager[Any]]
PROVIDERS: dict[str, tuple[str, Contexts]] = {
    'spikingjelly': ('spikingjelly', nullcontext),
    'snnkern': ('snnkern', nullcontext),
    'snnkern, packed': ('snnkern', snnkern.compress_saved_spikes),
}


@contextmanager
def counted(seen: dict[int, int], parameters: set[int]) -> Iterator[None]:
    """Bytes that autograd keeps, by storage; within compress_saved_spikes its report counts instead."""

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in parameters:
            seen[storage._cdata] = storage.nbytes()
        return t.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield


class Step:
    """One provider's network with its optimizer: a call is a training step and returns the loss."""

    def __init__(self, name: str, batch: int, width: float, torch_layers: bool) -> None:
        kind, self.context = PROVIDERS[name]
        layers = spikingjelly_layers() if kind == 'spikingjelly' else snnkern_layers(torch_layers)
        torch.manual_seed(0)
        self.net = Vgg(layers, width)
        self.images, self.labels = torch.rand(batch, 3, 32, 32), torch.arange(batch) % CLASSES
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)

    def reset(self) -> None:
        """Forget the neurons' state (SpikingJelly's holds the graph)."""
        for module in self.net.modules():
            if module is not self.net and hasattr(module, 'reset'):
                module.reset()

    def forward(self, context: AbstractContextManager[Any]) -> Tensor:
        """The loss, its graph made within this context."""
        with context:
            return nn.functional.cross_entropy(self.net(self.images), self.labels)

    def __call__(self) -> float:
        loss = self.forward(self.context())
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.optimizer.step()
        self.reset()
        return loss.item()

    def saved(self) -> int:
        """Bytes that autograd keeps after forward, without parameters."""
        context, seen = self.context(), dict[int, int]()
        parameters = {p.untyped_storage()._cdata for p in self.net.parameters()}
        packs = isinstance(context, snnkern.compress_saved_spikes)
        loss = self.forward(context if packs else counted(seen, parameters))
        self.reset()
        del loss
        if packs:
            return int(context.report().bytes_after) - sum(p.nbytes for p in self.net.parameters())
        return sum(seen.values())


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The memory of one provider, in this process."""
    torch.set_num_threads(arguments.threads)
    step = step_of(name, arguments)
    losses = [step() for _ in range(2)]  # momentum and gradients exist from now on
    return {'peak': peak_bytes(step), 'saved': step.saved(), 'losses': losses}


def step_of(name: str, a: argparse.Namespace) -> Step:
    return Step(name, a.batch, a.width, a.torch_layers)


def in_processes(names: list[str], arguments: list[str]) -> dict[str, dict[str, Any]]:
    """`measure` of each provider in fresh processes.

    "peak" is what a user has who sets nothing; glibc then keeps freed memory in gaps. For "peak, mapped" it gives every
    tensor pages of its own, which go back when it does.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'SNNKERN_'))}
    found = {}
    for name in names:
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.memory', *arguments, '--only', name]
        for key, extra in (('peak', {}), ('peak, mapped', {'MALLOC_MMAP_THRESHOLD_': '65536'})):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain | extra)
            result = json.loads(done.stdout.splitlines()[-1])
            found.setdefault(name, result)[key] = result['peak']
    return found


def packing(sizes: tuple[int, ...], rounds: int) -> dict[str, dict[str, Timing]]:
    """pack and unpack of n float32 spikes beside a copy of them and SpikingJelly's bit_spike_compress."""
    found = {}
    for n in sizes:
        x, noise = (torch.rand(n) < 0.2).float(), torch.randn(n)
        target, bits, counts = torch.empty_like(x), pack_spikes(x), pack_spikes(x, kind='counts')
        assert bits.unpack().equal(x)
        assert counts.unpack().equal(x)
        calls: dict[str, Call] = {
            'copy_': lambda target=target, x=x: target.copy_(x),
            'pack, bits': lambda x=x: pack_spikes(x, kind='bits'),
            'unpack, bits': bits.unpack,
            'pack, counts': lambda x=x: pack_spikes(x, kind='counts'),
            'unpack, counts': counts.unpack,
            'no spikes': lambda noise=noise: smallest(noise, 1.0),
        }
        if find_spec('spikingjelly'):
            from spikingjelly.activation_based.functional import spike as sj

            theirs = sj.bit_spike_compress(x)
            assert theirs.equal(bits.data)
            calls['spikingjelly, pack'] = lambda x=x: sj.bit_spike_compress(x)
            calls['spikingjelly, unpack'] = lambda p=theirs, x=x: sj.bit_spike_decompress(p, x.shape, x.dtype)
        found[str(n)] = interleave(calls, rounds)
    return found


def show(memory: dict[str, dict[str, Any]], times: dict[str, Timing], packed: dict[str, dict[str, Timing]]) -> None:
    """Tables and verdicts."""
    print(f'{"":<18}{"peak MiB":>10}{"mapped":>8}{"saved":>8}{"s a step":>10}{"least":>8}{"CPU s":>8}')
    for name, m in memory.items():
        t = times[name]
        mib = f'{m["peak"] / 2**20:10.0f}{m["peak, mapped"] / 2**20:8.0f}{m["saved"] / 2**20:8.0f}'
        print(f'{name:<18}{mib}{t.median:10.2f}{t.least:8.2f}{t.cpu:8.2f}')
    ours = 'snnkern, packed'
    if 'spikingjelly' in memory:
        for what in ('peak', 'peak, mapped', 'saved'):
            verdict(f"{what} of SpikingJelly's", memory[ours][what] / memory['spikingjelly'][what], MOST_MEMORY)
    verdict('time without packing', times[ours].median / times['snnkern'].median, MOST_TIME)
    verdict('CPU time without packing', times[ours].cpu / times['snnkern'].cpu, MOST_TIME)
    for n, calls in packed.items():
        print(f'n = {n}: ' + ', '.join(f'{name} {t.median * 1e6:.0f} us' for name, t in calls.items()))


def verdict(what: str, ratio: float, most: float) -> None:
    print(f'{ratio:.3f} of the {what}: target at most {most}, {"met" if ratio <= most else "NOT met"}')


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--batch', type=int, default=32, help='images in a batch')
    parser.add_argument('--width', type=float, default=1.0, help='of the channels')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5, help='steps of each provider that are timed')
    parser.add_argument(
        '--torch-layers', action='store_true', help="torch's BatchNorm2d and MaxPool2d in snnkern's form"
    )
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    parser.add_argument('--only', choices=PROVIDERS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments)))
        return
    torch.set_num_threads(arguments.threads)
    names = [name for name, (package, _) in PROVIDERS.items() if find_spec(package)]
    memory = in_processes(names, sys.argv[1:])
    losses = {name: m['losses'] for name, m in memory.items()}
    assert losses['snnkern'] == losses['snnkern, packed'], losses
    steps = {name: step_of(name, arguments) for name in names}
    times = interleave(steps, arguments.rounds)
    packed = packing((1 << 16, 1 << 20, 1 << 22), 3 * arguments.rounds)
    show(memory, times, packed)
    if arguments.json:
        own = {k: v for k, v in vars(arguments).items() if k not in ('json', 'only')}
        machine = {'torch': torch.__version__, 'notes': list(snnkern.explain().notes)}
        tables = [{n: t.as_dict() for n, t in timings.items()} for timings in (times, *packed.values())]
        record = (
            own
            | machine
            | {'memory': memory, 'times': tables[0], 'packing': dict(zip(packed, tables[1:], strict=True))}
        )
        arguments.json.write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main()
