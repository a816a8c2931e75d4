"""The kernels from numpy: a layer of neurons and its gradient, beside the loop that they take the place of.

`python docs/examples/without_torch.py` takes a second; neither it nor what it imports loads torch.
"""

import sys
from timeit import repeat

import numpy as np
import numpy.typing as npt

from snnkern import _cpu

Array = npt.NDArray[np.float32]
T, N = 64, 20_000
LIF = _cpu.pack_neuron(charge=('LIF', [2.0, 0.0, 1.0]), fire=('Binary', [1.0]), reset=('Hard', [0.0]))


def loop(x: Array) -> Array:
    """Spikes of LIF neurons with tau 2 and threshold 1 that are reset to 0."""
    v, s = np.zeros_like(x[0]), np.empty_like(x)
    for t, current in enumerate(x):
        h = v + (current - v) / np.float32(2)
        s[t] = h >= 1
        v = np.where(h >= 1, np.float32(0), h)
    return s


def kernel(x: Array) -> tuple[Array, Array]:
    """The same by the kernel, and dL/dx of L = sum(s)."""
    s, grad_s, grad_x = np.empty_like(x), np.ones_like(x), np.empty_like(x)
    checkpoints = np.empty((T // 16 - 1, 1, N), np.float32)  # v every 16 steps, from which backward goes on
    call = {'neuron': LIF, 'dtype': 0, 'T': T, 'n': N, 'x': x.ctypes.data}
    call |= {'checkpoints': checkpoints.ctypes.data, 'interval': 16}
    _cpu.multistep_fwd(**call, s=s.ctypes.data)
    _cpu.multistep_bwd(**call, grad_s=grad_s.ctypes.data, grad_x=grad_x.ctypes.data)
    return s, grad_x


def main() -> None:
    x = 2 * np.random.default_rng(0).random((T, N), np.float32)
    s, grad_x = kernel(x)
    assert np.array_equal(s, loop(x))
    assert 'torch' not in sys.modules
    print(f'{_cpu.instruction_set()}: {s.mean():.3f} spikes a neuron and step, mean gradient {grad_x.mean():.3f}')
    slow, fast = (1000 * min(repeat(lambda run=run: run(x), number=1, repeat=5)) for run in (loop, kernel))
    print(f'loop, forward: {slow:.1f} ms; kernel, forward and backward: {fast:.1f} ms')


if __name__ == '__main__':
    main()
