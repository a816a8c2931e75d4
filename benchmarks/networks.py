"""Whole networks as cases: training steps of `benchmarks.training_nets`, `accelerate` of `benchmarks.adapters_nets`,
and converted ones by the event engine, of `benchmarks.engine_cases`.

T steps of N images a call. The gate of training: outputs, loss and gradients of eight images as on the reference
backend; of accelerated networks, outputs and gradients as before. A library's network before `accelerate` carries the
library's name.
"""

from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

import snnkern
from benchmarks import adapters, adapters_nets, engine_cases, training, training_nets
from benchmarks.adapters_table import AFTER, BEFORE, UNROLLED
from benchmarks.subjects import INFERENCE, NATIVE, NETWORKS, TRAINING, Case, Provider, WrongError
from benchmarks.timing import Call

TITLES = {training_nets.OURS: NATIVE, training_nets.PACKED: 'snnkern, packed spikes', training_nets.SJ: 'SpikingJelly',
          training_nets.SNN: 'snnTorch'}  # fmt: skip
LIBRARIES = {'spikingjelly': 'SpikingJelly', 'snntorch': 'snnTorch', 'norse': 'Norse', 'braincog': 'BrainCog',
             'sinabs': 'sinabs'}  # fmt: skip
LIGHT = 'tutorial6', 'snn7_tiny', 'conv_sequence', 'mnist_cnn'
UNROLLED_TITLE = f'{NATIVE}, unrolled'


class UnknownError(Exception):
    """There is nothing to compare a network with."""


def cases(size: str) -> list[Case]:
    """Networks of a run: "full" has all.

    "default": those for training, converted ones, and inference of the light ones of other libraries; "quick": the same
    with few images, and one converted network.
    """
    small = size == 'quick'
    found = [_case(f'train {net.name}', net.T, net.batch, TRAINING) for net in training_nets.nets(small)]
    for net in adapters_nets.NETS:
        name, batch = f'{net.library}.{net.name}', 2 if small else net.batch
        if size == 'full':
            found += [_case(name, net.T, batch, direction) for direction in (INFERENCE, TRAINING)]
        elif net.name in LIGHT:
            found.append(_case(name, net.T, batch, INFERENCE))
    names = engine_cases.NAMES[size]
    return found + [_case(f'{engine_cases.PREFIX}{name}', engine_cases.T, 1, INFERENCE) for name in names]


def _case(name: str, T: int, batch: int, direction: str) -> Case:
    return Case(name, T, batch, torch.float32, direction, group=NETWORKS)


def providers(case: Case) -> tuple[Provider, ...]:
    """Who can run a network. `make` gives its call, or raises `WrongError` or `UnknownError`: the gate is in it."""
    if case.op.startswith('train '):
        nets = [net for small in (False, True) for net in training_nets.nets(small)]
        steps = _Steps(next(net for net in nets if (f'train {net.name}', net.batch) == (case.op, case.N)))
        return tuple(
            Provider(TITLES[name], partial(steps.call, name), (package,), ours=package == 'snnkern')
            for name, package in training.PROVIDERS.items()
            if name in TITLES
        )
    if case.op.startswith(engine_cases.PREFIX):
        return engine_cases.providers(case.op.removeprefix(engine_cases.PREFIX), case.N)
    library, _, name = case.op.partition('.')
    net = next(net for net in adapters_nets.NETS if (net.library, net.name) == (library, name))
    forms = _Forms(replace(net, batch=case.N), case.direction)
    titles = {BEFORE: LIBRARIES[library], AFTER: NATIVE, UNROLLED: UNROLLED_TITLE}
    return tuple(
        Provider(titles[n], partial(forms.call, n), ours=n != BEFORE, absent=net.missing() or '')
        for n in adapters.names_of(net)
    )


class _Steps:
    """Training steps; expected is what the network computes on the reference backend."""

    def __init__(self, net: training_nets.Net) -> None:
        self.net = net

    @cached_property
    def expected(self) -> tuple[Tensor, dict[str, Tensor]]:
        with snnkern.use_backend('reference'):
            x = training_nets.encoder(self.net, training_nets.OURS)(self.net.images()[0][: training.FEW])
            return x, training.results(self.net, training_nets.OURS, x)

    def call(self, name: str) -> Call:
        x, expected = self.expected
        if why := training.wrong(training.results(self.net, name, x), expected):
            raise WrongError(why)
        return training.Step(self.net, name)


class _Forms:
    """A library's network before and after `accelerate`; expected is what it computes before."""

    def __init__(self, net: adapters_nets.Net, direction: str) -> None:
        self.net, self.direction, self.x = net, direction, net.input()

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        return adapters.results(adapters.form(self.net, BEFORE), self.x)

    def call(self, name: str) -> Call:
        try:
            expected = self.expected
        except Exception as error:
            raise UnknownError(f'{self.net.library} fails: {error}') from error
        for each in {BEFORE: (), AFTER: (adapters.APART, AFTER)}.get(name, (name,)):
            found = adapters.results(adapters.form(self.net, each), self.x)
            if why := adapters.wrong(adapters.compared(found, expected)):
                raise WrongError(f'{each}: {why}' if each == adapters.APART else why)
        return adapters.call_of(adapters.form(self.net, name), self.x, self.direction)
