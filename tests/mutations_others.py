"""Faults that are planted into the other CUDA kernels and what launches them, each with tests that must catch it."""

from mutations_cuda import DETAIL, KERNELS, LAUNCH, MATH, WINDOWS, rows
from mutations_fault import Fault

OTHERS = [
    Fault(
        'moments: no check of bounds',
        KERNELS + 'moments.cu',
        'if (i >= args.n) return;\n  const bool bfloat',
        'const bool bfloat',
        rows('moments'),
    ),
    Fault(
        'moments: neurons numbered in 32 bits',
        DETAIL + 'launch.cuh',
        '(std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V',
        '(blockIdx.x * blockDim.x + threadIdx.x) * V',
        (f'{WINDOWS}::test_moments -k on_cuda',),
        ('moments',),
    ),
    Fault(
        'moments: one aligned pointer is enough',
        DETAIL + 'launch.cuh',
        '(aligned(pointers) && ...)',
        '(aligned(pointers) || ...)',
        ('tests/test_moments.py::test_misaligned -k cuda',),
        ('moments',),
    ),
    Fault(
        'moments: a block too few',
        DETAIL + 'launch.cuh',
        '(n + per_block - 1) / per_block',
        'n > per_block ? n / per_block : 1',
        (*rows('moments'), f'{LAUNCH}::test_grids -k moments'),
        ('moments',),
    ),
    Fault(
        'moments: another stream',
        KERNELS + 'moments.cu',
        'reinterpret_cast<cudaStream_t>(stream)',
        'cudaStream_t{}',
        (f'{LAUNCH}::test_device_and_stream -k moments',),
    ),
    Fault(
        'moments: the caller finds another device',
        DETAIL + 'launch.cuh',
        'if (changed_) cudaSetDevice(previous_);',
        '',
        (f'{LAUNCH}::test_device_and_stream -k moments',),
        ('moments',),
    ),
    Fault(
        'moments: an error is reported twice',
        DETAIL + 'launch.cuh',
        'cudaGetLastError();  // else the next launch would report this error again',
        '',
        (f'{LAUNCH}::test_errors -k moments',),
        ('moments',),
    ),
    Fault(
        'poisson: an error is not reported',
        KERNELS + 'encode.cu',
        'check(cudaGetLastError());',
        'cudaGetLastError();',
        (f'{LAUNCH}::test_errors -k poisson',),
    ),
    Fault(
        'poisson: the counter stands still',
        KERNELS + 'encode.cu',
        'static_cast<std::uint64_t>(t / 4)',
        'static_cast<std::uint64_t>(0)',
        rows('poisson'),
    ),
    Fault(
        'pack: bits in reverse',
        KERNELS + 'pack.cu',
        'static_cast<unsigned>(x.at[j] == one) << j;',
        'static_cast<unsigned>(x.at[j] == one) << (V - 1 - j);',
        rows('bits'),
    ),
    Fault(
        'pack: one value too many at the end',
        KERNELS + 'pack.cu',
        '    if (j < left) values.at[j] = from[j];',
        '    if (j <= left) values.at[j] = from[j];',
        rows('bits', 'counts'),
    ),
    Fault(
        'pack: threads leave before they hand their bits on',
        KERNELS + 'pack.cu',
        'const Vector<W, V> x = read<Wide, W, V>',
        'if (left <= 0) return;\n  const Vector<W, V> x = read<Wide, W, V>',
        rows('bits'),
    ),
    Fault(
        'pool: of equal cells the last one wins',
        MATH + 'pool.h',
        '(key > best) |',
        '(key >= best) |',
        rows('plain'),
        ('pool',),
    ),
    Fault(
        'pool: the first step has no gradient',
        KERNELS + 'pool.cu',
        'if (t >= 0) store(static_cast<E*>(a.grad_x)',
        'if (t > 0) store(static_cast<E*>(a.grad_x)',
        rows('lateral'),
    ),
    Fault(
        'pool: dilation forgotten by the columns',
        KERNELS + 'pool.cu',
        'if (dx % a.cols.dilation) continue;',
        '',
        rows('lateral dilated'),
    ),
    Fault(
        'pool: counts of windows that overlap are never written',
        KERNELS + 'pool.cu',
        'if (a.last && !tiles(a)) pool_count',
        'if (a.last && a.T > 100) pool_count',
        rows('lateral'),
    ),
]
HARMLESS = Fault(
    'moments: another name for a variable',
    KERNELS + 'moments.cu',
    'const float share = 1.f / static_cast<float>(t + 1);',
    'const float part = 1.f / static_cast<float>(t + 1), share = part;',
    rows('moments'),
    harmless=True,
)
FAULTS = [*OTHERS, HARMLESS]
