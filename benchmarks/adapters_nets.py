"""Other libraries' networks, as their users write and run them: what `benchmarks.adapters` measures.

Every network comes with random weights, and with BatchNorm statistics of its own inputs. Where there is no BatchNorm,
weights are larger than torch's initial ones, so that all layers spike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 10
Run = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Net:
    """A network of a library.

    library: its package. note: what it is. T, batch, shape: steps, images, their shape. build: the network for T steps.
    run: for T steps, a function that resets a network and gives its outputs [B, classes]. density: of input spikes
    [B, T, *shape]; without it the input is images [B, *shape]. unroll: of a network that is called once a step, one
    of T steps, and `run` for that one.
    """

    name: str
    library: str
    note: str
    T: int
    batch: int
    shape: tuple[int, ...]
    build: Callable[[int], nn.Module]
    run: Callable[[int], Run]
    density: float | None = None
    unroll: Callable[[nn.Module, int], tuple[nn.Module, Run]] | None = None

    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        if find_spec(self.library) is None:
            return f'{self.library} is not installed'
        if find_spec(f'snnkern.adapters.{self.library}') is None:
            return f'snnkern has no adapter for {self.library}'
        return None

    def input(self) -> Tensor:
        """The same in every process."""
        generator = torch.Generator().manual_seed(1)
        if self.density is None:
            return torch.rand(self.batch, *self.shape, generator=generator)
        return (torch.rand(self.batch, self.T, *self.shape, generator=generator) < self.density).float()

    def model(self) -> nn.Module:
        """The network, the same in every process. Its BatchNorms have seen the input."""
        torch.manual_seed(0)
        model = self.build(self.T)
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        kept = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 1.0
        with torch.no_grad():
            self.run(self.T)(model.train(), self.input())
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum
        return model


def louder(model: nn.Module, gain: float) -> nn.Module:
    """Weights that keep the size of rectified activations, times gain; no biases."""
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(m.weight)
            with torch.no_grad():
                m.weight *= gain
                if m.bias is not None:
                    m.bias.zero_()
    return model


def shown(T: int) -> Run:
    """SpikingJelly: images shown at every step, [T, B, ...], all steps in one call; the mean output."""
    from spikingjelly.activation_based import functional

    def run(model: nn.Module, x: Tensor) -> Tensor:
        functional.reset_net(model)
        return model(x.unsqueeze(0).repeat(T, *[1] * x.dim())).mean(0)

    return run


def sew_resnet18(T: int) -> nn.Module:
    from spikingjelly.activation_based import functional, neuron, surrogate
    from spikingjelly.activation_based.model import sew_resnet

    given = {'surrogate_function': surrogate.ATan(), 'detach_reset': True, 'num_classes': CLASSES}
    model = sew_resnet.sew_resnet18(cnf='ADD', spiking_neuron=neuron.IFNode, **given)
    functional.set_step_mode(model, 'm')
    return model


def spiking_vgg11(T: int) -> nn.Module:
    """Its published classifier has 120 million weights, for images of 224 x 224; here a mean and one layer."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model import spiking_vgg

    given = {'surrogate_function': surrogate.ATan(), 'detach_reset': True}
    model = spiking_vgg.spiking_vgg11_bn(spiking_neuron=neuron.LIFNode, **given)
    model.avgpool, model.classifier = layer.AdaptiveAvgPool2d(1), layer.Linear(512, CLASSES)
    functional.set_step_mode(model, 'm')
    return model


def tutorial6(T: int) -> nn.Module:
    """12C5-MP2-64C5-MP2-1024FC10 of snnTorch's sixth tutorial."""
    import snntorch
    from snntorch import surrogate

    given = {'beta': 0.5, 'spike_grad': surrogate.fast_sigmoid(slope=25), 'init_hidden': True}
    return louder(
        nn.Sequential(
            nn.Conv2d(1, 12, 5),
            nn.MaxPool2d(2),
            snntorch.Leaky(**given),
            nn.Conv2d(12, 64, 5),
            nn.MaxPool2d(2),
            snntorch.Leaky(**given),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, CLASSES),
            snntorch.Leaky(**given, output=True),
        ),
        1.0,
    )


def looped(T: int) -> Run:
    """snnTorch: the tutorial's loop; the mean of spikes over the steps."""
    from snntorch import utils

    def run(model: nn.Module, x: Tensor) -> Tensor:
        utils.reset(model)
        spikes = []
        for _ in range(T):
            s, _ = model(x)
            spikes.append(s)
        return torch.stack(spikes).mean(0)

    return run


