"""Calls of the public functions: memory layouts, BatchNorm, encoder, packed spikes; each a case like `Recurrence`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import snnkern
from snnkern import Burst, Neuron, Soft, backends, encode, functional
from snnkern.backends import layout
from snnkern.selftest.compare import Result, Results
from snnkern.selftest.pools import channels_last


def misaligned(x: Tensor) -> Tensor:
    """The same values in memory that begins one element behind a multiple of 16 bytes."""
    return torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x)


# Each turns a contiguous tensor [T, B, C, H, W] into one of the same values in another layout.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    'contiguous': lambda x: x,
    'channels last': channels_last,
    'transposed step': lambda x: x.transpose(1, 4).contiguous().transpose(1, 4),
    'misaligned': misaligned,
    'time innermost': lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    'every other': lambda x: torch.stack([x, x], -1)[..., 0],
    'slice of channels': lambda x: torch.cat([x, x], 2)[:, :, x.shape[2] :],
}
BURST = Neuron(fire=Burst(0.75, 3), reset=Soft())


def grid(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 1) -> Tensor:
    """Multiples of 0.1 around the threshold."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(-5, 17, shape, generator=g) / 10).to(dtype)


@dataclass(frozen=True)
class Call:
    """What all cases of this file have in common."""

    dtype: torch.dtype

    needs = 'multistep'

    def refusal(self, device: torch.device) -> str | None:
        """Runs everywhere."""
        return None

    def gradients(self, output: Tensor, *inputs: Tensor, seed: int = 2) -> tuple[Tensor, ...]:
        """Of random upstream gradients, the same on every device."""
        g = torch.Generator().manual_seed(seed)
        upstream = torch.randn(output.shape, generator=g).to(output.dtype).to(output.device)
        return torch.autograd.grad(output, inputs, upstream)


@dataclass(frozen=True)
class Layout(Call):
    """multistep through autograd. x, state: names of `LAYOUTS`; the gradient comes in the layout of the state."""

    x: str
    state: str = 'contiguous'
    neuron: Neuron = BURST

    op = 'layouts'

    def results(self, backend: str, device: torch.device) -> Results:
        """Spikes, last state, gradients; contiguous, since reference and kernels see what the layouts leave."""
        shape = (17, 2, 3, 4, 8)  # whole vectors of every dtype: wide accesses where memory is aligned
        first, second = LAYOUTS[self.x], LAYOUTS[self.state]
        x = first(grid(shape, self.dtype).to(device)).detach().requires_grad_()
        v0 = second(grid(shape, torch.float32, 3).to(device))[1].detach().requires_grad_()
        s, v = functional.multistep(x, self.neuron, v0=v0, return_state=True, backend=backend)
        g = torch.Generator().manual_seed(2)
        grads = [second(torch.randn(shape, generator=g).to(t.dtype).to(device)) for t in (s, v)]
        back = torch.autograd.grad([s, v], [x, v0], [grads[0], grads[1][2]])
        found = {'spikes': Result(s.contiguous()), 'last state': Result(v.contiguous())}
        for name, t in zip(('gradient of x', 'gradient of the state'), back, strict=True):
            found[name] = Result(t.contiguous(), self.dtype)
        return found


@dataclass(frozen=True)
class Moments(Call):
    """Mean and variance by channel. last: channels-last, or C = the last of two dimensions."""

    shape: tuple[int, ...]
    last: bool = False

    op = needs = 'moments'

    def results(self, backend: str, device: torch.device) -> Results:
        """In float64, of float32 sums."""
        g = torch.Generator().manual_seed(1)
        means = torch.randn(self.shape[2], *[1] * (len(self.shape) - 3), generator=g)
        x = 2 * torch.randn(self.shape, generator=g) + means
        x = layout.rows((channels_last(x) if self.last else x).to(self.dtype).to(device))
        mean, variance = backends.module(backend).moments(x, 2)
        return {'mean': Result(mean, torch.float32), 'variance': Result(variance, torch.float32)}


