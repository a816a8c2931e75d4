"""`pytest benchmarks`: the registry's cases through pytest-benchmark, for its statistics and comparisons.

Without torch.compile (`python -m benchmarks.run` has it) and without assertions about time. `--benchmark-autosave` and
`--benchmark-compare` follow one machine over commits; rivals are compared in `benchmarks.run`, interleaved.
"""

import pytest

from benchmarks.registry import PROVIDERS, Case, Provider, cases
from benchmarks.run import check
from benchmarks.timing import call_of

SMALL = [c for c in cases() if c.N <= 1 << 18]
EAGER = [p for p in PROVIDERS if not p.compiled]


@pytest.mark.parametrize('provider', EAGER, ids=lambda p: p.name)
@pytest.mark.parametrize('case', SMALL, ids=str)
@pytest.mark.filterwarnings('default')
def test_speed(benchmark, case: Case, provider: Provider) -> None:
    if reason := provider.missing():
        pytest.skip(reason)
    x, grad = case.inputs()
    reference = next(p for p in PROVIDERS if p.name == 'snnkern reference')
    call = call_of(provider.build(), case, x, grad)
    wrong = check(call(), call_of(reference.build(), case, x, grad)())
    assert wrong is None, wrong
    benchmark.extra_info['element-steps'] = case.steps
    benchmark(call)