def unrolled(model: nn.Module, T: int) -> tuple[nn.Module, Run]:
    """snnTorch: the network of one step as one of T steps."""
    from snntorch import utils

    from snnkern.adapters._unroll import unroll

    def run(model: nn.Module, x: Tensor) -> Tensor:
        utils.reset(model)
        return model(x)[0].mean(0)

    return unroll(model, num_steps=T), run


def layered(T: int) -> Run:
    """BrainCog: networks reset and repeat their input themselves."""
    return lambda model, x: model(x)


def braincog(T: int, dataset: str) -> dict[str, Any]:
    from braincog.base.node.node import LIFNode

    kind = {'node_type': LIFNode, 'dataset': dataset, 'layer_by_layer': True}
    return {'num_classes': CLASSES, 'step': T, 'encode_type': 'direct', **kind}


def braincog_resnet18(T: int) -> nn.Module:
    from braincog.model_zoo import resnet

    model = resnet.resnet18(**braincog(T, 'cifar10'))
    model.set_attr('step', T)  # its neurons have the default 8 otherwise, whatever the network has
    return model


def braincog_vgg(T: int) -> nn.Module:
    from braincog.model_zoo import vgg_snn

    return vgg_snn.SNN7_tiny(**braincog(T, 'cifar10'))


def norse_conv(T: int) -> nn.Module:
    """The layers of Norse's ConvNet as a sequence over all steps."""
    import norse.torch as norse

    return louder(
        norse.SequentialState(
            norse.Lift(nn.Conv2d(1, 20, 5)),
            norse.LIF(),
            norse.Lift(nn.MaxPool2d(2)),
            norse.Lift(nn.Conv2d(20, 50, 5)),
            norse.LIF(),
            norse.Lift(nn.MaxPool2d(2)),
            nn.Flatten(2),
            norse.Lift(nn.Linear(50 * 4 * 4, 500)),
            norse.LIF(),
            norse.Lift(nn.Linear(500, CLASSES)),
            norse.LI(),
        ),
        3.0,
    )


def sequence(T: int) -> Run:
    """Norse: [T, B, ...] from an empty state; the potential after the last step."""
    return lambda model, x: model(x.transpose(0, 1).contiguous())[0][-1]


def sinabs_mnist(T: int) -> nn.Module:
    """The MNIST CNN of sinabs' tutorials."""
    from sinabs.from_torch import from_model

    analogue = louder(
        nn.Sequential(
            nn.Conv2d(1, 20, 5, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(20, 32, 5, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(32, 128, 3, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 500, bias=False),
            nn.ReLU(),
            nn.Linear(500, CLASSES, bias=False),
        ),
        1.5,
    )
    return from_model(analogue, num_timesteps=T).spiking_model


def squeezed(T: int) -> Run:
    """sinabs: [B * T, ...]; the mean output."""
    from sinabs.utils import reset_states

    def run(model: nn.Module, x: Tensor) -> Tensor:
        reset_states(model)
        return model(x.flatten(0, 1)).unflatten(0, (-1, T)).mean(1)

    return run


NETS = (
    Net('sew_resnet18', 'spikingjelly', 'SEW-ResNet18, IF, multi-step', 4, 8, (3, 64, 64), sew_resnet18, shown),
    Net('vgg11_bn', 'spikingjelly', 'spiking VGG-11 BN, LIF, multi-step', 4, 8, (3, 64, 64), spiking_vgg11, shown),
    Net('tutorial6', 'snntorch', 'conv net (tutorial 6)', 25, 32, (1, 28, 28), tutorial6, looped, None, unrolled),
    Net('resnet18', 'braincog', 'ResNet-18, LIF, layer by layer', 4, 4, (3, 32, 32), braincog_resnet18, layered),
    Net('snn7_tiny', 'braincog', 'VGG (SNN7_tiny), LIF, layer by layer', 4, 8, (3, 32, 32), braincog_vgg, layered),
    Net('conv_sequence', 'norse', 'conv net, SequentialState', 16, 32, (1, 28, 28), norse_conv, sequence, 0.3),
    Net('mnist_cnn', 'sinabs', 'MNIST CNN, from_model', 16, 32, (1, 28, 28), sinabs_mnist, squeezed, 0.2),
)
