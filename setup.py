"""Builds the native modules with CMake; everything else stands in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
OPTIONS = ('SNNKERN_CUDA', 'SNNKERN_CUDA_ARCHS', 'SNNKERN_CUDART', 'SNNKERN_PLAIN', 'SNNKERN_WERROR')


def stale(cache: Path) -> bool:
    """Whether a CMake cache names a folder or programs that are gone: pip's build environments vanish."""
    values = dict(re.findall(r'^(\w+):\w+=(.*)$', cache.read_text(), re.MULTILINE))
    programs = ('CMAKE_COMMAND', 'CMAKE_MAKE_PROGRAM', 'pybind11_DIR')
    moved = values.get('CMAKE_HOME_DIRECTORY') != str(ROOT)
    return moved or not all(os.path.exists(values.get(name, '')) for name in programs)


def cmake(folder: Path) -> None:
    """Configure and build in `folder`; an option unset in the environment returns to its default."""
    if (folder / 'CMakeCache.txt').exists() and stale(folder / 'CMakeCache.txt'):
        shutil.rmtree(folder)
    options = [f'-D{name}={os.environ[name]}' if os.environ.get(name) else f'-U{name}' for name in OPTIONS]
    options.append(f'-DPython_EXECUTABLE={sys.executable}')
    # cmake and ninja of an environment that is used without being activated
    path = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])
    env = {**os.environ, 'PATH': path}
    try:
        subprocess.run(['cmake', '-G', 'Ninja', '-S', ROOT, '-B', folder, *options], check=True, env=env)
        subprocess.run(['cmake', '--build', folder], check=True, env=env)
    except FileNotFoundError as error:
        raise CompileError('cmake was not found: pip install cmake ninja pybind11') from error
    except subprocess.CalledProcessError as error:
        raise CompileError('CMake failed, its messages stand above') from error


class CMakeBuild(build_ext):
    """One CMake build for all modules; what it did not make (`_cuda` without nvcc) is absent afterwards."""

    def run(self) -> None:
        folder = ROOT / 'build' / f'cmake-{sysconfig.get_config_var("SOABI")}'
        cmake(folder)
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name))
            built = folder / target.name
            if not built.exists():
                target.unlink(missing_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # replaced, not overwritten: a running process may have the old one mapped
            shutil.copy2(built, f'{target}.new')
            os.replace(f'{target}.new', target)


setup(
    ext_modules=[Extension('snnkern._cpu', []), Extension('snnkern._cuda', [], optional=True)],
    cmdclass={'build_ext': CMakeBuild},
)
