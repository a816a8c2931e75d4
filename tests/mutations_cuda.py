"""Faults that are planted into the multistep kernels on CUDA, each with the tests that must catch it."""

from mutations_fault import Fault

KERNELS, DETAIL, MATH = 'csrc/kernels/', 'csrc/kernels/detail/', 'csrc/math/'
MATRIX, WINDOWS, LAUNCH = 'tests/test_gpu_matrix.py', 'tests/test_gpu_windows.py', 'tests/test_gpu_launch.py'
CUDA = 'tests/test_cuda.py'

SOFT = (
    '    return h - strength * fire.drop(s);\n  }\n'
    '  template <class Fire>\n  SNN_HD float by_up(const Fire& fire, float) const {\n'
)


def rows(*families):
    """All rows of the matrix of these families, on CUDA."""
    names = [family.replace(' ', '_') for family in families]
    return tuple(f'{MATRIX}::test_cuda -m "" -k test_cuda[{name}-' for name in names)


FORWARD = [
    Fault(
        'forward: wrong stride between steps',
        DETAIL + 'forward.cuh',
        '++t, here += args.n)',
        '++t, here += args.n - 1)',
        rows('burst'),
        ('multistep_fwd',),
    ),
    Fault(
        'forward: place counted in 32 bits',
        DETAIL + 'forward.cuh',
        'std::int64_t here = i;',
        'int here = static_cast<int>(i);',
        (f'{WINDOWS}::test_multistep -k on_cuda',),
        ('multistep_fwd',),
    ),
    Fault(
        'forward: states of a checkpoint in the place of the next',
        DETAIL + 'forward.cuh',
        'checkpoint += states_of(cell) * args.n;',
        'checkpoint += args.n;',
        rows('states'),
        ('multistep_fwd',),
    ),
    Fault(
        'forward: last states dropped',
        DETAIL + 'forward.cuh',
        'if (args.last) now.store(',
        'if (args.last && args.T > 100) now.store(',
        rows('states'),
        ('multistep_fwd',),
    ),
    Fault(
        'forward: residual added before, not after',
        DETAIL + 'forward.cuh',
        'if (args.connect == Connect::ms) row =',
        'if (args.connect != Connect::none) row =',
        rows('rows'),
        ('multistep_fwd_rows',),
    ),
    Fault(
        'forward: multiply and add become one',
        'CMakeLists.txt',
        '--fmad=false',
        '--fmad=true',
        (f'{CUDA}::test_case',),
        ('multistep_fwd',),
    ),
    Fault(
        'fire: strict where it is not',
        MATH + 'fire.h',
        '(strict ? h > theta : h >= theta)',
        '(strict ? h > theta : h > theta)',
        rows('neuron'),
        ('multistep_fwd',),
    ),
    Fault(
        'quick forward: strict where it is not',
        MATH + 'fire.h',
        'least(values[2] != 0.f ?',
        'least(values[2] == 0.f ?',
        (f'{CUDA}::test_special_values', *rows('quick')),
        ('multistep_fwd_quick',),
    ),
    Fault(
        'quick forward: checkpoints a group late',
        DETAIL + 'quick_forward.cuh',
        'if (!checkpoint || (until_checkpoint -= kGroup) || left == 0) return;',
        'if (!checkpoint || (until_checkpoint -= kGroup) >= -kGroup + 1 || left == 0) return;',
        rows('quick'),
        ('multistep_fwd_quick',),
    ),
    Fault(
        'quick forward: rows of an incomplete group stay',
        DETAIL + 'quick.cuh',
        'for (int k = 0; k + 1 < kGroup; ++k) ahead[k] = ahead[k + 1];',
        'for (int k = 0; k + 1 < 2; ++k) ahead[k] = ahead[k + 1];',
        rows('quick', 'soft quick'),
        ('multistep_fwd_quick',),
    ),
    Fault(
        'coefficients: the channel behind the last one',
        DETAIL + 'numbers.cuh',
        'channel = channel + 1 < table_.channels ? channel + 1 : 0;',
        'channel = channel + 1;',
        (f'{CUDA}::test_coefficients_in_every_layout',),
        ('multistep_fwd_rows',),
    ),
]
BACKWARD = [
    Fault(
        'backward: stale checkpoint',
        DETAIL + 'backward.cuh',
        '(begin / args.interval - 1) * states_of(cell)',
        '0 * states_of(cell)',
        rows('rows'),
        ('multistep_bwd_rows',),
    ),
    Fault(
        'backward: sums of the step before are not cleared',
        DETAIL + 'backward.cuh',
        '          sums.clear();\n        }',
        '        }',
        rows('steps'),
        ('multistep_bwd_rows',),
    ),
    Fault(
        'backward: a column of shared memory that nobody fills',
        DETAIL + 'backward.cuh',
        'if (args.constant) Column<V>().clear(rows.total);',
        '',
        rows('constant'),
        ('multistep_bwd',),
    ),
    Fault(
        'backward: the last step alone of a constant input',
        DETAIL + 'gradient.cuh',
        'Column<V>().add(rows.total, gx)',
        'Column<V>().put(rows.total, gx)',
        rows('constant'),
        ('multistep_bwd',),
    ),
    Fault(
        'backward: bfloat16 cut off, not rounded',
        DETAIL + 'vector.cuh',
        '__bfloat16_as_ushort(__float2bfloat16_rn(values[j]))',
        'static_cast<unsigned short>(__float_as_uint(values[j]) >> 16)',
        rows('quick'),
        ('multistep_bwd_quick',),
    ),
    Fault(
        'backward: soft reset without its threshold',
        MATH + 'reset.h',
        SOFT + '    return -live * fire.theta;',
        SOFT + '    return -live;',
        rows('burst'),
        ('multistep_bwd',),
    ),
    Fault(
        'backward: detached reset has a gradient',
        MATH + 'reset.h',
        'v_reset(values[0]), live(values[1] != 0.f ? 0.f : 1.f)',
        'v_reset(values[0]), live(1.f)',
        (f'{CUDA}::test_case -k Hard',),
        ('multistep_bwd', 'multistep_bwd_quick'),
    ),
    Fault(
        'quick backward: no gradient through time',
        DETAIL + 'quick_backward.cuh',
        'g[j] = gh * back.dv;',
        'g[j] = 0.f;',
        rows('quick'),
        ('multistep_bwd_quick',),
    ),
    Fault(
        'quick backward: a step of the chunk before',
        DETAIL + 'quick_backward.cuh',
        'Shelf<V> place(count - 1);',
        'Shelf<V> place(count - 1 - (count > 1));',
        rows('quick'),
        ('multistep_bwd_quick',),
    ),
]
FAULTS = [*FORWARD, *BACKWARD]
