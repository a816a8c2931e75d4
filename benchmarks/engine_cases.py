"""The engine in `snnkern bench`: one image through converted networks, T = 8, beside other ways to run them.

Networks have random weights, with statistics of BatchNorm from smooth noise, and are converted by the default recipe on
it; `benchmarks.engine` has trained ones, and targets. The gate: mean outputs as the SNN's, up to a spike here or there.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import rival_converters
from benchmarks.conversion import LOOP
from benchmarks.engine_nets import vgg11
from benchmarks.rival_converters import RIVALS
from benchmarks.subjects import NATIVE, Provider, WrongError
from benchmarks.timing import Call
from snnkern import engine
from snnkern.convert import SNN, convert
from snnkern.models import build

PREFIX, ENGINE, SJ_TITLE = 'engine ', 'snnkern engine', 'SpikingJelly'
T = 8
CALIBRATION = 16
APART = 0.02  # of the norm of the outputs
NAMES = {'quick': ('lenet5',), 'default': ('lenet5', 'resnet20', 'vgg11'), 'full': ('lenet5', 'resnet20', 'vgg11')}


def noise(channels: int) -> Tensor:
    """Smooth images [16, channels, 32, 32] around 0."""
    coarse = torch.randn(CALIBRATION, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(32, 32), mode='bilinear')


@torch.no_grad()
def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network of that name with random weights, the same in every process, and its calibration images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = vgg11(16) if name == 'vgg11' else build(name)
    x = noise(1 if name == 'lenet5' else 3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    net.train()(x)
    return net.eval(), x


@dataclass
class Subject:
    """A converted network and its input, some images."""

    name: str
    images: int

    @cached_property
    def trained(self) -> tuple[nn.Module, Tensor]:
        """The network, and calibration images."""
        return network(self.name)

    @cached_property
    def snn(self) -> SNN:
        net, x = self.trained
        return convert(net, x, timesteps=T)

    @cached_property
    def expected(self) -> Tensor:
        with torch.no_grad():
            return self.snn(self.x, T)

    @property
    def x(self) -> Tensor:
        """What is timed."""
        return self.trained[1][: self.images]

    def call(self, name: str) -> Call:
        """Raises WrongError where outputs are not the SNN's. SpikingJelly has other neurons: its are not compared."""
        run = torch.no_grad()(self._run(name))
        apart = float((run() - self.expected).norm() / self.expected.norm())
        if name != SJ_TITLE and not apart <= APART:
            raise WrongError(f'outputs are {apart:.1e} of their norm apart')
        return run

    def _run(self, name: str) -> Call:
        net, images = self.trained
        if name == SJ_TITLE:
            sj = rival_converters.convert(RIVALS[1], net, [(images, torch.zeros(len(images)))])
            return lambda: rival_converters.mean_output(sj, self.x, T)
        if name == ENGINE:
            compiled = engine.compile(self.snn, images, T)
            return lambda: compiled(self.x)
        network = self.snn if name == NATIVE else self.snn.simulator()
        return lambda: network(self.x, T)


def providers(name: str, images: int) -> tuple[Provider, ...]:
    """Who runs a converted network: native kernels layer by layer, the engine, a loop over steps, SpikingJelly."""
    subject = Subject(name, images)
    needs = {NATIVE: (), ENGINE: (), LOOP: (), SJ_TITLE: ('spikingjelly',)}
    return tuple(
        Provider(title, partial(subject.call, title), packages, ours=title in (NATIVE, ENGINE))
        for title, packages in needs.items()
    )
