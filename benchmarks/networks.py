"""Whole networks as cases: training steps of `benchmarks.training_nets`, `accelerate` of `benchmarks.adapters_nets`.

T steps of N images a call. Gates are those of the two programs: first outputs, and outputs and gradients, against the
rival's own. A library's network before `accelerate` carries the library's name.
"""

from dataclasses import dataclass, replace

import torch

from benchmarks import adapters, adapters_nets, training, training_nets
from benchmarks.adapters_table import AFTER, BEFORE, UNROLLED
from benchmarks.subjects import INFERENCE, NATIVE, NETWORKS, TRAINING, Case
from benchmarks.timing import Call

TITLES = {training_nets.OURS: NATIVE, training_nets.PACKED: 'snnkern, packed spikes', training_nets.SJ: 'SpikingJelly',
          training_nets.SNN: 'snnTorch'}  # fmt: skip
LIBRARIES = {'spikingjelly': 'SpikingJelly', 'snntorch': 'snnTorch', 'norse': 'Norse', 'braincog': 'BrainCog',
             'sinabs': 'sinabs'}  # fmt: skip
LIGHT = 'tutorial6', 'snn7_tiny', 'conv_sequence', 'mnist_cnn'
OURS = NATIVE, 'snnkern, packed spikes', 'snnkern native, unrolled'


@dataclass
class Contestants:
    """Who runs a network: calls that passed the gate, who was wrong and how, who is left out and why."""

    calls: dict[str, Call]
    failed: dict[str, str]
    skipped: dict[str, str]


def cases(size: str) -> list[Case]:
    """Networks of a run: "full" has all.

    "default": those for training, and inference of the light ones of other libraries; "quick": the same, few images.
    """
    small = size == 'quick'
    found = [_case(f'train {net.name}', net.T, net.batch, TRAINING) for net in training_nets.nets(small)]
    for net in adapters_nets.NETS:
        name, batch = f'{net.library}.{net.name}', 2 if small else net.batch
        if size == 'full':
            found += [_case(name, net.T, batch, direction) for direction in (INFERENCE, TRAINING)]
        elif net.name in LIGHT:
            found.append(_case(name, net.T, batch, INFERENCE))
    return found


def _case(name: str, T: int, batch: int, direction: str) -> Case:
    return Case(name, T, batch, torch.float32, direction, group=NETWORKS)


def contestants(case: Case) -> Contestants:
    """Gate, then the calls."""
    if case.op.startswith('train '):
        nets = [net for small in (False, True) for net in training_nets.nets(small)]
        return _steps(next(net for net in nets if (f'train {net.name}', net.batch) == (case.op, case.N)))
    library, _, name = case.op.partition('.')
    net = next(net for net in adapters_nets.NETS if (net.library, net.name) == (library, name))
    return _accelerated(replace(net, batch=case.N), case.direction)


def _steps(net: training_nets.Net) -> Contestants:
    absent = {TITLES[p]: f'{m} is not installed' for p, m in training.PROVIDERS.items()
              if p in TITLES and p not in training.installed()}  # fmt: skip
    apart = training.differences(net, training.installed())
    failed = {TITLES[p]: f'first outputs are {d:.1e} of their norm apart' for p, d in apart.items()
              if not d <= training.FLIPS}  # fmt: skip
    calls = {TITLES[p]: training.Step(net, p) for p in apart if TITLES[p] not in failed}
    return Contestants(calls, failed, absent)


def _accelerated(net: adapters_nets.Net, direction: str) -> Contestants:
    before = LIBRARIES[net.library]
    titles = {BEFORE: before, AFTER: NATIVE, UNROLLED: 'snnkern native, unrolled'}
    if reason := net.missing():
        return Contestants({}, {}, {before: reason})
    x = net.input()
    _, failed = adapters.check(net, x)
    names = [name for name in adapters.names_of(net) if name not in failed]
    calls = {titles[n]: adapters.call_of(adapters.form(net, n), x, direction) for n in names}
    return Contestants(calls, {titles.get(n, n): why for n, why in failed.items()}, {})
