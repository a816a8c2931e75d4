"""Faults that are planted into the Triton kernels and the Python that launches kernels, each with its tests."""

from mutations_fault import Fault

TRITON, NATIVE = 'snnkern/backends/triton/', 'snnkern/backends/native/'
MATRIX, WINDOWS = 'tests/test_gpu_matrix.py', 'tests/test_gpu_windows.py'
CASES, PACK, LAUNCH = 'tests/test_triton.py', 'tests/test_pack.py', 'tests/test_gpu_launch.py'
POOLS, MOMENTS, ENCODE = 'tests/test_pool_triton.py', 'tests/test_moments.py', 'tests/test_encode_gpu.py'
NEURON = (f'{CASES}::test_channels_last_through_autograd',)

LAUNCHES = [
    Fault(
        'native: the default stream',
        NATIVE + 'multistep.py',
        '*more, *device.where(x))',
        '*more, device.where(x)[0], 0)',
        (f'{LAUNCH}::test_device_and_stream -k neuron',),
    ),
    Fault(
        'native: checkpoints of one state',
        NATIVE + 'multistep.py',
        'device.new(x, kept * states, torch.float32) if kept',
        'device.new(x, kept, torch.float32) if kept',
        (f'{MATRIX}::test_cuda -k test_cuda[states-',),
    ),
    Fault(
        'native: rows and columns of a pool change places',
        NATIVE + 'pool.py',
        'shape, rows, cols, pool.scale, x.data_ptr()',
        'shape, cols, rows, pool.scale, x.data_ptr()',
        (f'{MATRIX}::test_cuda -k test_cuda[spike_max-',),
    ),
    Fault(
        'triton: a block too few',
        TRITON + 'moments.py',
        '(-(-N // block),)',
        '(max(1, N // block),)',
        (f'{MOMENTS}::test_every_layout -k triton', f'{MATRIX}::test_triton -m "" -k test_triton[moments-1'),
    ),
    Fault(
        'triton: multiply and add become one',
        TRITON + 'device.py',
        "'enable_fp_fusion': False",
        "'enable_fp_fusion': True",
        (f'{MATRIX}::test_no_contraction_triton',),
    ),
]
NEURONS = [
    Fault(
        'triton: neurons that do not exist are stored',
        TRITON + 'rows.py',
        'inside = offsets < N\n',
        'inside = offsets < N + VECTOR\n',
        NEURON,
    ),
    Fault(
        'triton: neurons numbered in 32 bits',
        TRITON + 'rows.py',
        'start = tl.program_id(0).to(tl.int64) * BLOCK',
        'start = tl.program_id(0) * BLOCK',
        (f'{WINDOWS}::test_moments -k on_triton',),
    ),
    Fault(
        'triton: the second state in the place of the first',
        TRITON + 'rows.py',
        'tl.store(p + (first + 1) * at.N + at.offsets, states.i, inside)',
        'tl.store(p + first * at.N + at.offsets, states.i, inside)',
        (f'{MATRIX}::test_triton -m "" -k test_triton[states-9',),
    ),
    Fault(
        'triton: stale checkpoint',
        TRITON + 'rows.py',
        'now = load_states(checkpoints, (chunk - 1) * (1',
        'now = load_states(checkpoints, 0 * (1',
        (f'{CASES}::test_few_variants', f'{CASES}::test_case -k T40'),
    ),
    Fault(
        'triton: a step is stored in the row before',
        TRITON + 'loops.py',
        'tl.store(to, out.to(to.dtype.element_ty), at.inside)',
        'tl.store(to - at.N * (first > 0), out.to(to.dtype.element_ty), at.inside)',
        (*NEURON, f'{MATRIX}::test_triton -m "" -k test_triton[quick-8'),
    ),
    Fault(
        'triton: the last step alone of a constant input',
        TRITON + 'loops.py',
        'total += gx\n',
        'total = gx\n',
        (f'{MATRIX}::test_triton -m "" -k test_triton[constant-7',),
    ),
    Fault(
        'triton: residual added before, not after',
        TRITON + 'loops.py',
        "if CONNECT == 'ms':",
        "if CONNECT != '':",
        (f'{MATRIX}::test_triton -m "" -k test_triton[rows-5',),
    ),
    Fault(
        'triton: strict where it is not',
        TRITON + 'math.py',
        'yes = h > bar if KIND.STRICT else h >= bar',
        'yes = h > bar',
        (f'{CASES}::test_not_finite',),
    ),
    Fault(
        'triton: detached reset has a gradient',
        TRITON + 'math.py',
        '        if not KIND.DETACH:\n',
        '        if KIND.DETACH or not KIND.DETACH:\n',
        (f'{CASES}::test_case -k Hard',),
    ),
    Fault(
        'triton: soft reset without its threshold',
        TRITON + 'math.py',
        'up, down = gs - gv * w.theta,',
        'up, down = gs - gv,',
        (f'{MATRIX}::test_triton -m "" -k test_triton[burst-8',),
    ),
    Fault(
        'triton: coefficients of the channel before',
        TRITON + 'rows.py',
        'columns = first + passed - crossings(first, wide, passed) * wide',
        'columns = first + passed - crossings(first, wide, passed)',
        (f'{CASES}::test_coefficients_of_channels',),
    ),
]
OTHERS = [
    Fault(
        'triton poisson: the counter stands still',
        TRITON + 'encode_kernel.py',
        'zero + block.to(tl.uint32), zero)',
        'zero, zero)',
        (f'{ENCODE}::test_triton -k 90',),
    ),
    Fault(
        'triton pack: bits in reverse',
        TRITON + 'pack_kernels.py',
        'spike.to(tl.int32) << tl.arange(0, 8)',
        'spike.to(tl.int32) << 7 - tl.arange(0, 8)',
        (f'{PACK}::test_triton',),
    ),
    Fault(
        'triton pack: what is no spike is not seen',
        TRITON + 'pack_kernels.py',
        'mask=tl.max(wrong.to(tl.int32), 0) != 0)',
        'mask=tl.max(wrong.to(tl.int32), 0) > 1)',
        (f'{PACK}::test_triton',),
    ),
    Fault(
        'triton pool: of equal cells the last one wins',
        TRITON + 'pool_kernels.py',
        'more = (key > best.key) |',
        'more = (key >= best.key) |',
        (f'{POOLS}::test_case',),
    ),
    Fault(
        'triton pool: rows of steps in 32 bits',
        TRITON + 'pool_kernels.py',
        't = (T - 1 - step if BACK else step).to(tl.int64)',
        't = T - 1 - step if BACK else step',
        (f'{WINDOWS}::test_pools -k on_triton',),
    ),
    Fault(
        'triton pool: the gradient of the step behind stays',
        TRITON + 'pool_gather.py',
        'value -= tl.load(grad + outputs + place',
        'value -= 0 * tl.load(grad + outputs + place',
        (f'{POOLS}::test_case -k lateral',),
    ),
]
HARMLESS = Fault(
    'triton moments: another order of a product',
    TRITON + 'kernels.py',
    'mean += change * tl.div_rn(1.0, (t + 1).to(tl.float32))',
    'mean += tl.div_rn(1.0, (t + 1).to(tl.float32)) * change',
    (f'{MOMENTS}::test_misaligned -k triton',),
    harmless=True,
)
FAULTS = [*LAUNCHES, *NEURONS, *OTHERS, HARMLESS]
