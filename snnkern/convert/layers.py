"""The layers of a converted network: neurons, pools and analogue parts for all T steps at once.

All take tensors with time folded into the batch, [T*B, ...]; how many steps a call holds is what their clock says.
What they carry from call to call is forgotten by `reset()`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnkern import functional
from snnkern.convert.activations import Activation
from snnkern.neurons import Neuron


class Clock:
    """Where a network is in time, shared by all its layers. steps: of this call; start: steps before it.

    seed, offset: of random input, and the index of the first sample among all that draw from it.
    """

    def __init__(self) -> None:
        self.steps = 1
        self.start = 0
        self.seed = 0
        self.offset = 0


class Timed(nn.Module):
    """A layer that knows the clock of its network and may carry state between calls. name: of its replacement."""

    causal = True  # step t needs nothing of later steps
    loops = False  # runs as a Python loop over steps

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.name = ''
        self.state: Any = None

    @property
    def warm_up(self) -> int:
        """Trial steps that the layer wants ahead of those that count."""
        return 0

    @property
    def T(self) -> int:  # noqa: N802
        """Steps of this call."""
        return self.clock.steps

    def unfold(self, x: Tensor) -> Tensor:
        """[T*B, ...] as [T, B, ...]."""
        return x.unflatten(0, (self.T, -1))

    def reset(self) -> None:
        """Forget the state."""
        self.state = None

    def restart(self) -> None:
        """Start the steps that count, after the trial."""
        self.reset()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'Timed':
        """As for any module, but own numbers (thresholds, potentials) stay float32: half would round each spike."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, now in self._buffers.items():
            old = before[name]
            if now is not None and old is not None and now.dtype != old.dtype:
                self._buffers[name] = old.to(now.device)
        return self


