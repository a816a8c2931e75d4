"""Plain IF neurons that correct what uneven arrival of spikes does to them: SRP and COS."""

from dataclasses import replace

import torch
from torch import Tensor

from snnkern import functional
from snnkern._checks import whole
from snnkern.convert.layers import Spiking
from snnkern.convert.recipe import Choice, Recipe, Site, burst, only_relu
from snnkern.convert.recipes.qcfs import quantised

MARGIN = 1e-3  # of theta: the residue that counts as positive, and how far beyond theta a shift goes


class ResidualMask(Spiking):
    """IF neurons that tau trial steps silence: those that end them with a potential <= 0.001 * theta.

    tau: trial steps, which the network runs ahead of the T steps that count (`Timed.warm_up`); then all layers start
    anew and only the mask is kept.
    """

    mask: Tensor | None = None

    @property
    def warm_up(self) -> int:
        """The trial steps."""
        return self.options['tau']

    def reset(self) -> None:
        """Forget the state and the mask."""
        super().reset()
        self.mask = None

    def restart(self) -> None:
        """Keep the mask alone."""
        if self.state is None:  # nothing ran
            return
        self.mask, self.state = self.state > MARGIN * self.broad(self.v_threshold, self.state), None

    def run(self, x: Tensor, state: Tensor | None, constant: bool) -> tuple[Tensor, Tensor]:
        s, last = super().run(x, state, constant)
        return (s if self.mask is None else s * self.mask), last


class OffsetSpikes(Spiking):
    """IF neurons that run twice: what is left of the first run says who emitted a spike too many or too few.

    With theta = 1 and v the potential after rho steps: where v < 0 and there were spikes, v0 goes down by as much as
    takes the weakest spike away, at least 1; where v >= 1, it goes up by as much as gives the strongest silent step
    one, at least 1. rho: steps looked at, 0 for all of them. iterations: how often, a spike each time.
    """

    causal = False

    def run(self, x: Tensor, state: Tensor | None, constant: bool) -> tuple[Tensor, Tensor]:
        begin = self.start(x if constant else x[0])
        steps = min(self.options['rho'] or self.T, self.T)
        v0 = begin
        for _ in range(self.options['iterations']):
            v0 = v0 + self.shift(x if constant else x[:steps], v0, begin, steps if constant else None)
        return super().run(x, v0, constant)

    def shift(self, x: Tensor, v0: Tensor, begin: Tensor, steps: int | None) -> Tensor:
        """What to add to v0, when `begin` was the first one."""
        theta = self.broad(self.v_threshold, v0)
        s, v = functional.multistep(x, self.neuron, v0=v0, T=steps, coefficients=self.coefficients, return_v_seq=True)
        fired, left = s > 0, v[-1] - (v0 - begin)
        weakest = v.masked_fill(~fired, torch.inf).amin(0)
        strongest = v.masked_fill(fired, -torch.inf).amax(0)
        down = -torch.maximum(weakest + MARGIN * theta, theta + 0 * v0)
        up = torch.maximum((1 + MARGIN) * theta - strongest, theta + 0 * v0)
        # A neuron that was never silent has no step for another spike.
        short = (left >= theta) & strongest.isfinite()
        return torch.where(short, up, torch.where((left < 0) & fired.any(0), down, 0.0))


def srp(tau: int = 0) -> Recipe:
    """Silence by the residual potential: neurons that tau trial steps leave with a potential <= 0.001 * theta emit 0.

    Plain IF, v0 = theta / 2. The network first runs tau steps as it is; each neuron keeps whether its potential ended
    positive; all start again, and outputs are multiplied by that mask. So T steps cost T + tau, and streaming
    (`SNN.steps`) begins after the trial. theta is lambda where the network was trained with `QCFS`, which the paper
    does, else the one with the least squared error of T steps.

    tau: trial steps; the paper takes 4 to 14, as many as QCFS has levels. 0: that many, or without QCFS as many as
    timesteps of `convert`: fewer silence neurons that T steps would need. ReLU only. Source: Hao et al., AAAI 2023
    (SRP). Example: `convert(net, x, recipe=srp(tau=4), timesteps=8)`.
    """
    whole('tau', tau, at_least=0)

    def choose(site: Site) -> Choice:
        return replace(_plain(site, 'srp'), options={'tau': tau or site.activation.levels or site.timesteps})

    return Recipe('srp', choose, layer=ResidualMask)


def cos(rho: int = 0, iterations: int = 1) -> Recipe:
    """Offset spikes: each layer runs, finds neurons that emitted a spike too many or too few, shifts v0, runs again.

    Plain IF, v0 = theta / 2. A potential left below 0 after spikes means one too many, one left at theta or above
    one too few; v0 is shifted by just enough, at least theta, so that the second run has one less or more. With
    `QCFS`, T = levels and enough iterations, what is left is the trained network, exactly. Layers look ahead: an SNN
    of this recipe computes all T steps of a layer at once and cannot be streamed. theta as in `srp`.

    rho: steps of the first run, at most T; 0 means all T. The paper takes 4 or 8, its code out of the T = 32 steps
    that it runs, and counts the answer after fewer. iterations: >= 1, how often to shift; the residue is always that
    of the first v0. ReLU only. Source: Hao et al., ICLR 2023 (COS). Example: `convert(net, x, recipe=cos(rho=4))`.
    """
    whole('rho', rho, at_least=0)
    whole('iterations', iterations)

    def choose(site: Site) -> Choice:
        return replace(_plain(site, 'cos'), options={'rho': rho, 'iterations': iterations})

    return Recipe('cos', choose, layer=OffsetSpikes)


def _plain(site: Site, recipe: str) -> Choice:
    only_relu(site, recipe)
    return burst(site, quantised(site), 1)
