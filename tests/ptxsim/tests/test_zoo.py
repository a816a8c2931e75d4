"""Library functions, packed types, CUB, cooperative groups, votes and local arrays, on five targets."""

import numpy as np
import pytest
import torch

from ptxsim import GPU, Module

N = 512
RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(0, 1.5, N - 6), [0, -0.0, 30, -30, 1e-7, -1e-40]]).astype(np.float32)
SLOW = [pytest.param(arch, marks=pytest.mark.slow) for arch in (80, 100, 120)]
FUNCTIONS = [
    'expf', 'tanhf', 'atanf', 'logf', 'powf', 'erff', 'sqrtf', 'rsqrtf', 'sinf', 'cosf', 'rcp', 'div',
    'log1pf', 'expm1f', 'fmodf', 'rintf', 'floorf', 'fminf', 'int', '__expf', '__fdividef', 'exp', 'tanh',
    'copysignf', 'fmaxf', 'sigmoid',
]  # fmt: skip
EXACT = {
    'sqrtf',
    'rcp',
    'div',
    'fmodf',
    'rintf',
    'floorf',
    'fminf',
    'int',
    '__fdividef',
    'copysignf',
    'fmaxf',
}
ROUGH = {'__expf', 'sigmoid'}


@pytest.fixture(scope='module', params=[75, 90, *SLOW])
def zoo(request: pytest.FixtureRequest, compile_ptx) -> Module:
    """The kernels of zoo.cu for one target."""
    return Module(compile_ptx('zoo.cu', request.param))


def expected_functions() -> list[np.ndarray]:
    """What the kernel `math` should give, in float64."""
    x = X.astype(np.float64)
    b32 = np.abs(X) + np.float32(0.1)
    b = b32.astype(np.float64)
    erf = torch.erf(torch.from_numpy(x)).numpy()
    fifty, nine, hundred = ((X * np.float32(k)).astype(np.float64) for k in (50, 9, 100))
    constant = {k: np.float64(np.float32(k)) for k in (1.7, 0.3)}
    return [
        np.exp(x), np.tanh(x), np.arctan(x), np.log(b), b ** constant[1.7], erf, np.sqrt(b), 1 / np.sqrt(b),
        np.sin(x), np.cos(fifty), 1 / b, x / b, np.log1p(b), np.expm1(x), np.fmod(x, constant[0.3]),
        np.rint(nine), np.floor(x), np.minimum(X, np.float32(0.2)).astype(np.float64), np.trunc(hundred),
        np.exp(x), x / b, np.exp(x), np.tanh(x), np.copysign(b, x), x, 1 / (1 + np.exp(-x)),
    ]  # fmt: skip


