"""Runs a few PTX instructions over arrays: one thread an element."""

import numpy as np

from ptxsim import GPU, Module, Run

DECLARATIONS = (
    '.reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>;\n'
    '.reg .f32 %f<9>; .reg .f64 %fd<9>;\n'
    'mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mov.u32 %r12, %tid.x;\n'
    'mad.lo.s32 %r13, %r10, %r11, %r12;\n'
)


def kernel(body: str, parameters: int = 0, head: str = '') -> Module:
    """A module with one kernel `k` of 64-bit parameters p0, p1, ..."""
    listed = ', '.join(f'.param .u64 p{i}' for i in range(parameters))
    return Module(
        f'.version 8.7\n.target sm_90\n.address_size 64\n{head}\n'
        f'.visible .entry k({listed}) {{\n{DECLARATIONS}{body}\nret;\n}}'
    )


def register_kind(dtype: np.dtype) -> str:
    """The register family that holds a numpy type."""
    if dtype == np.float32:
        return 'f'
    if dtype == np.float64:
        return 'fd'
    return {1: 'h', 2: 'h', 4: 'r', 8: 'rd'}[dtype.itemsize]


def evaluate(body: str, inputs: list[np.ndarray], output: type = np.uint32) -> np.ndarray:
    """Inputs are in register 0, 1, ... of their family; the result is register 8 of the output's family."""
    out = np.dtype(output)
    text = ''
    for i, array in enumerate(inputs):
        register = f'%{register_kind(array.dtype)}{i}'
        text += f'ld.param.u64 %rd{i + 10}, [p{i}];\n'
        text += f'mad.wide.s32 %rd{i + 10}, %r13, {array.itemsize}, %rd{i + 10};\n'
        text += f'ld.global.b{8 * array.itemsize} {register}, [%rd{i + 10}];\n'
    text += f'{body}\nld.param.u64 %rd19, [p{len(inputs)}]; mad.wide.s32 %rd19, %r13, {out.itemsize}, %rd19;\n'
    text += f'st.global.b{8 * out.itemsize} [%rd19], %{register_kind(out)}8;'
    gpu = GPU()
    arguments = [gpu.put(a) for a in inputs]
    count = len(inputs[0])
    result = gpu.alloc(count * out.itemsize)
    gpu.launch(kernel(text, len(inputs) + 1), 'k', -(-count // 128), 128, [*arguments, result], race=False)
    return gpu.get(result, output)


def run(body: str, arrays: list, grid: int = 1, block: int = 32, head: str = '', **options) -> tuple[GPU, list, Run]:
    """Run a body on arrays (an int: that many bytes never written); `%rd<i>` hold their addresses."""
    gpu = GPU()
    allocations = [gpu.alloc(a, f'p{i}') if isinstance(a, int) else gpu.put(a, f'p{i}') for i, a in enumerate(arrays)]
    loads = ''.join(f'ld.param.u64 %rd{i}, [p{i}];\n' for i in range(len(arrays)))
    module = kernel(loads + body, len(arrays), head)
    return gpu, allocations, gpu.launch(module, 'k', grid, block, allocations, **options)
