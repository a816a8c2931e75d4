"""What `benchmarks.training` trains: three networks of snnkern, and the same of SpikingJelly and snnTorch.

All forms of a network have the same weights and the same neurons: LIF of SpikingJelly's defaults (decaying input, hard
reset), atan's surrogate. Rivals are written as fast as they allow: SpikingJelly's layers in step mode "m"; snnTorch's
neurons in a loop over steps, its stateless layers on all steps at once as in SpikingJelly. Where the input is the same
in every step, the first convolution and its BatchNorm run once in each of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.memory import Folded
from snnkern import encode
from snnkern._arguments import repeated
from snnkern.models.spiking import build
from snnkern.nn import BatchNormNeuron, Neuron

CLASSES = 10
OURS, PACKED, SJ, SNN, BOUND = 'snnkern', 'snnkern, packed', 'spikingjelly', 'snntorch', 'layers alone'
Encode = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """One layer of a network in words: kind "conv", "linear", "norm", "neuron", "pool" or "flatten", and its sizes."""

    kind: str
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Net:
    """A network to be trained.

    name: of the case; model, options: of `snnkern.models.spiking.build`. T, batch, shape: steps, images, their shape.
    tau: of the neurons. poisson: images are encoded at random in every step of training, else shown as they are.
    layers: the same network in words. channels_last: memory format of weights, the same in all forms.
    """

    name: str
    model: str
    T: int
    batch: int
    shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    options: dict[str, Any] = field(default_factory=dict)
    tau: float = 2.0
    poisson: bool = False
    channels_last: bool = False

    def images(self) -> tuple[Tensor, Tensor]:
        """A batch in 0..1 and its labels, the same in every process; as dark as digits are where they become spikes."""
        generator = torch.Generator().manual_seed(1)
        x = torch.rand(self.batch, *self.shape, generator=generator)
        if self.poisson:
            x *= torch.rand(x.shape, generator=generator) < 0.25
        return x, torch.arange(self.batch) % CLASSES

    def ours(self) -> nn.Module:
        """snnkern's network, the same in every process."""
        torch.manual_seed(0)
        channels, *size = self.shape
        options = {'neuron': 'lif', 'tau': self.tau, **self.options}
        net = build(self.model, in_channels=channels, size=tuple(size), num_classes=CLASSES, **options)
        if self.poisson:
            louder(net)
        return net


@torch.no_grad()
def louder(net: nn.Module) -> None:
    """Weights that make neurons without BatchNorm fire."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.weight *= 16


def convolutional(stages: Sequence[Sequence[tuple[int, int]]], *rest: Layer) -> tuple[Layer, ...]:
    """Stages of convolution, BatchNorm, neurons, each with a pool behind; then the rest."""
    found: list[Layer] = []
    for stage in stages:
        for sizes in stage:
            found += [Layer('conv', sizes), Layer('norm', (sizes[1], 2)), Layer('neuron')]
        found.append(Layer('pool'))
    return (*found, Layer('flatten'), *rest)


def vgg9(width: int, pixels: int) -> tuple[Layer, ...]:
    """Seven convolutions in three stages, one hidden linear layer."""
    a, b, c = width, 2 * width, 4 * width
    hidden, features = 16 * width, c * (pixels // 8) ** 2
    return convolutional(
        [[(3, a), (a, a)], [(a, b), (b, b)], [(b, c), (c, c), (c, c)]],
        *(Layer('linear', (features, hidden)), Layer('norm', (hidden, 1)), Layer('neuron')),
        Layer('linear', (hidden, CLASSES)),
    )


def mlp(inputs: int, hidden: int) -> tuple[Layer, ...]:
    first, second = Layer('linear', (inputs, hidden)), Layer('linear', (hidden, CLASSES))
    return Layer('flatten'), first, Layer('neuron'), second, Layer('neuron')


def nets(quick: bool = False) -> list[Net]:
    """The three networks; quick: small ones, to see whether all runs."""
    if quick:
        conv = convolutional([[(1, 4)], [(4, 8)]], Layer('linear', (8 * 4, CLASSES)))
        return [
            Net('mlp', 'mlp', 10, 4, (1, 8, 8), mlp(64, 20), {'hidden': 20}, tau=4.0, poisson=True),
            Net('mnist-conv', 'conv', 4, 4, (1, 8, 8), conv, {'width': 4}),
            Net('vgg9', 'vgg9', 4, 4, (3, 16, 16), vgg9(4, 16), {'width': 4}, channels_last=True),
        ]
    conv = convolutional([[(1, 32)], [(32, 64)]], Layer('linear', (64 * 49, CLASSES)))
    return [
        Net('mlp', 'mlp', 100, 128, (1, 28, 28), mlp(784, 300), tau=4.0, poisson=True),
        Net('mnist-conv', 'conv', 8, 64, (1, 28, 28), conv),
        Net('vgg9', 'vgg9', 4, 32, (3, 32, 32), vgg9(64, 32), {'width': 64}, channels_last=True),
    ]


class LeakyLoop(nn.Module):
    """snnTorch's neurons, step by step; their input is divided by tau already (see `take_weights`)."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        self.leaky = snntorch.Leaky(
            1 - 1 / tau, spike_grad=surrogate.atan(2.0), reset_mechanism='zero', reset_delay=False
        )

    def forward(self, x: Tensor) -> Tensor:
        spikes, mem = [], self.leaky.reset_mem()
        for step in x:
            s, mem = self.leaky(step, mem)
            spikes.append(s)
        return torch.stack(spikes)


