"""What only a device has: graphs, streams, several devices, compiled calls, memory. Each check is a case, too.

Its results are those of the same calls in the ordinary way (`plain`), by the reference on the CPU.
"""

import gc
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import snnkern
from snnkern import LIF, Binary, Burst, Neuron, Soft, encode, functional
from snnkern.selftest.calls import grid
from snnkern.selftest.compare import Result, Results

SIZE = (12, 2, 8, 16, 16)  # T, B, C, H, W
NEURON = Neuron(LIF(3.0), Burst(0.75, 3), Soft())
ROUNDS = 3  # inputs that a graph is replayed with
SLEEP = 20_000_000  # cycles, about 10 ms, for which a stream lies behind the others


def inputs(device: torch.device, count: int = ROUNDS) -> list[Tensor]:
    """Inputs [T, B, C, H, W], all different."""
    return [grid(SIZE, torch.float32, seed).to(device) for seed in range(count)]


CALLS: dict[str, Callable[..., Any]] = {
    'multistep': lambda x, backend: functional.multistep(x, NEURON, backend=backend),
    'lateral_pool2d': lambda x, backend: functional.lateral_pool2d(x.round(), 3, 2, 1, backend=backend),
    'spike_max_pool2d': lambda x, backend: functional.spike_max_pool2d(x.round(), 2, backend=backend),
    'poisson': lambda x, backend: encode.poisson(x[0].clamp(0, 1), 5, 7, check=False, backend=backend),
    'pack_spikes': lambda x, backend: (
        functional.pack_spikes((x > 0.5).float(), kind='bits', check=False, backend=backend).data
    ),
}


class Training:
    """A layer whose weights and thresholds learn by plain gradient descent, everything in place: what a graph needs."""

    def __init__(self, device: torch.device, backend: str) -> None:
        self.weight = torch.ones(8, 1, 1, device=device, requires_grad=True)
        self.theta = torch.full((8,), 0.5, device=device, requires_grad=True)
        self.backend = backend

    def step(self, x: Tensor) -> Tensor:
        """One step on x; the weights after it."""
        with snnkern.use_backend(self.backend):
            own = {'v_threshold': self.theta}
            s = functional.multistep(x * self.weight, Neuron(LIF(2.0), Binary(0.5)), coefficients=own)
            loss = (functional.lateral_pool2d(s, 2).mean((0, 1, 3, 4)) - 0.2).square().sum()
        with torch.no_grad():
            for p, grad in zip(self.parameters, torch.autograd.grad(loss, self.parameters), strict=True):
                p.sub_(grad, alpha=0.1)
        return torch.cat([p.detach().flatten() for p in self.parameters])

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        """What learns."""
        return self.weight, self.theta


