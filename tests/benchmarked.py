"""Documents of `snnkern bench` with made times, so that its arithmetic and its pages are tested without a clock."""

from itertools import product
from typing import Any

import torch

from benchmarks import run, scaling, targets
from benchmarks.registry import OPS

SPEED = {  # nanoseconds a call and an element-step
    'snnkern native': (2e4, 0.2),
    'torch loop': (8e5, 3.5),
    'torch loop, torch.compile': (5e4, 0.4),
    'SpikingJelly': (1e6, 5.0),
    'SpikingJelly op, torch.compile': (5e4, 0.3),
    'copy of the same bytes': (1e3, 0.2),
}


def seconds(median: float, spread: float = 0.02) -> dict[str, float]:
    low, high = median * (1 - spread), median * (1 + spread)
    return {'median': median, 'low': low, 'high': high, 'least': low, 'cpu': median * 2, 'rounds': 5}


def row(provider: str, case: dict[str, Any], median: float) -> dict[str, Any]:
    ours = provider.startswith('snnkern')
    each = median / case['steps'] * 1e9
    return {'provider': provider, 'ours': ours, 'ns_per_step': each, 'gb_per_s': 3.0,
            'copy_share': 0.5, 'peak_bytes': case['footprint'] * (2 if ours else 9), 'first_call_s': 0.1,
            'seconds': seconds(median)}  # fmt: skip


def lif(T: int, N: int, dtype: str = 'float32', direction: str = 'forward', threads: int = 0) -> dict[str, Any]:
    """A case of LIF as `Result.as_dict` gives it, with made times."""
    made = OPS['lif'].case(T, N, getattr(torch, dtype), direction, threads)
    case: dict[str, Any] = {'name': str(made), 'group': 'ops', 'op': 'lif', 'T': T, 'N': N, 'dtype': dtype}
    case |= {'direction': direction, 'threads': threads, 'steps': made.steps, 'traffic': made.traffic}
    case |= {'footprint': made.footprint, 'cache': 4 << 20, 'took_s': 1.0, 'skipped': {}, 'failed': {}}
    slower = (2 if direction != 'forward' else 1) / max(1, threads * 0.8)
    case['rows'] = [row(name, case, (a + b * made.steps) * 1e-9 * slower) for name, (a, b) in SPEED.items()]
    return case


def network() -> dict[str, Any]:
    case: dict[str, Any] = {'name': 'train mlp', 'group': 'networks', 'op': 'train mlp', 'T': 10, 'N': 4}
    case |= {'dtype': 'float32', 'direction': 'training step', 'threads': 0, 'steps': 40, 'traffic': 0, 'footprint': 0}
    case |= {'cache': 4 << 20, 'took_s': 1.0, 'skipped': {'snnTorch': 'snntorch is not installed'}, 'failed': {}}
    case['rows'] = [row('snnkern native', case, 0.002), row('SpikingJelly', case, 0.005)]
    return case


def document() -> dict[str, Any]:
    """A run of the grid."""
    directions = 'forward', 'forward+backward'
    grid = product((1, 4, 16, 64), (1 << 6, 1 << 14, 1 << 18, 1 << 21), ('float32', 'bfloat16'), directions)
    cases = [lif(*each) for each in grid] + [
        lif(16, 1 << 18, direction=d, threads=k) for d in directions for k in (1, 2)
    ]
    cases.append(network())
    about = {'cpu': 'a <processor> & more', 'cores': 2, 'threads': 2, 'torch': '2.x', 'snnkern': '0.1', 'python': '3'}
    about |= {'allocator': 'default', 'threads wait': 'spinning', 'libraries': {'SpikingJelly': '2.0'}}
    settings = {'size': 'full', 'filter': '', 'providers': '', 'threads': 2, 'rounds': 0, 'allocator': 'default'}
    found: dict[str, Any] = {
        'format': run.FORMAT,
        'about': about,
        'settings': settings,
        'cases': cases,
        'seconds': 60.0,
    }
    found['startup'] = {name: seconds(0.1) for name in scaling.IMPORTS}
    found['fits'] = scaling.fits(cases)
    return found | {'targets': targets.verdicts(found)}
