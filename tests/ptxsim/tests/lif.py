"""Inputs, launches and the reference of the sample kernels."""

import ctypes
from dataclasses import dataclass, field

import numpy as np
import torch

from ptxsim import GPU, FakeGPU, Module, Run

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
NAMES = ['If', 'I6__half', 'I13__nv_bfloat16']
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}
THRESHOLD, ALPHA, THREADS = 1.0, 4.0, 128


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float32 numbers."""
    return tensor.float().numpy()


def bits(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's bit patterns."""
    return tensor.contiguous().view(torch.int16 if tensor.element_size() == 2 else torch.int32).numpy()


@dataclass
class Case:
    """Random inputs of T steps and N neurons, and the reference results."""

    dtype: torch.dtype
    steps: int
    neurons: int
    decay: float = 0.5
    x: torch.Tensor = field(init=False)
    v0: torch.Tensor = field(init=False)
    gs: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        self.x = (normal(self.steps, self.neurons) * 1.5 + 0.5).to(self.dtype)
        self.v0 = (normal(self.neurons) * 0.3).to(self.dtype)
        self.gs = normal(self.steps, self.neurons).to(self.dtype)

    def forward(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reference spikes, potentials before reset, and final potential."""
        x, m = numbers(self.x), numbers(self.v0).copy()
        h, s = np.zeros_like(x), np.zeros_like(x)
        for t in range(self.steps):
            u = m + (x[t] - m) * np.float32(self.decay)
            s[t] = u >= THRESHOLD
            h[t] = numbers(torch.from_numpy(u).to(self.dtype))
            m = np.where(s[t] > 0, np.float32(0), u)
        return s, h, numbers(torch.from_numpy(m).to(self.dtype))

    def backward(self, h: np.ndarray) -> tuple[np.ndarray, float]:
        """Reference gradients of the input and of the decay, in float64."""
        x, gs = numbers(self.x).astype(np.float64), numbers(self.gs)
        gx, gm, gd = np.zeros(x.shape), np.zeros(self.neurons), 0.0
        for t in reversed(range(self.steps)):
            d = h[t].astype(np.float64) - THRESHOLD
            sg = 1 / (1 + np.exp(-ALPHA * d))
            gu = gs[t] * ALPHA * sg * (1 - sg) + np.where(d >= 0, 0, gm)
            before = h[t - 1] if t else numbers(self.v0)
            before = np.where((before >= THRESHOLD) & (t > 0), 0, before)
            gd += (gu * (x[t] - before)).sum()
            gx[t] = gu * self.decay
            gm = gu * (1 - self.decay)
        return gx, gd

    def wrong(self, s, h, v, gx, gd: float) -> list[str]:
        """Which of the results differ from the reference (float32 arrays)."""
        rs, rh, rv = self.forward()
        rgx, rgd = self.backward(rh)
        tolerance = TOLERANCE[self.dtype]
        good = {
            's': np.array_equal(s, rs),
            'h': np.array_equal(h, rh),
            'v': np.array_equal(v, rv),
            'gx': np.allclose(gx, rgx, rtol=tolerance, atol=tolerance),
            'gd': abs(gd - rgd) < 1e-4 * max(1, np.abs(rgx).sum()),
        }
        return [name for name, right in good.items() if not right]


def run_cuda(module: Module, case: Case, **options) -> tuple[list[str], Run, Run]:
    """Run forward and backward of lif.cuh: (wrong results, forward run, backward run)."""
    dtype, steps, n = case.dtype, case.steps, case.neurons
    name, size = NAMES[DTYPES.index(dtype)], case.x.element_size()
    gpu = GPU()
    x, v, v0, gs = (gpu.put(bits(t), k) for t, k in ((case.x, 'x'), (case.v0, 'v'), (case.v0, 'v0'), (case.gs, 'gs')))
    s, h, gx = (gpu.alloc(steps * n * size, k) for k in ('s', 'h', 'gx'))
    gd = gpu.put(np.zeros(1, np.float32), 'gd')
    grid = -(-n // (THREADS * 16 // size))
    forward_args = [x, v, s, h, case.decay, THRESHOLD, steps, n]
    forward = gpu.launch(module, f'lif_fwd{name}', grid, THREADS, forward_args, **options)
    backward_args = [gs, h, x, v0, gx, gd, case.decay, THRESHOLD, ALPHA, steps, n]
    backward = gpu.launch(module, f'lif_bwd{name}', grid, THREADS, backward_args, **options)

    def result(allocation) -> np.ndarray:
        raw = gpu.get(allocation, bits(case.x).dtype)
        return numbers(torch.from_numpy(raw).view(dtype)).reshape(-1, n)

    total = gpu.get(gd, np.float32)[0]
    return case.wrong(result(s), result(h), result(v)[0], result(gx), total), forward, backward


def pack(gpu: FakeGPU, x: object, out: object, n: int, stream: int = 0) -> int:
    """Run k_pack for 4 steps on tensors or arrays; the CUDA error."""
    pointers = [a.data_ptr() if isinstance(a, torch.Tensor) else a.ctypes.data for a in (x, out)]
    real, pointer = ctypes.c_float, ctypes.c_void_p
    return gpu.lib.k_pack(*map(pointer, pointers), real(0.5), real(1), 4, n, pointer(stream))


def packed_reference(x: np.ndarray, decay: float = 0.5) -> np.ndarray:
    """Spikes of lif_pack, [T, N] of bool."""
    m, spikes = np.zeros(x.shape[1], np.float32), []
    for row in x:
        m = m + (row - m) * np.float32(decay)
        spikes.append(m >= 1)
        m = np.where(m >= 1, np.float32(0), m)
    return np.array(spikes)


def unpack(words: np.ndarray, n: int) -> np.ndarray:
    """Bit-packed spikes [T, words] as [T, N] of bool."""
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder='little')[:, :n].astype(bool)
