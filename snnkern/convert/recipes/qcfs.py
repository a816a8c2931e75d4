"""Networks that were trained with the QCFS activation."""

import torch

from snnkern._checks import finite
from snnkern.convert.recipe import Choice, Recipe, Site, burst

CANDIDATES = 100  # thresholds tried, from the largest activation down


def qcfs(v0: float = 0.5) -> Recipe:
    """IF neurons at the thresholds that `snnkern.convert.QCFS` learned: theta = lambda, soft reset, v0 = theta / 2.

    For one layer with constant input, T = levels steps give the activation exactly; deeper layers differ by when
    spikes arrive. Any other activation in the network is an error that names it: train with `use_qcfs`, or take
    another recipe. v0: the potential before the first step, in units of theta.
    Source: Bu et al., ICLR 2022 (arXiv 2303.04347). Example: `convert(net, x, recipe=qcfs(), timesteps=4)`.
    """
    finite('v0', v0)

    def choose(site: Site) -> Choice:
        theta = site.activation.v_threshold
        if theta is None:
            raise ValueError(
                f'{site.was} has no threshold of its own, which recipe qcfs takes: train the network with QCFS '
                '(snnkern.convert.use_qcfs), or choose another recipe'
            )
        return burst(site, theta, 1, v0)

    return Recipe('qcfs', choose)


def quantised(site: Site) -> float:
    """The threshold of a plain IF neuron: a learned one (QCFS), else the one that T steps round best with.

    Least squared error over the sketch of the activations; candidates are shares 1, 0.99, ... of the largest.
    """
    if site.activation.v_threshold is not None:
        return site.activation.v_threshold
    candidates = site.sketch.top * (1 - torch.arange(CANDIDATES) / CANDIDATES)
    if not site.sketch.top > 0:
        return site.sketch.top
    return candidates[site.sketch.error(candidates, site.timesteps, 1).mean(1).argmin()].item()
