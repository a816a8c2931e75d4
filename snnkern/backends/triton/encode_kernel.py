"""The Poisson encoder: one program = one block of elements, four steps a draw. Rows are [T, vectors * VECTOR]."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, disable-error-code=attr-defined

import triton
import triton.language as tl

RUN_TIME = ['vectors', 'T', 'seed', 'first', 'channels', 'inner']


@triton.jit(do_not_specialize=RUN_TIME)
def draw(
    x,
    s,
    vectors,
    T,
    seed,
    first,
    channels,
    inner,
    ORDERED: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Elements are numbered as PoissonArgs in csrc/kernels/encode.h says; ORDERED: as they lie in memory."""
    n = vectors.to(tl.int64) * VECTOR
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < n
    probability = tl.load(x + place, inside, 0.0).to(tl.float32)
    element = place
    if not ORDERED:
        cell = place // channels
        sample = cell // inner
        element = (sample * channels + (place - cell * channels)) * inner + (cell - sample * inner)
    element += first
    low, high = element.to(tl.uint32), (element >> 32).to(tl.uint32)
    zero = tl.zeros_like(low)
    for block in range(tl.program_id(1), (T + 3) // 4, tl.num_programs(1)):
        words = tl.philox(seed.to(tl.uint64), low, high, zero + block.to(tl.uint32), zero)
        for k in tl.static_range(4):
            t = block * 4 + k
            spikes = ((words[k] >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08 < probability).to(tl.float32)
            tl.store(s + t * n + place, spikes.to(s.dtype.element_ty), inside & (t < T))
