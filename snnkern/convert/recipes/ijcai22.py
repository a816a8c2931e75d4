"""Burst spikes and lateral pooling as published at IJCAI 2022."""

from dataclasses import replace

from snnkern.convert.recipe import Choice, Recipe, Site, burst
from snnkern.convert.recipes.thresholds import percentiles


def ijcai22(
    percentile: float = 0.99,
    max_spikes: int = 5,
    channelnorm: bool = False,
    lateral: bool = True,
    act_shrink: float = 1.0,
) -> Recipe:
    """The published burst conversion, as BrainCog's Convertor computes it: unsigned bursts from v0 = 0, soft reset.

    Readout as in the original: sigmoid, softmax and other analogue parts are applied at every step, and the mean is
    over their outputs. Not reproduced: activations are not clamped at gamma before the percentile (that caps every
    threshold at gamma in absolute units and ruins gamma = 1), a module called twice gets two neurons, pools have any
    geometry, and channels that were silent get the layer's largest threshold where 1e-10 makes them fire at noise.

    percentile: in (0, 1], of the activations, which is theta (p, there over the first batch only). max_spikes: most
    spikes of a step (gamma). channelnorm: one theta per channel of feature maps [B, C, H, W], one a layer elsewhere.
    lateral: pool by lateral inhibition, else by the gate. act_shrink: activations above 1 are divided by it before
    the percentile; the code of the paper has 2, with percentile 0.999 and max_spikes 2 (it calls both gamma).
    Raises ValueError for bad numbers. Source: Li and Zeng, IJCAI 2022 (arXiv 2204.13271); BrainCog 0.2.7.
    Example: `convert(net, x, recipe=ijcai22(0.999, 2, act_shrink=2.0), timesteps=64)`.
    """
    recipe = percentiles('ijcai22', percentile, max_spikes, 0.0, channelnorm, not lateral, act_shrink)

    def choose(site: Site) -> Choice:
        sketch = site.sketch if site.sketch.rank == 4 else site.sketch.together()
        return burst(site, sketch.quantile(percentile, act_shrink), max_spikes, 0.0)

    return replace(recipe, choose=choose, original_readout=True)
