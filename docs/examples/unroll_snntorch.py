"""A network of snnTorch as its tutorial 5 has it, and the same one with all steps of a layer in one call.

`python docs/examples/unroll_snntorch.py` takes some seconds on one core; it needs `pip install snntorch`.
"""

import time

import snntorch
import torch
from snntorch import surrogate

import snnkern


class Net(torch.nn.Module):
    """784-500-10, in a loop over the steps."""

    def __init__(self, steps: int = 25) -> None:
        super().__init__()
        self.steps, spike = steps, surrogate.fast_sigmoid(slope=25)
        self.fc1, self.lif1 = torch.nn.Linear(784, 500), snntorch.Leaky(beta=0.95, spike_grad=spike)
        self.fc2, self.lif2 = torch.nn.Linear(500, 10), snntorch.Leaky(beta=0.95, spike_grad=spike)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def seconds(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Of a training step, the best of five."""
    best = float('inf')
    for _ in range(5):
        start = time.perf_counter()
        torch.nn.functional.cross_entropy(net(x).sum(0), y).backward()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    torch.manual_seed(0)
    net, x, y = Net(), torch.rand(128, 784), torch.randint(10, (128,))
    fast = snnkern.unroll(net)
    differ = (fast(x) != net(x)).float().mean().item()
    print(f'spikes that differ (a product is rounded in another order): {100 * differ:.3f} %')
    print(snnkern.explain(fast))
    loop, unrolled = seconds(net, x, y), seconds(fast, x, y)
    print(f'a training step: {1000 * loop:.0f} ms as a loop, {1000 * unrolled:.0f} ms unrolled')


if __name__ == '__main__':
    main()
