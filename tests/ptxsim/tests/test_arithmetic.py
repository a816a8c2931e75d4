"""The interpreter's arithmetic against exact rationals, Python integers and torch."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from .draws import COUNT, RNG, SMALL, WORDS, A, B, C, longs
from .snippets import evaluate


def rounded(exact: Fraction, mode: str) -> np.float32 | None:
    """An exact number as float32 in a rounding mode, or None where it overflows."""
    if abs(exact) >= Fraction(2) ** 127:
        return None
    near = np.float32(float(exact))
    candidates = sorted({near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))})
    values = [(Fraction(float(c)), c) for c in candidates if np.isfinite(c)]
    if mode == 'rm':
        return max(c for f, c in values if f <= exact)
    if mode == 'rp':
        return min(c for f, c in values if f >= exact)
    if mode == 'rz':
        return rounded(exact, 'rp' if exact < 0 else 'rm')
    return min(values, key=lambda v: (abs(v[0] - exact), int(v[1].view(np.uint32)) & 1))[1]


def check_exact(got: np.ndarray, operands: list[np.ndarray], formula, mode: str) -> None:
    """Compare with a formula on Fractions wherever all operands are finite."""
    tested = 0
    for value, *numbers in zip(got, *operands, strict=True):
        if not all(map(math.isfinite, numbers)):
            continue
        exact = formula(*(Fraction(float(n)) for n in numbers))
        expected = None if exact is None else rounded(exact, mode)
        if expected is not None:
            tested += 1
            assert value == expected, (numbers, value, expected)
    assert tested > COUNT // 4


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, or NaN in both."""
    return np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize('mode', ['rn', 'rz', 'rm', 'rp'])
def test_fma_is_rounded_once(mode: str) -> None:
    got = evaluate(f'fma.{mode}.f32 %f8, %f0, %f1, %f2;', [A, B, C], np.float32)
    check_exact(got, [A, B, C], lambda a, b, c: a * b + c, mode)


def test_fma_near_halfway() -> None:
    x, y = ((1 + RNG.integers(0, 2**12, COUNT) * 2.0**-12).astype(np.float32) for _ in range(2))
    z = (RNG.choice([-1, 1], COUNT) * 2.0 ** RNG.integers(-60, -20, COUNT)).astype(np.float32)
    got = evaluate('fma.rn.f32 %f8, %f0, %f1, %f2;', [x, y, z], np.float32)
    check_exact(got, [x, y, z], lambda a, b, c: a * b + c, 'rn')


@pytest.mark.parametrize('mode', ['rn', 'rz', 'rm', 'rp'])
@pytest.mark.parametrize(
    ('name', 'formula'),
    [
        ('add', lambda a, b: a + b),
        ('sub', lambda a, b: a - b),
        ('mul', lambda a, b: a * b),
        ('div', lambda a, b: a / b if b else None),
    ],
)
def test_binary_in_all_modes(name: str, formula, mode: str) -> None:
    got = evaluate(f'{name}.{mode}.f32 %f8, %f0, %f1;', [A, B], np.float32)
    check_exact(got, [A, B], formula, mode)


@pytest.mark.parametrize('mode', ['rn', 'rz', 'rm', 'rp'])
def test_square_root_in_all_modes(mode: str) -> None:
    a = np.abs(A[np.isfinite(A)])
    a = np.resize(a, COUNT)
    got = evaluate(f'sqrt.{mode}.f32 %f8, %f0;', [a], np.float32)
    for value, number in zip(got, a, strict=True):
        exact, result = Fraction(float(number)), Fraction(float(value))
        down = Fraction(float(np.nextafter(value, np.float32(-np.inf))))
        up = Fraction(float(np.nextafter(value, np.float32(np.inf)))) if value < 3e38 else result * 2
        if mode == 'rn':
            assert value == np.float32(math.sqrt(float(number)))
        elif mode == 'rp':
            assert result**2 >= exact
            assert down < 0 or down**2 < exact
        else:
            assert result**2 <= exact < up**2


def test_double_fma_is_rounded_once() -> None:
    x, y = ((1 + RNG.random(COUNT)) * 2.0 ** RNG.integers(-30, 30, COUNT) for _ in range(2))
    z = -x * y * (1 + RNG.choice([0, 2.0**-53, 2.0**-30, 0.5], COUNT))
    got = evaluate('fma.rn.f64 %fd8, %fd0, %fd1, %fd2;', [x, y, z], np.float64)
    exact = [Fraction(a) * Fraction(b) + Fraction(c) for a, b, c in zip(x, y, z, strict=True)]
    assert got.tolist() == [float(e) for e in exact]


@pytest.mark.parametrize('name', ['add', 'mul'])
def test_double(name: str) -> None:
    x, y = RNG.normal(size=COUNT), RNG.normal(size=COUNT)
    expected = x + y if name == 'add' else x * y
    assert np.array_equal(evaluate(f'{name}.f64 %fd8, %fd0, %fd1;', [x, y], np.float64), expected)


