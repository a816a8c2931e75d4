"""What a converted network scores beside the network that it was made from: the rows of all reports."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.convert import SNN
from snnkern.convert.calibrate import silent

Loader = Iterable[tuple[Tensor, Tensor]]
Progress = Callable[[str, float], None]
Score = float | dict[str, float]


@torch.no_grad()
def score_ann(net: nn.Module, loader: Loader, metric: Any = None) -> Score:
    """Accuracy in percent of a network in eval mode, or what the metric (update, compute) says of its outputs."""
    right = seen = 0
    for x, y in loader:
        out = net(x)
        seen += len(y)
        if metric is None:
            right += int((out.argmax(1) == y).sum())
        else:
            metric.update(out, y)
    return 100 * right / seen if metric is None else metric.compute()


def measure(
    snn: SNN, loader: Loader, timesteps: Sequence[int], metric: Any = None, progress: Progress = silent
) -> list[dict[str, Any]]:
    """A row for each T, from one pass: its score, spikes, operations and energy of one input, as JSON.

    score: accuracy in percent, or what the metric says. spikes_per_neuron_per_step: mean over all neurons; rates: of
    each neuron layer. synops: additions that spikes cause; macs: multiply-accumulates of what is no spikes; energy_pj
    of both, ann_macs and ann_energy_pj of the original network, energy_ratio: how many times less the SNN takes; all
    None where the network has no graph to read.
    """
    found = snn.evaluate(loader, tuple(timesteps), metric=metric, progress=progress)
    rows = []
    for T in timesteps:
        energy = found.energy.get(T)
        row = {
            'timesteps': T,
            'score': found.accuracy[T] if metric is None else found.metric[T],
            'spikes_per_neuron_per_step': found.mean_rate_at(T),
            'rates': found.rates_at(T),
            'synops': energy and energy.synops,
            'macs': energy and energy.macs,
            'energy_pj': energy and energy.snn,
            'ann_macs': energy and energy.ann_macs,
            'ann_energy_pj': energy and energy.ann,
            'energy_ratio': energy and energy.ratio,
        }
        rows.append(row)
    return rows


def main_score(score: Score) -> float:
    """One number of a score: the accuracy, or the soft Dice."""
    return score['soft_dice'] if isinstance(score, dict) else score
