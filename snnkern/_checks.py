"""One-sentence errors for bad parameters: the argument's name, what came, what was expected."""

import math
from numbers import Integral, Real

LARGEST, SMALLEST = 3.4e38, 2.0**-126  # of a float32, which is what kernels compute with


def finite(name: str, value: float) -> None:
    """Raise unless `value` is a number that float32 can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name} must be a number, got {value!r} ({type(value).__name__})')
    if not math.isfinite(value):
        raise ValueError(f'{name} must be finite, got {value}')
    if abs(value) > LARGEST:
        raise ValueError(f'{name} must fit into float32, got {value}')


def positive(name: str, value: float) -> None:
    """Raise unless `value` is a number above 0 that float32 can hold."""
    finite(name, value)
    if value < SMALLEST:
        raise ValueError(f'{name} must be > 0, got {value}')


def whole(name: str, value: int, at_least: int = 1, at_most: int = 2**63 - 1) -> None:
    """Raise unless `value` is an integer in this range."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f'{name} must be an integer, got {value!r} ({type(value).__name__})')
    if value < at_least:
        raise ValueError(f'{name} must be >= {at_least}, got {value}')
    if value > at_most:
        raise ValueError(f'{name} must be <= {at_most}, got {value}')
