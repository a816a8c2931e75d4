"""What the numbers depend on: a process whose allocator and threads are pinned, and what it says of itself."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

import snnkern

# What a user has who sets nothing, and what spares large blocks their page faults (in glibc, and in torch).
ALLOCATORS: dict[str, dict[str, str]] = {
    'default': {},
    'tuned': {
        'MALLOC_MMAP_THRESHOLD_': str(1 << 30),
        'MALLOC_TRIM_THRESHOLD_': str(4 << 30),
        'THP_MEM_ALLOC_ENABLE': '1',
    },
}
PINNED = ('MALLOC_', 'GLIBC_TUNABLES', 'THP_MEM_ALLOC_ENABLE', 'LD_PRELOAD', 'OMP_', 'GOMP_', 'KMP_', 'SNNKERN_')
CHILD = 'SNNKERN_BENCHMARK_CHILD'


def pinned_environment(arguments: Any) -> dict[str, str]:
    """This environment without anything that steers memory or threads, then what is asked for.

    arguments: with `allocator`, `passive` (idle threads sleep at once) and `threads`.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PINNED)}
    waiting = {'OMP_WAIT_POLICY': 'passive'} if arguments.passive else {}
    threads = {'OMP_NUM_THREADS': str(arguments.threads)}
    return {**kept, **ALLOCATORS[arguments.allocator], **threads, **waiting, CHILD: '1'}


def surroundings(allocator: str) -> dict[str, Any]:
    """What the numbers depend on."""
    huge_pages = Path('/sys/kernel/mm/transparent_hugepage/enabled')
    models = [line for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return {
        'allocator': allocator,
        'allocator settings': ALLOCATORS[allocator] or 'none set: defaults of glibc and torch',
        'libc': ' '.join(platform.libc_ver()),
        'transparent huge pages': huge_pages.read_text().strip() if huge_pages.exists() else 'unknown',
        'threads': torch.get_num_threads(),
        'threads wait': os.environ.get('OMP_WAIT_POLICY', 'as OpenMP does: spinning'),
        'cpu': models[0].partition(': ')[2] if models else platform.processor(),
        'cores': os.cpu_count(),
        'load average': round(os.getloadavg()[0], 1),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'snnkern': snnkern.__version__,
        'backends': str(snnkern.explain()).splitlines(),
        'peak memory': 'VmHWM - VmRSS before the call, after clear_refs; idle memory given back first',
    }
