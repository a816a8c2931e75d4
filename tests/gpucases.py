"""Every family of GPU kernels as one function of an input, for tests that try dtypes, sizes, layouts and machines.

All numbers are small multiples of powers of two, which every dtype holds and of which sums and products are exact in
float32. So a run in float64 takes the same course, spike for spike, and its gradients are the truth to compare with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from snnkern import functional
from snnkern.backends import layout, native, reference, triton
from snnkern.charges import IF, LIF, Affine, Synaptic
from snnkern.encode import poisson
from snnkern.fires import Adaptive, Binary, Burst, Signed, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Delayed, Hard, Soft
from snnkern.surrogates import ATan, Sigmoid
from snnkern.testing import assert_grads_close, assert_spikes_equal

T = 19  # beyond an interval of checkpoints in every dtype, and three steps more than a multiple of four
BACKENDS: dict[str, ModuleType] = {'native': native, 'triton': triton, 'reference': reference}
Run = Callable[[Tensor, str], tuple[list[Tensor], list[Tensor]]]


def numbers(shape: tuple[int, ...], seed: int, low: int = -4, high: int = 12, part: int = 8) -> Tensor:
    """Multiples of 1 / part in float32, between low / part and high / part."""
    return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(seed)) / part


def like(t: Tensor, seed: int) -> Tensor:
    """Gradients of both signs for t, in its dtype and layout."""
    return torch.empty_like(t).copy_(numbers(tuple(t.shape), seed, -9, 8))


def differentiated(outputs: list[Tensor | None], inputs: list[Tensor], exact: int) -> tuple[list, list]:
    """The first `exact` outputs, and gradients of all inputs by all outputs that have one."""
    roots = [t for t in outputs if t is not None and t.requires_grad]
    grads = torch.autograd.grad(roots, inputs, [like(t, 50 + i) for i, t in enumerate(roots)])
    return [t.detach() for t in outputs[:exact] if t is not None], list(grads)


@dataclass(frozen=True)
class Layer:
    """A neuron. rows: steps of its coefficients, 0: none; connect: of a residual; constant: one x for all steps;
    traced: the potentials of all steps are wanted."""

    neuron: Neuron
    rows: int = 0
    connect: str = ''
    constant: bool = False
    traced: bool = True

    def coefficients(self, x: Tensor) -> dict[str, Tensor]:
        """Powers of two around 1, of each channel."""
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        names = self.neuron.coefficients if self.rows else ()
        shape = (self.rows, x.shape[2]) if self.rows > 1 else (x.shape[2],)
        made = {name: numbers(shape, 70 + i, 1, 2, 2).to(dtype) for i, name in enumerate(names)}
        return {name: t.requires_grad_() for name, t in made.items()}

    def __call__(self, x: Tensor, backend: str) -> tuple[list, list]:
        """x: [T, B, C, ...]. Outputs: spikes, states, v, sum; gradients of x, v0, the residual and coefficients."""
        x = (x[:1] if self.constant else x).requires_grad_()
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        v0 = torch.empty_like(x[0], dtype=wide).copy_(numbers(tuple(x.shape[1:]), 3, -2, 5)).requires_grad_()
        rows, inputs, options = self.coefficients(x), [x, v0], {}
        if self.connect:
            options = {'residual': like(x, 4).requires_grad_(), 'connect': self.connect}
            options['return_sum'] = self.connect == 'ms'
            inputs.append(options['residual'])
        seen = x.expand(T, *x.shape[1:]) if self.constant else x
        options |= {'coefficients': rows} if rows else {}
        found = functional.multistep(
            seen,
            self.neuron,
            v0=v0,
            return_state=True,
            return_v_seq=self.traced and not rows,
            backend=backend,
            **options,
        )
        return differentiated(list(found), [*inputs, *rows.values()], len(found))


@dataclass(frozen=True)
class Pool:
    """A pool. window: kernel_size, stride, padding, dilation, ceil_mode."""

    mode: str
    window: tuple

    def __call__(self, x: Tensor, backend: str) -> tuple[list, list]:
        """Outputs, last counts; gradients of x and, of a lateral pool, of the first counts."""
        x = x.requires_grad_()
        if self.mode == 'plain':
            return differentiated([functional.max_pool2d(x, *self.window, backend=backend)], [x], 1)
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        state = torch.empty_like(x[0], dtype=wide).copy_(numbers(tuple(x.shape[1:]), 5, -3, 4, 1))
        state = state.to(memory_format=torch.preserve_format)
        function = functional.lateral_pool2d if self.mode == 'lateral' else functional.spike_max_pool2d
        inputs = [x, state.requires_grad_()] if self.mode == 'lateral' else [x]
        found = function(x, *self.window, scale=0.5, state=state, return_state=True, backend=backend)
        return differentiated(list(found), inputs, 2)


@dataclass(frozen=True)
class Pack:
    """Spikes as bits or bytes, and back."""

    kind: str

    def __call__(self, x: Tensor, backend: str) -> tuple[list, list]:
        """x: any numbers, of which counts are made."""
        low, high = {'bits': (0, 1), 'counts': (0, 255), 'signed': (-128, 127)}[self.kind]
        spikes = (x * 64).round().clamp_(low, high).mul_(0.5)
        packed = functional.pack_spikes(spikes, 0.5, self.kind, backend=backend)
        back = functional.unpack_spikes(packed, backend=backend)
        assert back.equal(spikes)
        return [packed.data, back], []


def moments(x: Tensor, backend: str) -> tuple[list, list]:
    """Mean and variance of channels."""
    rows = layout.rows(x) if x.numel() else x
    return [], [BACKENDS[backend].moments(rows, 2)] if x.numel() else []


def draws(x: Tensor, backend: str) -> tuple[list, list]:
    """Poisson spikes of one step's probabilities; elements numbered beyond 2^32."""
    return [poisson(x[0].abs().clamp(max=1), 6, 2**40 + 3, 2**33, backend=backend)], []