class Spiking(Timed):
    """A neuron in the place of an activation: mean output over T steps ~ activation(mean input).

    neuron: what runs, with real units (s * theta), so that sums and concatenations need no scales. coefficients:
    numbers of it that are tensors, one or per channel [C] (`Neuron.coefficients`); parameters among them stay such.
    v0: potential before the first step, a number, [C], or a tensor of one input. constant_input: x is [B, ...], the
    same at every step. activation: what it stands for. options: numbers that a class derived from this takes besides;
    JSON must hold them.
    """

    activation = Activation()
    integral = True  # outputs are multiples of v_threshold
    multistep: Callable[..., Any] = staticmethod(functional.multistep)  # or what gives the same spikes

    def __init__(
        self,
        neuron: Neuron,
        coefficients: dict[str, Tensor] | None = None,
        v0: Tensor | float = 0.0,
        constant_input: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.constant_input = constant_input
        self.options = options
        self.set(neuron, coefficients or {}, v0)

    def set(self, neuron: Neuron, coefficients: dict[str, Tensor], v0: Tensor | float) -> None:
        """Become another neuron."""
        for name in getattr(self, 'names', ()):
            delattr(self, f'of_{name}')
        self.neuron = neuron
        self.names = tuple(coefficients)
        for name, value in coefficients.items():
            _register(self, f'of_{name}', value)
        self.register_buffer('v0', v0 if isinstance(v0, Tensor) else torch.tensor(float(v0)))

    @property
    def coefficients(self) -> dict[str, Tensor]:
        """The numbers of the neuron that are tensors."""
        return {name: getattr(self, f'of_{name}') for name in self.names}

    @property
    def v_threshold(self) -> Tensor | float:
        """theta, the value of a spike: a number, or [C]."""
        return self.coefficients.get('v_threshold', self.neuron.fire.v_threshold)

    @property
    def max_spikes(self) -> int:
        """Most spikes of one step."""
        return self.neuron.fire.positive.count

    def start(self, x: Tensor) -> Tensor:
        """The potential before the first step, for a step x [B, ...]."""
        return self.broad(self.get_buffer('v0').float(), x).expand(x.shape).contiguous()

    def states(self, x: Tensor) -> Tensor:
        """What the neuron starts with, v and its other states, in the memory layout of a step x [B, ...]."""
        like = torch.empty_like(x, dtype=torch.float32)
        count = len(self.neuron.states)
        found = torch.empty_strided((count, *like.shape), (like.numel(), *like.stride()), device=x.device)
        found[0] = self.broad(self.get_buffer('v0').float(), x)
        found[1:] = 0
        return found if count > 1 else found[0]

    @staticmethod
    def broad(value: Tensor | float, x: Tensor) -> Tensor:
        """A number, [C], or a tensor of one input, to be computed with a step x [B, C, ...]."""
        value = torch.as_tensor(value, device=x.device)
        return value.view(-1, *[1] * (x.dim() - 2)) if value.dim() == 1 else value

    def run(self, x: Tensor, state: Tensor | None, constant: bool) -> tuple[Tensor, Tensor]:
        """Spikes [T, B, ...] and the last state, from x [T, B, ...] or, if constant, [B, ...]."""
        return self._multistep(x, state, self.T if constant else None)

    def _multistep(self, x: Tensor, state: Tensor | None, T: int | None = None, **more: Any) -> tuple[Tensor, Tensor]:
        state = self.states(x[0] if T is None else x) if state is None else state
        s, last = self.multistep(
            x, self.neuron, v0=state, T=T, coefficients=self.coefficients, return_state=True, **more
        )
        return s, last

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Spikes of the current x, or of x + residual (both with time)."""
        if residual is not None and (x.shape != residual.shape or x.dtype != residual.dtype):
            x, residual = x + residual, None
        x = x if self.constant_input else self.unfold(x)
        if residual is None:
            s, self.state = self.run(x, self.state, self.constant_input)
        else:
            s, self.state = self._multistep(x, self.state, residual=self.unfold(residual), connect='ms')
        return s.flatten(0, 1)


class LateralPool(Timed):
    """The spiking pool in the place of a max-pool of spikes.

    pool: its geometry; scale: theta of the neurons before it, a number or [C]. gated: the gate of Rueckauer et al. in
    place of lateral inhibition.
    """

    def __init__(self, pool: nn.MaxPool2d, scale: Tensor | float, gated: bool = False) -> None:
        super().__init__()
        self.pool = pool
        self.gated = gated
        self.use(scale)

    def use(self, scale: Tensor | float) -> None:
        """Take what one spike is worth."""
        self.scale: Tensor | float
        if hasattr(self, 'scale'):
            del self.scale
        if isinstance(scale, Tensor):
            _register(self, 'scale', scale)
        else:
            self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        p = self.pool
        geometry = (p.kernel_size, p.stride, p.padding, p.dilation, p.ceil_mode)
        pool = functional.spike_max_pool2d if self.gated else functional.lateral_pool2d
        if not isinstance(self.scale, Tensor):
            out, self.state = pool(self.unfold(x), *geometry, scale=self.scale, state=self.state, return_state=True)
            return out.flatten(0, 1)
        # Counts per channel: whole numbers, so that sums stay exact; sums of thetas would not.
        scale = self.scale.view(-1, 1, 1)
        counts = x / scale
        counts = self.unfold(counts + (counts.round() - counts).detach() if counts.requires_grad else counts.round_())
        out, self.state = pool(counts, *geometry, state=self.state, return_state=True)
        return (out.flatten(0, 1) * scale).to(x.dtype)


class Analogue(Timed):
    """What cannot spike, on the running mean of its inputs: after t steps its outputs sum to t * f(mean input).

    call: f, a module. varying: which of its inputs have time. per_step: f of every step as it is, what
    published converters do, instead. Exact for any f that treats the batch (dimension 0) input by input. Source: the
    closed form of the lateral pool, M_t - M_{t-1}, for other functions.
    """

    def __init__(self, call: nn.Module, varying: tuple[bool, ...], per_step: bool = False) -> None:
        super().__init__()
        self.call = call
        self.varying = varying
        self.per_step = per_step

    def forward(self, *inputs: Tensor) -> Any:
        if self.per_step:
            return self.call(*inputs)
        before, last = self.state or ([None] * len(inputs), None)
        sums, means = [], []
        for x, varies, s in zip(inputs, self.varying, before, strict=True):
            total = self._sums(x, s) if varies else None
            sums.append(None if total is None else total[-1])
            means.append(x if total is None else (total / self._time(total)).to(x.dtype).flatten(0, 1))
        parts, shape = pytree.tree_flatten(self.call(*means))
        reached = [self._reached(part) for part in parts]
        olds = [None] * len(parts) if last is None else last
        self.state = sums, [None if part is None else part[-1] for part in reached]
        steps = zip(reached, olds, parts, strict=True)
        return pytree.tree_unflatten([_differences(r, o, p) for r, o, p in steps], shape)

    def _sums(self, x: Tensor, before: Tensor | None) -> Tensor:
        total = self.unfold(precise(x)).cumsum(0)
        return total if before is None else total + before

    def _time(self, like: Tensor) -> Tensor:
        first = self.clock.start + 1
        t = torch.arange(first, first + self.T, device=like.device, dtype=like.dtype)
        return t.view(-1, *[1] * (like.dim() - 1))

    def _reached(self, y: Tensor | None) -> Tensor | None:
        if y is None:  # attention without weights
            return None
        y = self.unfold(precise(y))
        return y * self._time(y)


def _register(module: nn.Module, name: str, value: Tensor) -> None:
    """Give a module a tensor, which training may change if it is a parameter."""
    if isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def precise(x: Tensor) -> Tensor:
    """At least float32, for sums over time."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _differences(sums: Tensor | None, before: Tensor | None, like: Tensor) -> Tensor | None:
    """What each step adds to reach the sums [T, B, ...], folded, in the dtype of `like`."""
    if sums is None:
        return None
    first = sums[:1] if before is None else sums[:1] - before
    return torch.cat([first, sums[1:] - sums[:-1]]).flatten(0, 1).to(like.dtype)


class OverTime(Timed):
    """Something without time where time is needed: a tensor is repeated, a batch size or shape multiplied."""

    def forward(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.expand(self.T, *x.shape).flatten(0, 1)
        if isinstance(x, int | float):
            return x * self.T
        if any(isinstance(part, Tensor) for part in x):
            return tuple(map(self.forward, x))
        return (x[0] * self.T, *x[1:])
