"""Step-by-step networks as people write them, and an unrolled one compared with its loop."""

import torch
from torch import nn
from torch.nn import functional as F

from snnkern.testing import assert_grads_close


class Mlp(nn.Module):
    """snnTorch's tutorial 5, the sizes given. neuron: makes a layer of neurons."""

    def __init__(self, neuron, inputs=784, hidden=1000, num_steps=25):
        super().__init__()
        self.num_steps = num_steps
        self.fc1 = nn.Linear(inputs, hidden)
        self.lif1 = neuron()
        self.fc2 = nn.Linear(hidden, 10)
        self.lif2 = neuron()

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _ in range(self.num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class Conv(nn.Module):
    """snnTorch's tutorial 6: 12C5-MP2-64C5-MP2-1024FC10."""

    def __init__(self, neuron, num_steps=6):
        super().__init__()
        self.num_steps = num_steps
        self.conv1 = nn.Conv2d(1, 12, 5)
        self.lif1 = neuron()
        self.conv2 = nn.Conv2d(12, 64, 5)
        self.lif2 = neuron()
        self.fc1 = nn.Linear(64 * 4 * 4, 10)
        self.lif3 = neuron()
        louder(self)

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spk3_rec, mem3_rec = [], []
        for _ in range(self.num_steps):
            cur1 = F.max_pool2d(self.conv1(x), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = F.max_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(spk2.view(len(x), -1))
            spk3, mem3 = self.lif3(cur3, mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)
        return torch.stack(spk3_rec), torch.stack(mem3_rec)


def sequential(neuron):
    """A conv net of one step, whose neurons keep their states."""
    layers = nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), neuron(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 10)
    return louder(nn.Sequential(*layers, neuron(output=True)))


def louder(net, gain=3.0):
    """The network with weights that make its last neurons spike."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data *= gain
    return net


def loop(net, x):
    """The steps of x [T, ...] one by one, stacked."""
    found = [net(step) for step in x]
    return (
        torch.stack(found) if isinstance(found[0], torch.Tensor) else tuple(map(torch.stack, zip(*found, strict=True)))
    )


def gradients(outputs, inputs):
    """Of a random sum of all outputs."""
    outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    draw = torch.Generator().manual_seed(3)
    total = sum((o.float() * torch.randn(o.shape, generator=draw)).sum() for o in outputs)
    return torch.autograd.grad(total, inputs)


def same(expected, found, inputs):
    """Outputs are close (a product of [T * B] rows is rounded in another order), gradients too."""
    for actual, wanted in zip(*((o,) if isinstance(o, torch.Tensor) else o for o in (found, expected)), strict=True):
        assert wanted.count_nonzero() > 0.01 * wanted.numel(), 'silent outputs test little'
        assert actual.dtype == wanted.dtype
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)
    for actual, wanted in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        assert_grads_close(actual.contiguous(), wanted.contiguous(), 'sums')


def plan(fast):
    """The one plan of an unrolled network: how many calls each kind of work has, in order."""
    ((_, found),) = fast._snnkern_unroll.plans.values()
    return [(work.kind, len(work.calls)) for work in found.works]