def captured(call: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Callable[[], None]]:
    """The output of `call(x)` as a CUDA graph, and what runs it again."""
    aside = torch.cuda.Stream(x.device)
    aside.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(aside):  # compilers and allocators do their first work outside the graph
        for _ in range(2):
            call(x)
    torch.cuda.current_stream(x.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(x)
    return out, graph.replay


@dataclass(frozen=True)
class DeviceCase:
    """A check by its name in `CHECKS`."""

    name: str

    needs = 'multistep'
    dtype = torch.float32

    @property
    def op(self) -> str:
        """The row of the table."""
        return self.name.partition(':')[0]

    def refusal(self, device: torch.device) -> str | None:
        """Why this cannot be checked there, or None."""
        if device.type != 'cuda':
            return 'needs a CUDA device'
        if self.op == 'CUDA graph' and os.environ.get('PYTORCH_NO_CUDA_MEMORY_CACHING'):
            return "needs torch's caching allocator, which PYTORCH_NO_CUDA_MEMORY_CACHING switches off"
        if self.op == 'devices' and torch.cuda.device_count() < 2:
            return 'needs two CUDA devices'
        if self.op == 'torch.compile' and find_spec('triton') is None:
            return 'needs triton, into which torch.compile writes'
        return None

    def results(self, backend: str, device: torch.device) -> Results:
        """Of the device's way to run, or on the CPU of the ordinary one."""
        plain = device.type == 'cpu'
        with nullcontext() if plain else torch.cuda.device(device):
            return CHECKS[self.name](backend, device, plain)


def graph_of_forward(name: str, backend: str, device: torch.device, plain: bool) -> Results:
    """Replayed with other inputs, a captured call gives what it gives on them."""
    call = partial(CALLS[name], backend=backend)
    xs = inputs(device)
    if plain:
        return {f'replay {i}': Result(call(x)) for i, x in enumerate(xs)}
    x = torch.zeros_like(xs[0])
    out, replay = captured(call, x)
    found: Results = {}
    for i, new in enumerate(xs):
        x.copy_(new)
        replay()
        found[f'replay {i}'] = Result(out.clone())
    return found


def graph_of_training(backend: str, device: torch.device, plain: bool) -> Results:
    """A training step with its update, captured: steps on new inputs go on from the weights of the last."""
    xs, training = inputs(device), Training(device, backend)
    if plain:
        return {f'step {i}': Result(training.step(x), 'sums') for i, x in enumerate(xs)}
    start, x = [p.detach().clone() for p in training.parameters], xs[0].clone()
    out, replay = captured(training.step, x)
    for p, value in zip(training.parameters, start, strict=True):
        p.detach().copy_(value)
    found: Results = {}
    for i, new in enumerate(xs):
        x.copy_(new)
        replay()
        found[f'step {i}'] = Result(out.clone(), 'sums')
    return found


def streams(backend: str, device: torch.device, plain: bool) -> Results:
    """Calls of several streams at once, on inputs that are written late: a kernel of another stream would be early."""
    xs = inputs(device, 4)
    found: Results = {}
    for i, new in enumerate(xs):
        if plain:
            found |= both_ways(f'stream {i}: ', new, backend)
            continue
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            x = torch.zeros_like(new)
            torch.cuda._sleep(SLEEP)
            found |= both_ways(f'stream {i}: ', x.copy_(new), backend)
    if not plain:
        torch.cuda.synchronize(device)
    return found


def both_ways(name: str, x: Tensor, backend: str) -> Results:
    """Spikes and the gradient of x."""
    x = x.detach().requires_grad_()
    s = functional.multistep(x, NEURON, backend=backend)
    (grad,) = torch.autograd.grad(s, x, s.detach() - 0.5)
    return {f'{name}spikes': Result(s), f'{name}gradient of x': Result(grad, torch.float32)}


def cuda(index: int) -> torch.device:
    """The device of this index."""
    return torch.device('cuda', index)


def devices(backend: str, device: torch.device, plain: bool) -> Results:
    """On every device while another one is the current one."""
    (x,) = inputs(torch.device('cpu'), 1)
    found: Results = {}
    count = torch.cuda.device_count()
    for i in range(count):
        if plain:
            found |= both_ways(f'cuda:{i}: ', x, backend)
            continue
        with torch.cuda.device(cuda((i + 1) % count)):
            found |= both_ways(f'cuda:{i}: ', x.to(cuda(i)), backend)
    return found


def compiled(backend: str, device: torch.device, plain: bool) -> Results:
    """Forward and backward as one graph of torch.compile."""

    def call(x: Tensor) -> Tensor:
        return functional.lateral_pool2d(functional.multistep(2 * x, NEURON, backend=backend), 2, backend=backend)

    run = call if plain else torch.compile(call, fullgraph=True)
    (x,) = inputs(device, 1)
    x.requires_grad_()
    out = run(x)
    (grad,) = torch.autograd.grad(out, x, out.detach() - 0.5)
    return {'outputs': Result(out), 'gradient of x': Result(grad, torch.float32)}


def memory(backend: str, device: torch.device, plain: bool) -> Results:
    """What is allocated after twenty more training steps than a few."""
    (x,), grown = inputs(device, 1), 0
    if not plain:
        training, before = Training(device, backend), 0
        for i in range(23):
            training.step(x)
            if i == 2:
                gc.collect()
                torch.cuda.synchronize(device)
                before = torch.cuda.memory_allocated(device)
        grown = torch.cuda.memory_allocated(device) - before
    return {'bytes more': Result(torch.tensor([grown]))}


def again(backend: str, device: torch.device, plain: bool) -> Results:
    """The same call twice: how many bits differ."""
    (x,) = inputs(device, 1)
    differ = 0
    for name in ('multistep', 'coefficients', 'lateral_pool2d'):
        once, twice = (_gradients(name, x, backend) for _ in range(2))
        differ += sum(int((a != b).sum()) for a, b in zip(once, twice, strict=True))
    return {'values that differ': Result(torch.tensor([differ]))}


def _gradients(name: str, x: Tensor, backend: str) -> tuple[Tensor, ...]:
    x, theta = x.detach().requires_grad_(), torch.full((8,), 0.75, device=x.device, requires_grad=True)
    if name == 'coefficients':
        s = functional.multistep(x, Neuron(), coefficients={'v_threshold': theta}, backend=backend)
        return s.detach(), *torch.autograd.grad(s.square().sum(), (x, theta))
    out = CALLS[name](x, backend)
    return out.detach(), *torch.autograd.grad(out.square().sum(), x)


CHECKS: dict[str, Callable[[str, torch.device, bool], Results]] = {
    **{f'CUDA graph: {name}': partial(graph_of_forward, name) for name in CALLS},
    'CUDA graph: training step': graph_of_training,
    'streams': streams,
    'devices': devices,
    'torch.compile': compiled,
    'memory': memory,
    'same twice': again,
}
