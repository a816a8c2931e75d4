"""The check that every converted network of the tests must pass."""

import torch
from torch import nn
from torch.utils import _pytree as pytree

from snnkern.convert import convert
from snnkern.convert.check import deviation
from snnkern.convert.recipes import default

FLIPS = 0.05  # of the norm of outputs


def sound(net, *inputs, timesteps=3, tolerance=1e-4, **options):
    """Convert; with exact neurons the outputs are the network's, and streaming gives what a call gives."""
    given = inputs if len(inputs) > 1 else inputs[0]
    options.setdefault('recipe', default(correct=False))  # biases would count as deviations
    snn = convert(net, given, timesteps=timesteps, **options)
    few = tuple(x[:3] for x in inputs)
    training = net.training
    wanted = pytree.tree_leaves(net.eval()(*(x.clone() for x in few)))
    assert all(out.abs().max() > 0 for out in wanted)
    assert deviation(snn, net, few) < tolerance
    net.train(training)
    *_, (t, last) = snn.steps(few, 4)
    assert t == 4
    # Convolutions of another batch may round otherwise, and a spike at its threshold then fall a step later.
    for one, other in zip(pytree.tree_leaves(last), pytree.tree_leaves(snn(few, 4)), strict=True):
        assert (one - other).norm() <= FLIPS * other.norm()
    return snn


def kinds(snn):
    """How many entries there are of each kind: neuron, pool, analogue."""
    found = [entry.kind for entry in snn.entries]
    return tuple(found.count(kind) for kind in ('neuron', 'pool', 'analogue'))


def called(snn):
    """The modules that the graphs call."""
    nets = (snn.stem, snn.body)
    return [net.get_submodule(n.target) for net in nets for n in net.graph.nodes if n.op == 'call_module']


def trained(net, *inputs):
    """Give BatchNorms statistics and lines that are not trivial, and go to eval mode."""
    net.train()
    for _ in range(5):
        net(*(x * 2 + 1 if x.is_floating_point() else x for x in inputs))
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return net.eval()


class Net(nn.Module):
    """A convolution, what a test does with its output, and what its output needs."""

    def __init__(self, function, **modules):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def images(n=6, size=8):
    return torch.randn(n, 2, size, size)