def snntorch_layer(layer: Layer, tau: float) -> nn.Module:
    return LeakyLoop(tau) if layer.kind == 'neuron' else Folded(plain(layer))


def spikingjelly_layer(layer: Layer, tau: float) -> nn.Module:
    """A layer of SpikingJelly in step mode "m"."""
    from spikingjelly.activation_based import layer as layers
    from spikingjelly.activation_based import neuron, surrogate

    m, sizes = {'step_mode': 'm'}, layer.sizes
    if layer.kind == 'neuron':
        return neuron.LIFNode(tau, surrogate_function=surrogate.ATan(2.0), **m)
    if layer.kind == 'conv':
        return layers.Conv2d(*sizes, 3, padding=1, bias=False, **m)
    if layer.kind == 'linear':
        return layers.Linear(*sizes, **m)
    if layer.kind == 'norm':
        return (layers.BatchNorm1d if sizes[1] == 1 else layers.BatchNorm2d)(sizes[0], **m)
    return layers.MaxPool2d(2, **m) if layer.kind == 'pool' else layers.Flatten(**m)


def plain(layer: Layer) -> nn.Module:
    """A layer of torch."""
    if layer.kind == 'conv':
        return nn.Conv2d(*layer.sizes, 3, padding=1, bias=False)
    if layer.kind == 'linear':
        return nn.Linear(*layer.sizes)
    if layer.kind == 'norm':
        return (nn.BatchNorm1d if layer.sizes[1] == 1 else nn.BatchNorm2d)(layer.sizes[0])
    return nn.MaxPool2d(2) if layer.kind == 'pool' else nn.Flatten()


class Rival(nn.Module):
    """A network of another library: what runs once for a constant input, and what runs for all steps."""

    def __init__(self, net: Net, make: Callable[[Layer, float], nn.Module]) -> None:
        super().__init__()
        once = 0 if net.poisson else 2  # convolution and BatchNorm
        self.T = net.T
        self.once = nn.Sequential(*map(plain, net.layers[:once]))
        self.steps = nn.Sequential(*(make(layer, net.tau) for layer in net.layers[once:]))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [T, B, classes] of spikes [T, B, ...] or of images that are the same in each step."""
        if len(self.once):
            first = self.once(x[0])
            x = first.expand(self.T, *first.shape)
        return self.steps(x)


def weighted(net: nn.Module) -> Iterator[Any]:
    """Layers with weight and bias, in their order."""
    kinds = nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, BatchNormNeuron
    yield from (m for m in net.modules() if isinstance(m, kinds))


@torch.no_grad()
def take_weights(rival: nn.Module, ours: nn.Module, layers: Sequence[Layer], divisor: float = 1.0) -> None:
    """The weights of our network. divisor: of what feeds neurons, where the rival's charge lacks 1 / tau."""
    feeds = [behind.kind == 'neuron' for behind in (*layers[1:], Layer('output'))]
    scales = [divisor if feed else 1.0 for layer, feed in zip(layers, feeds, strict=True) if layer.sizes]
    for target, source, scale in zip(weighted(rival), weighted(ours), scales, strict=True):
        target.weight.copy_(source.weight / scale)
        if source.bias is None:
            target.bias = None
        else:
            target.bias.copy_(source.bias / scale)


class Through(nn.Module):
    """In place of neurons: currents pass. A constant input becomes T steps in memory, which the next layer computes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous() if repeated(x) else x


def without_neurons(net: nn.Module) -> nn.Module:
    """Our network without neurons and their BatchNorm, for what all its other layers take."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, Neuron):
                setattr(module, name, Through())
    return net


def make(net: Net, provider: str) -> nn.Module:
    """A provider's network, always with the same weights."""
    ours = net.ours()
    if provider in (OURS, PACKED):
        return ours
    if provider == BOUND:
        return without_neurons(ours)
    rival = Rival(net, spikingjelly_layer if provider == SJ else snntorch_layer)
    take_weights(rival, ours, net.layers, net.tau if provider == SNN else 1.0)
    return rival.to(memory_format=torch.channels_last) if net.channels_last else rival


def encoder(net: Net, provider: str) -> Encode:
    """What makes [T, B, ...] of images, each library's own."""
    if not net.poisson:
        return lambda x: encode.direct(x, net.T)
    if provider == BOUND:
        spikes = encode.poisson(net.images()[0], net.T)
        return lambda x: spikes
    if provider == SJ:
        from spikingjelly.activation_based.encoding import PoissonEncoder

        coded = PoissonEncoder(step_mode='m')
        return lambda x: coded(x.expand(net.T, *x.shape))
    if provider == SNN:
        from snntorch import spikegen

        return lambda x: spikegen.rate(x, num_steps=net.T)
    return encode.Poisson(net.T)