@pytest.mark.parametrize('name', ['add', 'sub', 'mul'])
def test_half(name: str) -> None:
    a, b = A.astype(np.float16), B.astype(np.float16)
    expected = getattr(torch, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    got = evaluate(f'{name}.rn.f16 %h8, %h0, %h1;', [a.view(np.uint16), b.view(np.uint16)], np.uint16)
    assert same(got.view(np.float16), expected)


def bfloat(values: np.ndarray) -> torch.Tensor:
    """Float32 numbers as bfloat16."""
    return torch.from_numpy(values).bfloat16()


def bfloat_bits(tensor: torch.Tensor) -> np.ndarray:
    """Bfloat16 as bit patterns."""
    return tensor.view(torch.int16).numpy().view(np.uint16)


@pytest.mark.parametrize('name', ['add', 'sub', 'mul'])
def test_bfloat16(name: str) -> None:
    a, b = bfloat(A), bfloat(B)
    got = evaluate(f'{name}.rn.bf16 %h8, %h0, %h1;', [bfloat_bits(a), bfloat_bits(b)], np.uint16)
    assert same(
        torch.from_numpy(got.view(np.int16)).view(torch.bfloat16).float().numpy(),
        getattr(torch, name)(a, b).float().numpy(),
    )


def test_conversion_to_narrow_floats() -> None:
    half = evaluate('cvt.rn.f16.f32 %h8, %f0;', [A], np.uint16).view(np.float16)
    assert same(half, torch.from_numpy(A).half().numpy())
    finite = ~np.isnan(A)
    got = evaluate('cvt.rn.bf16.f32 %h8, %f0;', [A], np.uint16)
    assert np.array_equal(got[finite], bfloat_bits(bfloat(A))[finite])
    assert (got[~finite] == 0x7FFF).all()


def test_conversion_to_integers() -> None:
    def clamp(value: float, low: int, high: int) -> int:
        if math.isnan(value):
            return 0
        return low if value <= low else high if value >= high else int(value)

    for target, low, high, register, dtype in (
        ('s32', -(2**31), 2**31 - 1, '%r8', np.int32),
        ('u32', 0, 2**32 - 1, '%r8', np.uint32),
        ('s64', -(2**63), 2**63 - 1, '%rd8', np.int64),
        ('u64', 0, 2**64 - 1, '%rd8', np.uint64),
    ):
        got = evaluate(f'cvt.rzi.{target}.f32 {register}, %f0;', [A], dtype)
        assert got.tolist() == [clamp(float(a), low, high) for a in A], target


def test_conversion_from_integers() -> None:
    for mode in ('rn', 'rz', 'rm', 'rp'):
        got = evaluate(f'cvt.{mode}.f32.s64 %f8, %rd0;', [longs()], np.float32)
        assert np.isfinite(got).all()
    wide = longs()
    got = evaluate('cvt.rn.f32.u64 %f8, %rd0;', [wide], np.float32)
    assert got.tolist() == [rounded(Fraction(int(w)), 'rn') for w in wide]
    got = evaluate('cvt.s64.s32 %rd8, %r0;', [WORDS], np.int64)
    assert got.tolist() == WORDS.view(np.int32).tolist()
    got = evaluate('cvt.sat.u8.s32 %r8, %r0;', [WORDS], np.uint32)
    assert got.tolist() == np.clip(WORDS.view(np.int32), 0, 255).tolist()


def test_flush_to_zero() -> None:
    tiny = np.array([1e-40, -1e-40, 1e-38, 2e-38, 1.0, -0.0, 1e-45, 3e-39] * 16, np.float32)
    assert (evaluate('add.f32 %f8, %f0, %f0;', [tiny], np.float32) == tiny + tiny).all()
    flushed = evaluate('add.ftz.f32 %f8, %f0, %f0;', [tiny], np.float32)
    big = np.abs(tiny) >= 2.0**-126
    assert np.array_equal(flushed, np.where(big, tiny + tiny, 0))
    assert np.array_equal(np.signbit(flushed), np.signbit(tiny))


def test_minimum_and_maximum() -> None:
    a = np.array([0.0, -0.0, 1.0, np.nan, np.nan] * 128, np.float32)
    b = np.array([-0.0, 0.0, np.nan, 2.0, np.nan] * 128, np.float32)
    low = evaluate('min.f32 %f8, %f0, %f1;', [a, b], np.float32)
    high = evaluate('max.f32 %f8, %f0, %f1;', [a, b], np.float32)
    assert np.signbit(low[:2]).all()
    assert not np.signbit(high[:2]).any()
    assert low[2:4].tolist() == [1.0, 2.0]
    assert np.isnan(low[4])
    strict = evaluate('max.NaN.f32 %f8, %f0, %f1;', [a, b], np.float32)
    assert np.isnan(strict[2:5]).all()


@pytest.mark.parametrize('name', ['min', 'max'])
def test_minimum_and_maximum_of_three(name: str) -> None:
    operands = [A, B, C]
    ignore, spread = (np.fmin, np.minimum) if name == 'min' else (np.fmax, np.maximum)
    got = evaluate(f'{name}.f32 %f8, %f0, %f1, %f2;', operands, np.float32)
    assert same(got, ignore.reduce(operands))
    assert same(evaluate(f'{name}.NaN.f32 %f8, %f0, %f1, %f2;', operands, np.float32), spread.reduce(operands))
    zeros = [np.array(signs * 128, np.float32) for signs in ([0.0, -0.0], [0.0, 0.0], [-0.0, 0.0])]
    assert np.signbit(evaluate(f'{name}.f32 %f8, %f0, %f1, %f2;', zeros, np.float32)).all() == (name == 'min')


@pytest.mark.parametrize('name', ['eq', 'ne', 'lt', 'ge', 'neu', 'ltu', 'num', 'nan'])
def test_comparisons(name: str) -> None:
    body = f'setp.{name}.f32 %p1, %f0, %f1; selp.b32 %r8, 1, 0, %p1;'
    got = evaluate(body, [A, np.where(SMALL % 3 == 0, A, B)]).astype(bool)
    b = np.where(SMALL % 3 == 0, A, B)
    unordered = np.isnan(A) | np.isnan(b)
    ordered = {'eq': b == A, 'ne': b != A, 'lt': b > A, 'ge': b <= A}
    expected = {name: r & ~unordered for name, r in ordered.items()}
    expected |= {'neu': b != A, 'ltu': (b > A) | unordered, 'num': ~unordered, 'nan': unordered}
    assert np.array_equal(got, expected[name])
