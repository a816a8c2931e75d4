"""The surrogates for Triton, chosen at compile time by their names in surrogates.py (see math.py)."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

# fmt: off
SURROGATES = (
    'ATan', 'Sigmoid', 'Triangle', 'Rectangle', 'LeakyReLU', 'Window', 'STE', 'FastSigmoid', 'SoftSign', 'SuperSpike',
    'Erf', 'PiecewiseExp', 'Custom',
)
# fmt: on


@triton.jit
def reciprocal(x):
    """1 / x of a positive x but for its last bits: enough for gradients, and a fifth of a division."""
    root = tl.rsqrt(x)
    return root * root


@triton.jit
def surrogate(z, alpha, n, KIND: tl.constexpr):
    """The derivatives of the smooth step by z = h - threshold and by alpha (0 where it is not learned)."""
    by_alpha = tl.zeros_like(z)
    if KIND.SURROGATE == 'ATan':
        u = 1.5707963267948966 * alpha * z
        share = reciprocal(tl.fma(u, u, 1.0))
        grad = 0.5 * alpha * share
        by_alpha = 0.5 * z * share
    elif KIND.SURROGATE == 'Sigmoid':
        e = tl.exp(-tl.abs(alpha * z))  # even in z: the smaller power never overflows
        grad = alpha * e * reciprocal((1 + e) * (1 + e))
    elif KIND.SURROGATE == 'Triangle':
        grad = tl.maximum(alpha - alpha * alpha * tl.abs(z), 0.0)
    elif KIND.SURROGATE == 'Rectangle':
        grad = tl.where(tl.abs(z) < tl.div_rn(1.0, alpha), 1.0, 0.0)
    elif KIND.SURROGATE == 'LeakyReLU':
        grad = tl.where(z > 0, alpha, n.low)
        by_alpha = tl.where(z < 0, 0.0, z)
    elif KIND.SURROGATE == 'Window':
        grad = tl.where((z > n.low) & (z < n.high), 1.0, 0.0)
    elif KIND.SURROGATE == 'STE':
        grad = tl.zeros_like(z) + 1
    elif KIND.SURROGATE == 'FastSigmoid' or KIND.SURROGATE == 'SuperSpike':
        y = 1 + tl.abs(z) * (alpha if KIND.SURROGATE == 'FastSigmoid' else 1.0)
        grad = (1.0 if KIND.SURROGATE == 'FastSigmoid' else alpha) * reciprocal(y * y)
    elif KIND.SURROGATE == 'SoftSign':
        y = 1 + tl.abs(alpha * z)
        grad = 0.5 * alpha * reciprocal(y * y)
    elif KIND.SURROGATE == 'Erf':
        grad = 0.5641895835477563 * alpha * tl.exp(-(alpha * z) * (alpha * z))
    else:
        grad = n.low * alpha / 2 * tl.exp(-alpha * tl.abs(z))
    return grad, by_alpha
