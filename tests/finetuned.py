"""Converted networks that are trained on, for tests."""

import torch
from conversions import network

from snnkern import encode
from snnkern.models.spiking.converted import Converted

SHAPE, T = (1, 14, 14), 4


def images(count=16):
    return torch.randn(count, *SHAPE)


def tuned(recipe='default', learn=False, net=None):
    """A calibrated network."""
    found = Converted(network() if net is None else net, SHAPE, recipe, T, learn)
    found.calibrate(images(64))
    return found


def answer(net, x, T=T):
    return net(encode.direct(x, T))
