"""`unroll` on the step-wise networks of Norse and BrainCog: explicit states in tuples, resets inside forward."""

import pytest
import torch
from torch import nn
from unrolled import louder, plan, same

from snnkern.adapters._unroll import unroll


def both(library):
    """The library, and its adapter."""
    found = pytest.importorskip(library, reason=f'{library} is not installed')
    pytest.importorskip(f'snnkern.adapters.{library.partition(".")[0]}', exc_type=ImportError)
    return found


class Cells(nn.Module):
    """Norse's cells in a loop, states from None on; `state` is returned too."""

    def __init__(self, norse):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(20, 30), norse.LIFCell()
        self.rest = norse.SequentialState(nn.Linear(30, 10), norse.LIFCell(), nn.Linear(10, 10), norse.LICell())
        louder(self, 15.0)

    def forward(self, x):
        state, rest, outputs = None, None, []
        for now in x:
            spikes, state = self.lif1(self.fc1(now), state)
            out, rest = self.rest(spikes, rest)
            outputs.append(out)
        return torch.stack(outputs), state.v


def test_norse():
    net, x = Cells(both('norse.torch')), torch.rand(12, 4, 20, requires_grad=True)
    fast = unroll(net)
    same(net(x), fast(x), [x, net.fc1.weight, net.rest[0].weight])
    assert [count for kind, count in plan(fast) if kind == 'neuron'] == [12] * 3


def test_braincog():
    both('braincog')
    zoo = pytest.importorskip('braincog.model_zoo.convnet')
    node = pytest.importorskip('braincog.base.node.node')
    net = zoo.mnist_convnet(step=4, encode_type='direct', node_type=node.LIFNode, spike_output=False, num_classes=10)
    net, x = louder(net.eval()), torch.rand(2, 1, 28, 28)
    fast = unroll(net)
    for _ in range(2):  # it resets itself
        same(net(x), fast(x), [net.fc[1].fc.weight])
    assert [count for kind, count in plan(fast) if kind == 'neuron'] == [4] * 4
