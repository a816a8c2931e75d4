"""Random operands of every kind."""

import numpy as np

COUNT = 4096
RNG = np.random.default_rng(0)
SPECIAL = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x80000001, 0x7F7FFFFF]


def floats() -> np.ndarray:
    """Float32 of all kinds: half of moderate size, half any bit pattern, and the special values."""
    bits = RNG.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32)
    half = COUNT // 2
    exponents = RNG.integers(100, 150, half).astype(np.uint32) << np.uint32(23)
    bits[:half] = (bits[:half] & np.uint32(0x807FFFFF)) | exponents
    bits[:8] = SPECIAL
    return bits.view(np.float32)


def words() -> np.ndarray:
    """Random 32-bit patterns."""
    return RNG.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32)


def longs() -> np.ndarray:
    """Random 64-bit patterns."""
    return RNG.integers(0, 2**64, COUNT, dtype=np.uint64)


A, B, C = floats(), floats()[::-1].copy(), np.roll(floats(), 77)
WORDS, SMALL = words(), RNG.integers(0, 40, COUNT).astype(np.uint32)
