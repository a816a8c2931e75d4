"""Small converted networks, with neurons that are known, for the tests of what is done with them."""

import torch
from torch import nn
from torch.nn import functional as F

from snnkern.convert import Recipe
from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import burst, signed


def fixed(theta=1.0, max_spikes=8, layer=Spiking, **more):
    """Burst neurons of one theta that start at 0, so that whole currents give as many spikes."""
    return Recipe('fixed', lambda site: burst(site, theta, max_spikes, v0=0.0), layer=layer, **more)


def per_channel(site):
    """Signed neurons with a theta for each channel."""
    return signed(site, site.sketch.quantile(1.0) / 3, 4)


CHANNELS = Recipe('channels', per_channel, channels=True)


class Ahead(Spiking):
    """A layer that claims to need all steps, with a number and a buffer of its own."""

    causal = False
    loops = True

    def forward(self, x):
        y = super().forward(x) * self.options.get('gain', 1.0)
        return y + self.shift if 'shift' in self._buffers else y


class Residual(nn.Module):
    """A reused ReLU, BatchNorm, a skip, a max-pool, per-channel shapes and a softmax at the end."""

    def __init__(self, width=4, softmax=True):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.head = nn.Linear(16 * width, 5)
        self.softmax = softmax

    def forward(self, x):
        x = self.relu(self.stem(x))
        y = self.relu(self.norm(self.conv(x)) + x)
        y = self.head(F.max_pool2d(y, 2).flatten(1))
        return y.softmax(1) if self.softmax else y


def residual(**kinds):
    """A `Residual` with running statistics, in eval mode."""
    net = Residual(**kinds)
    for _ in range(5):
        net(torch.randn(16, 1, 8, 8))
    return net.eval()
