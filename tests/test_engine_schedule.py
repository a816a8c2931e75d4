"""The order of steps and images that is counted as the best, against what takes the least time."""

import time

import pytest
import torch
from planned import compiled

import snnkern
from snnkern import engine
from snnkern.engine.session import Session
from snnkern.models import build

NEAR = 1.3  # of the least time what is chosen may take


@compiled
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(('images', 'T'), [(1, 32), (8, 8)])
def test_chosen_order_is_nearly_the_fastest(images: int, T: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 3, 32, 32)
    snn = snnkern.convert(build('resnet20').eval(), x, 'default', T)
    made = engine.compile(snn, x, T, threads=1, choice='events')
    chosen = made.order(images)
    ways = {(chunk, together) for chunk in (4, 8, 32) for together in (1, 8) if chunk <= T and together <= images}
    sessions = {chunk: Session(made.runner, images) for chunk in {T, *(chunk for chunk, _ in ways)}}
    seconds = dict.fromkeys({*ways, (chosen.chunk, chosen.together)}, 1e9)
    for _ in range(5):
        for chunk, together in seconds:
            begun = time.process_time()  # other programs do not count
            for _ in sessions[chunk].all([x[:images]], T, chunk, made.choices.stretches(images, chunk), together):
                pass
            seconds[chunk, together] = min(seconds[chunk, together], time.process_time() - begun)
    assert seconds[chosen.chunk, chosen.together] <= NEAR * min(seconds.values()), (chosen, seconds)
