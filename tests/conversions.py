"""Small networks to convert, and what their layers emit."""

import torch
from torch import nn


def network(activation=nn.ReLU):
    """Conv, BatchNorm, activation, pool, twice, and a Linear; statistics as after training."""
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    for _ in range(20):
        net(torch.randn(32, 1, 14, 14))
    return net.eval()


def activations(net, x):
    """The outputs of the activations for inputs x."""
    found = []
    for layer in net:
        x = layer(x).detach()
        if isinstance(layer, nn.ReLU | nn.LeakyReLU | nn.ReLU6):
            found.append(x)
    return found


def thresholds(snn):
    return [neuron.v_threshold for neuron in snn.neurons]


def spikes(snn, x, T):
    """The outputs of the neuron layers, over all steps."""
    found = []
    hooks = [n.register_forward_hook(lambda module, inputs, out: found.append(out)) for n in snn.neurons]
    with torch.no_grad():
        snn(x, T)
    for hook in hooks:
        hook.remove()
    return found