def ulp_error(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance from the exact value, in units in the last place."""
    rounded = exact.astype(np.float32)
    unit = np.spacing(np.maximum(np.abs(rounded), np.float32(1e-38))).astype(np.float64)
    error = np.where(got == rounded, 0, np.abs(got.astype(np.float64) - exact) / unit)
    return float(error.max())


def run_math(module: Module) -> dict[str, float]:
    """The error of every function of the kernel `math`, in ulp."""
    gpu = GPU()
    out = gpu.alloc(4 * N * len(FUNCTIONS))
    gpu.launch(module, 'math', N // 128, 128, [gpu.put(X), out, N])
    results = gpu.get(out, np.float32, (len(FUNCTIONS), N))
    return {n: ulp_error(r, e) for n, r, e in zip(FUNCTIONS, results, expected_functions(), strict=True)}


def test_math_functions(zoo: Module) -> None:
    for name, error in run_math(zoo).items():
        assert error <= (0 if name in EXACT else 20 if name in ROUGH else 2), (name, error)


@pytest.mark.slow
def test_fast_math(compile_ptx) -> None:
    errors = run_math(Module(compile_ptx('zoo.cu', 90, '-use_fast_math')))
    assert errors['sqrtf'] == 0
    assert errors['expf'] < 20
    assert errors['log1pf'] < 2


@pytest.mark.parametrize('zoo', [90, *SLOW], indirect=True)  # bfloat16 arithmetic needs sm_80
def test_packed_types(zoo: Module) -> None:
    rng = np.random.default_rng(1)
    h = rng.normal(0, 1, (N, 2)).astype(np.float16)
    y = torch.from_numpy(rng.normal(0, 1, (N, 2)).astype(np.float32)).bfloat16()
    gpu = GPU()
    o, p = gpu.alloc(16 * N), gpu.alloc(16 * N)
    acc, bacc = gpu.put(np.zeros(8, np.float16)), gpu.put(np.zeros(4, np.int16))
    inputs = [gpu.put(h), gpu.put(y.view(torch.int16).numpy())]
    # CUDA's own 16-bit atomicAdd loop begins with a plain load, so races are not asserted here
    gpu.launch(zoo, 'half2k', N // 128, 128, [*inputs, o, p, acc, bacc, N])

    def wide(a: np.ndarray) -> np.ndarray:
        return a.astype(np.float64)

    def half(a: np.ndarray) -> np.ndarray:
        return a.astype(np.float16)

    got = gpu.get(o, np.float16, (4, N, 2))
    c = half(wide(h) * wide(h) + 0.25)
    c = half(wide(c) + wide(half(wide(h) * wide(h[:, :1]))))
    g = half(c >= 1)
    assert np.array_equal(got[0], half(wide(c) - wide(g)))
    assert np.array_equal(got[1], np.maximum(c, g))
    assert np.allclose(got[2], np.exp(wide(h)), rtol=2e-3)
    assert np.allclose(got[3], 1 / (1 + np.abs(wide(h))), rtol=2e-3)
    d = (y.double() * y.double() + 0.25).to(torch.bfloat16)
    expected = [d, d * y, d - y, (d > y).to(torch.bfloat16)]
    result = torch.from_numpy(gpu.get(p, np.int16, (4, N, 2))).view(torch.bfloat16)
    assert all(torch.equal(r, e) for r, e in zip(result, expected, strict=True))
    assert gpu.get(acc, np.float16).tolist() == [N / 4, N / 2] * 4
    sums = torch.from_numpy(gpu.get(bacc, np.int16)).view(torch.bfloat16)[:2]
    assert sums.float().tolist() == [N / 2, N / 2]


def test_collectives(zoo: Module) -> None:
    n, blocks, block = 300, 3, 128
    total = blocks * block
    gpu = GPU()
    o, u = gpu.put(np.zeros(blocks + 1 + total, np.float32)), gpu.alloc(total * 16)
    run = gpu.launch(zoo, 'coll', blocks, block, [gpu.put(X[:n]), o, u, n], shared=512)
    v = np.zeros(total, np.float32)
    v[:n] = X[:n]
    floats, words = gpu.get(o, np.float32), gpu.get(u, np.uint32, (total, 4))
    assert np.allclose(floats[:blocks], v.reshape(blocks, block).sum(1), atol=1e-4)
    assert abs(floats[blocks] - v.sum()) < 1e-3
    assert np.array_equal(floats[blocks + 1 :].reshape(blocks, block), v.reshape(blocks, block)[:, ::-1])
    thread = np.arange(total)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    positive = v > 0
    ballot = (positive.reshape(-1, 32) * bits).sum(1).astype(np.uint32).repeat(32)
    values = np.trunc(v * 2).reshape(-1, 32)
    alike = ((values[:, :, None] == values[:, None, :]) * bits).sum(2).astype(np.uint32).reshape(-1)
    below = np.array([bin(int(b) & ((1 << (t & 31)) - 1)).count('1') for b, t in zip(ballot, thread, strict=True)])
    count = positive.reshape(blocks, block).sum(1).repeat(block).astype(np.uint32)
    moved = ballot + (thread % block).astype(np.uint32)
    moved = np.where((thread & 15) >= 3, moved[np.maximum(thread - 3, 0)], moved)
    any_large = (v > 2).reshape(-1, 32).any(1).repeat(32)
    mixed = moved + any_large * np.uint32(1000) + count * np.uint32(100000)
    for column, expected in enumerate([ballot, alike, below, mixed]):
        assert np.array_equal(words[:, column], expected), column
    assert run.races == []


def test_warp_reduction(zoo: Module) -> None:
    x = np.random.default_rng(2).integers(-1000, 1000, 64).astype(np.int32)
    gpu = GPU()
    out = gpu.alloc(256)
    gpu.launch(zoo, 'redux', 1, 64, [gpu.put(x), out])
    warps = x.reshape(2, 32)
    expected = (warps.sum(1) + warps.max(1)).repeat(32) if zoo.target >= 80 else np.zeros(64)
    assert np.array_equal(gpu.get(out, np.int32), expected)


def test_local_arrays(zoo: Module) -> None:
    steps, n = 13, 64
    x = np.random.default_rng(3).normal(0, 1, (steps, n)).astype(np.float32)
    gpu = GPU()
    out = gpu.alloc(x.nbytes)
    gpu.launch(zoo, 'locals', 1, n, [gpu.put(x), out, steps, n])
    a = np.zeros(n, np.float32)
    for t in range(steps - 1, -1, -1):
        a = a * np.float32(0.5) + x[t * 7 % steps]
        assert np.array_equal(gpu.get(out, np.float32, (steps, n))[t], a)
