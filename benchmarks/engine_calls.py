"""What `benchmarks.engine` runs in its processes: accuracy and the gate, then times, of one network."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from benchmarks import detection, rival_converters
from benchmarks.conversion import LOOP, SJ_MANY, SJ_STEPS, percent
from benchmarks.engine_nets import Data, passes
from benchmarks.rival_converters import RIVALS, Batches
from benchmarks.timing import Call, interleave, sample
from snnkern import engine
from snnkern.convert import SNN

ENGINE, LAYERS = 'engine', 'layer by layer'
SPIKINGJELLY = (SJ_STEPS, rival_converters.mean_output), (SJ_MANY, rival_converters.many_steps)
EQUAL, WITHIN = 99.9, 0.5  # percent of the answers; points of accuracy
SEARCH = 1, 2, 4, 8, 16, 32, 64  # T, for one that is as accurate as the network
EXAMPLES = 32  # images that the engine is compiled with
LEAST, MOST = 3, 15  # rounds


def answers(call: Callable[[Tensor], Tensor], tests: Batches) -> tuple[float, Tensor]:
    """Accuracy in percent, and the class of each image."""
    out = torch.cat([call(x) for x, _ in tests])
    return percent(out, torch.cat([y for _, y in tests])), out.argmax(1)


def gate(snn: SNN, data: Data, T: int) -> dict[str, Any]:
    """Accuracy of SNN and engine in percent, and on how many images in percent they agree."""
    compiled = engine.compile(snn, data.calibration[:EXAMPLES], T)
    ours, expected = answers(lambda x: snn.predict(x, T), data.tests)
    theirs, found = answers(compiled.predict, data.tests)
    equal = 100 * (found == expected).double().mean().item()
    return {
        'SNN': ours,
        'engine': theirs,
        'equal': equal,
        'passed': equal >= EQUAL,
        'report': compiled.report().as_dict(),
    }


@torch.no_grad()
def prepare(net: nn.Module, data: Data, timesteps: Sequence[int], folder: Path) -> dict[str, Any]:
    """Networks converted for the asked T and for the smallest T that is accurate enough, saved; what the gate says."""
    ann, _ = answers(net, data.tests)
    found: dict[int, Any] = {}
    smallest: int | None = None
    for T in sorted({*SEARCH, *timesteps}):
        if smallest is None or T in timesteps:
            snn = snnkern.convert.convert(net, data.calibration, timesteps=T)
            found[T] = gate(snn, data, T)
            snn.save(folder / f'{T}.safetensors')
            if smallest is None and found[T]['SNN'] >= ann - WITHIN:
                smallest = T
    return {'images': sum(len(x) for x, _ in data.tests), 'ANN': ann, 'smallest': smallest, 'by T': found}


def timed(calls: dict[str, Call], seconds: float) -> dict[str, Any]:
    """Seconds of each, in as many interleaved rounds as take so long together."""
    once = sum(sample(call, 1)[0] for call in calls.values())
    timings = interleave(calls, min(MOST, max(LEAST, int(seconds / once))))
    return {name: t.as_dict() for name, t in timings.items()}


@torch.no_grad()
def speed(net: nn.Module, data: Data, cases: Sequence[tuple[int, int]], folder: Path, seconds: float) -> dict[str, Any]:
    """Seconds of all contestants by "T, batch", each a call that gives mean outputs [B, classes]."""
    skipped, found, rivals = {}, {}, []
    try:
        sj = rival_converters.convert(RIVALS[1], net, data.batches)
        rivals = [(name, run, copy.deepcopy(sj)) for name, run in SPIKINGJELLY]  # a mode is for good
    except ImportError as error:
        skipped['SpikingJelly'] = str(error)
    images = torch.cat([x for x, _ in data.tests])
    for T, batch in cases:
        x, snn = images[:batch], SNN.load(folder / f'{T}.safetensors', net)
        compiled, loop = engine.compile(snn, data.calibration[:EXAMPLES], T), snn.simulator()
        calls: dict[str, Call] = {ENGINE: partial(compiled, x), LAYERS: partial(snn, x, T), LOOP: partial(loop, x, T)}
        calls |= {name: partial(run, rival, x, T) for name, run, rival in rivals}
        found[f'{T}, {batch}'] = timed({**calls, **passes(net, x)}, seconds)
    return {'cases': found, 'skipped': skipped}


@torch.no_grad()
def yolo(timesteps: Sequence[int], width: int, size: int, seconds: float) -> dict[str, Any]:
    """Tiny-YOLO with random weights and one image: how far its maps are apart, relative, and seconds by "T, 1"."""
    x = detection.pictures(2, size)
    net = detection.detector(width, 3, None, x)
    found: dict[str, Any] = {'apart': {}, 'cases': {}, 'skipped': {}, 'report': {}}
    for T in timesteps:
        snn = snnkern.convert.convert(net, x, 'layerwise', timesteps=T)
        others, found['skipped'] = detection.contestants(net, x, T, 'layerwise', 1)
        compiled = engine.compile(snn, x, T)
        calls: dict[str, Call] = {ENGINE: partial(compiled, x[:1]), LAYERS: others.pop(detection.OURS)}
        del others[detection.BOUND]
        a, b = calls[ENGINE](), calls[LAYERS]()
        found['apart'][T] = float((a - b).norm() / b.norm())
        found['cases'][f'{T}, 1'] = timed({**calls, **others, **passes(net, x[:1])}, seconds)
        found['report'][T] = compiled.report().as_dict()
    return found
