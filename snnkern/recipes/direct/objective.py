"""What a network is shown at each step of a training, and what is asked of its answer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern import encode, losses
from snnkern.data.samples import SampleSet, kind_of
from snnkern.models.boxes import head_of
from snnkern.recipes.direct.config import Config

LOSSES_OF = {
    'labels': ('cross-entropy', 'tet', 'count', 'one-hot'),
    'masks': ('cross-entropy', 'tet'),
    'boxes': ('head',),
}
ANALOGUE = ('direct', 'saccade')  # codings of normalised images; the others read intensities in 0..1


class Inputs:
    """Images or frames as T steps, as a configuration codes them. offset: of the first sample, for what is random."""

    def __init__(self, config: Config, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.config = config
        self.moments = (mean, std) if mean and config.coding in ANALOGUE else None

    def __call__(self, x: Tensor, offset: int = 0, test: bool = False) -> Tensor:
        """[T, B, C, H, W] of images [B, C, H, W], or of frames [B, T, C, H, W]."""
        config = self.config
        if self.moments is not None:
            mean, std = (torch.tensor(row, device=x.device).view(-1, 1, 1) for row in self.moments)
            x = (x - mean) / std
        if config.coding == 'frames':
            return x.transpose(0, 1)
        if config.coding == 'direct':
            return encode.direct(x, config.T)
        if config.coding == 'poisson':  # every sample of the whole run draws anew, those of the test from another key
            return encode.poisson(x, config.T, (2 * config.seed + test) % 2**63, offset)
        return (encode.saccade if config.coding == 'saccade' else encode.odg)(x, **config.coding_options)


class Objective:
    """The loss of a configuration on outputs [T, B, K, ...]; for a set's labels, masks or boxes.

    net: whose `head` has the loss of boxes. Raises ValueError for a loss that such targets have not."""

    def __init__(self, config: Config, data: SampleSet, net: nn.Module) -> None:
        self.config, self.ignore = config, data.ignore
        self.head = head_of(net)
        self.options: dict[str, Any] = {}
        targets = data.targets
        if config.loss not in LOSSES_OF[targets]:
            raise ValueError(f'loss: of {targets} expected one of {", ".join(LOSSES_OF[targets])}, got {config.loss!r}')
        if targets == 'boxes' and not hasattr(self.head, 'loss'):
            raise ValueError(f'model: {config.model} cannot be trained on boxes, its head has no loss')
        if config.dice and targets != 'masks':
            raise ValueError(f'dice: {targets} have none, got {config.dice}')
        if config.loss in ('cross-entropy', 'tet'):
            self.options['label_smoothing'] = config.label_smoothing
            self.options |= {} if data.ignore is None else {'ignore_index': data.ignore}

    def __call__(self, out: Tensor, y: Tensor, rates: Sequence[Tensor] = (), teacher: Tensor | None = None) -> Tensor:
        """A scalar. y: labels [B], masks [B, H, W] or boxes [B, M, 6]. rates: of the layers. teacher: outputs to be
        close to, [B, K, ...]."""
        config = self.config
        if kind_of(y) == 'masks':
            if self.ignore is not None and not (y != self.ignore).any():
                return 0 * out.sum()  # the mean over no pixels is none
            out = out if config.loss == 'tet' else out.float().mean(0, keepdim=True)
            out = fitted(out.float().flatten(0, 1), y).unflatten(0, out.shape[:2])
        if kind_of(y) == 'boxes':
            loss: Tensor = self.head.loss(out.float().mean(0), y)
        else:
            loss = LOSSES[config.loss](out, y, **self.options)
        if config.distill:
            assert teacher is not None
            far = F.mse_loss(out.float().mean(0), teacher.float())
            loss = (1 - config.distill) * loss + config.distill * far
        if config.dice:
            loss = loss + config.dice * losses.dice(out.float().mean(0), y, self.ignore)
        if config.rate_penalty:
            loss = loss + config.rate_penalty * losses.rate_penalty(rates, config.rate_target)
        return loss


LOSSES: dict[str, Callable[..., Tensor]] = {
    'cross-entropy': losses.cross_entropy,
    'tet': losses.tet,
    'count': losses.count_mse,
    'one-hot': losses.one_hot_mse,
}


def fitted(logits: Tensor, y: Tensor) -> Tensor:
    """Logits [B, K, h, w] scaled to masks [B, H, W] by bilinear interpolation."""
    if logits.shape[2:] == y.shape[1:]:
        return logits
    return F.interpolate(logits, y.shape[1:], mode='bilinear', align_corners=False)


def teacher_of(net: nn.Module) -> nn.Module:
    """The network that a converted one learns from; raises ValueError where there is none."""
    found = getattr(net, 'teacher', None)
    if found is None:
        raise ValueError(f'distill: only a converted network has a teacher, {type(net).__name__} has none')
    return found