@dataclass(frozen=True)
class BatchNorm(Call):
    """batch_norm_neuron in training, with a factor for each step and running statistics.

    The inputs are of both signs by pairs around a mean: their moments are exact on every device, and so are spikes.
    """

    neuron: Neuron
    size: tuple[int, ...] = (4, 2, 5, 8, 8)
    last: bool = False

    op = 'BatchNorm + neuron'

    def _x(self) -> Tensor:
        T, B, C, H, W = self.size
        g = torch.Generator().manual_seed(1)
        half = torch.randint(-12, 13, (T * B * H * W // 2, C), generator=g) / 4
        both = torch.cat([half, -half])[torch.randperm(T * B * H * W, generator=g)]
        x = both.view(T, B, H, W, C).movedim(-1, 2).contiguous() + torch.arange(C).view(-1, 1, 1) / 4
        return (channels_last(x) if self.last else x).to(self.dtype)

    def results(self, backend: str, device: torch.device) -> Results:
        """Spikes, running statistics, gradients of x and of all parameters."""
        T, C = self.size[0], self.size[2]
        x = self._x().to(device).requires_grad_()
        own = [1 + grid((size,), torch.float32, i).to(device) / 4 for i, size in enumerate((C, C, T))]
        weight, bias, scale = (t.requires_grad_() for t in own)
        running = torch.zeros(C, device=device), torch.ones(C, device=device)
        given: dict[str, Any] = {'weight': weight, 'bias': bias, 'scale': scale, 'backend': backend}
        s = functional.batch_norm_neuron(x, self.neuron, *running, **given)
        grad_x, *grads = self.gradients(s, x, weight, bias, scale)
        found = {
            'spikes': Result(s),
            'gradient of x': Result(grad_x, self.dtype if self.dtype.itemsize < 4 else 'sums'),
        }
        # Together: one number alone may cancel to nothing.
        found['gradients of weight, bias, scale'] = Result(torch.cat(grads), 'sums')
        return found | {name: Result(t, torch.float32) for name, t in zip(('mean', 'variance'), running, strict=True)}


@dataclass(frozen=True)
class Poisson(Call):
    """The encoder. last: channels-last; misaligned: memory that begins between two vectors."""

    shape: tuple[int, ...]
    T: int
    seed: int
    offset: int = 0
    last: bool = False
    misaligned: bool = False

    op = needs = 'poisson'

    def results(self, backend: str, device: torch.device) -> Results:
        """Spikes."""
        x = torch.rand(self.shape, generator=torch.Generator().manual_seed(1)).to(self.dtype)
        x = x.to(memory_format=torch.channels_last) if self.last else x
        x = misaligned(x.to(device)) if self.misaligned else x.to(device)
        return {'spikes': Result(encode.poisson(x, self.T, self.seed, self.offset, backend=backend))}


@dataclass(frozen=True)
class Pack(Call):
    """Spikes as bits or bytes and back, and the refusal of what is no spike."""

    n: int
    kind: str
    scale: float = 1.0
    misaligned: bool = False

    op = needs = 'pack_spikes'

    def results(self, backend: str, device: torch.device) -> Results:
        """Data, the values unpacked from them, and whether one wrong value at each of three places is seen."""
        low, high = {'bits': (0, 1), 'counts': (0, 255), 'signed': (-128, 127)}[self.kind]
        counts = torch.randint(low, high + 1, (self.n,), generator=torch.Generator().manual_seed(1))
        x = (counts.float() * torch.tensor(self.scale)).to(self.dtype).to(device)
        x = misaligned(x) if self.misaligned else x
        module = backends.module(backend)
        data = module.pack_spikes(x, self.kind, self.scale, True)
        found = {'data': Result(data)}
        if data is not None:
            found['unpacked'] = Result(module.unpack_spikes(data, self.kind, self.scale, self.n, self.dtype))
        places = sorted({0, self.n // 2, self.n - 1}) if self.n else []
        seen = [self._refused(module, x, at, value) for at in places for value in (0.3, -0.0, torch.nan, torch.inf)]
        return found | {'refusals': Result(torch.tensor(seen))}

    def _refused(self, module: Any, x: Tensor, at: int, value: float) -> bool:
        wrong = x.clone()
        wrong[at] = value
        return module.pack_spikes(wrong, self.kind, self.scale, True) is None


@dataclass(frozen=True)
class Saved(Call):
    """A training step whose saved spikes are packed (`compress_saved_spikes`)."""

    neuron: Neuron

    op = 'packed saved spikes'

    def results(self, backend: str, device: torch.device) -> Results:
        """Gradients through a neuron, a pool that saves spikes, and weights that do."""
        x = grid((6, 4, 8, 16, 16), self.dtype).to(device).requires_grad_()
        weight = grid((8, 1, 1), self.dtype, 2).to(device).requires_grad_()
        with snnkern.use_backend(backend), snnkern.compress_saved_spikes():
            s = functional.multistep(x, self.neuron)
            out = functional.max_pool2d(s, 2)[..., :1, :1] + (s * weight)
        grads = self.gradients(out, x, weight)
        return {
            'output': Result(out),
            'gradient of x': Result(grads[0], self.dtype),
            'gradient of the weight': Result(grads[1], self.dtype if self.dtype.itemsize < 4 else 'sums'),
        }