SIGNED = Signed(0.5, 3, True, -1.5, 0.5)
# All of multistep's optional tensors, each with and without; states: one, two and three.
FAMILIES: dict[str, Run] = {
    'quick': Layer(Neuron(LIF(2.0), Binary(), Hard(), ATan()), traced=False),
    'soft quick': Layer(Neuron(LIF(2.0, decay_input=False), Binary(0.5, True, True), Soft(), Sigmoid()), traced=False),
    'taking': Layer(Neuron(IF(), SignedMemory(0.5, 4), Soft()), traced=False),
    'neuron': Layer(Neuron(LIF(2.0), Binary(), Hard(), ATan())),
    'burst': Layer(Neuron(IF(), Burst(0.5, 3, real_units=True), Soft(), Sigmoid())),
    'states': Layer(Neuron(Synaptic(0.5, decay=0.5), SignedMemory(0.5, 4), Soft()), connect='ms'),
    'constant': Layer(Neuron(LIF(2.0, c=0.125), Adaptive(0.5, 0.5, 0.5), Hard()), constant=True),
    'rows': Layer(Neuron(Affine(0.5, 0.5, -0.125), SIGNED, Soft()), rows=1, connect='sew'),
    'steps': Layer(Neuron(Affine(0.5, 0.5), Binary(), Hard()), rows=T),
    'delayed': Layer(Neuron(Affine(0.5, 0.5), Binary(strict=True), Delayed()), rows=1),
    'lateral tiles': Pool('lateral', (2,)),
    'lateral': Pool('lateral', (3, 2, 1)),
    'lateral large': Pool('lateral', (4, 3, 2, 1, True)),
    'lateral dilated': Pool('lateral', ((3, 2), (2, 1), (1, 0), (1, 2))),
    'spike_max tiles': Pool('spike_max', (2,)),
    'spike_max': Pool('spike_max', ((2, 3), (1, 2), (1, 0), (2, 1), True)),
    'spike_max large': Pool('spike_max', (4, 3, 2, 1, True)),
    'plain': Pool('plain', (3, 2, 1)),
    'bits': Pack('bits'),
    'counts': Pack('counts'),
    'signed': Pack('signed'),
    'moments': moments,
    'poisson': draws,
}
LAYOUTS = ('contiguous', 'channels_last', 'gaps', 'transposed', 'misaligned')


def laid(t: Tensor, name: str) -> Tensor:
    """A copy of t [T, B, C, H, W] in this layout; the last three are not rows of a dense, aligned block."""
    if name == 'channels_last':
        return t.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    if name == 'gaps':
        return torch.stack([t, torch.full_like(t, torch.nan)], -1)[..., 0]
    if name == 'transposed':
        return t.transpose(0, 1).contiguous().transpose(0, 1)
    if name == 'misaligned':
        return torch.cat([t.new_zeros(1), t.flatten()])[1:].view_as(t)
    return t.contiguous()


def given(family: str, size: int, channels_last: bool) -> Tensor:
    """x [T, B, C, H, W] in float32 of which `size` values are together: windows of a row, channels, or neurons."""
    pool = isinstance(FAMILIES[family], Pool)
    steps, height = (3, 4) if pool else (T, 1)
    shape = (
        (steps, 1, size, height, 4 if pool else 1)
        if channels_last
        else (steps, 1, 1, height, max(3, 2 * size) if pool else size)
    )
    if not size:
        shape = (steps, 0, 2, 4, 4)
    elif family in ('rows', 'steps', 'delayed', 'moments') and not channels_last:
        shape = (steps, 3, 2, 1, size)
    return numbers(shape, 7, -2, 7, 2) if pool else numbers(shape, 7)


def check(backend: str, family: str, dtype: torch.dtype, size: int, order: str) -> None:
    """Outputs equal those of the reference to the bit, gradients (and moments) are close to those in float64."""
    run, x = FAMILIES[family], given(family, size, order == 'channels_last')
    outputs, gradients = run(laid(x.to(dtype), order), backend)
    for actual, expected in zip(outputs, run(laid(x.to(dtype), order), 'reference')[0], strict=True):
        assert_spikes_equal(actual, expected)
    truth = run(laid(x.double(), order), 'reference')
    for actual, expected in zip(gradients, truth[1], strict=True):
        sums = actual.dim() < x.dim() - 1  # of coefficients
        # Rounded as the gradient is: a norm of few numbers would be that of their rounding.
        assert_grads_close(actual, expected.to(actual.dtype), 'sums' if sums else actual.dtype)
    for actual, expected in zip(outputs, truth[0], strict=True):  # or gradients would be of another course
        if expected.is_floating_point():
            torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)
