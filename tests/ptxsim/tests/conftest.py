"""Compilers for the tests' sample kernels. Tests that need a missing tool are skipped."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptxsim import FakeGPU, ToolError
from ptxsim.toolchain import c_compiler, cuda_tool, find_program, patchelf

HERE = Path(__file__).parent
KERNELS = HERE / 'kernels'


def needs(find: Callable, *names: str) -> None:
    """Skip the test where a tool is missing, with the reason that its finder gives."""
    try:
        find(*names)
    except ToolError as missing:
        pytest.skip(str(missing))


def compile_with_nvcc(arguments: list[str]) -> None:
    """Run nvcc, or skip the test if there is none."""
    compiler = find_program('nvcc')
    if compiler is None:
        pytest.skip('nvcc is not installed')
    done = subprocess.run([compiler, '-std=c++17', '-w', *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope='session')
def compile_ptx(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """compile_ptx(source, arch, *flags): the PTX of a .cu file for sm_<arch>, compiled once a session."""
    done: dict[tuple, str] = {}
    folder = tmp_path_factory.mktemp('ptx')

    def compiled(source: Path | str, arch: int, *flags: str) -> str:
        key = (str(source), arch, flags)
        if key not in done:
            target = folder / f'{len(done)}.ptx'
            path = str(KERNELS / source)
            compile_with_nvcc([f'-arch=compute_{arch}', '-ptx', *flags, path, '-o', str(target)])
            done[key] = target.read_text()
        return done[key]

    return compiled


@pytest.fixture
def compile_cubin(tmp_path: Path) -> Callable:
    """compile_cubin(source, *flags): machine code of a .cu file for sm_90, or for another -arch among the flags."""
    for tool in ('cuobjdump', 'nvdisasm'):
        needs(cuda_tool, tool)

    def compiled(source: str, *flags: str) -> Path:
        target = tmp_path / f'{Path(source).name}.cubin'
        compile_with_nvcc([*(flags or ['-arch=sm_90']), '-cubin', str(KERNELS / source), '-o', str(target)])
        return target

    return compiled


@pytest.fixture(scope='session')
def sample_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lif_api.cu compiled, with PTX for sm_75 and sm_90."""
    needs(patchelf)
    needs(c_compiler)
    needs(cuda_tool, 'cuobjdump')
    target = tmp_path_factory.mktemp('library') / 'lif_api.o'
    targets = [f'-gencode=arch=compute_{a},code=compute_{a}' for a in (75, 90)]
    compile_with_nvcc(['-c', '-Xcompiler', '-fPIC', *targets, str(KERNELS / 'lif_api.cu'), '-o', str(target)])
    return target


@pytest.fixture(scope='session')
def sample_library(sample_object: Path) -> Path:
    """lif_api.cu as a shared library."""
    target = sample_object.with_name('liblif.so')
    compile_with_nvcc(['-shared', '-cudart', 'shared', str(sample_object), '-o', str(target)])
    return target


@pytest.fixture
def gpu(sample_library: Path) -> Iterator[FakeGPU]:
    """The sample library, loaded."""
    with FakeGPU(sample_library) as gpu:
        yield gpu
