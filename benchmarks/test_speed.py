"""`pytest benchmarks`: the registry's quick cases through pytest-benchmark, for its statistics and comparisons.

Without torch.compile (`snnkern bench` has it) and without assertions about time. `--benchmark-autosave` and
`--benchmark-compare` follow one machine over commits; rivals are compared in `snnkern bench`, interleaved.
"""

import pytest

from benchmarks.measure import check, expected_of
from benchmarks.registry import NATIVE, OPS, QUICK, Case, cases, providers
from benchmarks.subjects import NETWORKS
from benchmarks.timing import call_of

QUICK_CASES = [case for case in cases(QUICK) if not case.threads]
EAGER = [(c, p) for c in QUICK_CASES if c.op in OPS for p in OPS[c.op].providers if not p.compiled]
NETS = [case for case in QUICK_CASES if case.group == NETWORKS]


@pytest.mark.parametrize(('case', 'provider'), EAGER, ids=lambda value: getattr(value, 'name', str(value)))
@pytest.mark.filterwarnings('default')
def test_speed(benchmark, case: Case, provider) -> None:
    if reason := provider.missing():
        pytest.skip(reason)
    op = OPS[case.op]
    x, grad = op.inputs(case)
    call, expected = call_of(provider.build(case.dtype), case, x, grad), expected_of(op, case, x, grad)
    wrong = op.gate(call(), expected) if op.gate else check(call(), expected, provider.flips)
    assert wrong is None, wrong
    benchmark.extra_info['element-steps'] = case.steps
    benchmark(call)


@pytest.mark.parametrize('case', NETS, ids=str)
@pytest.mark.filterwarnings('default')
def test_networks(benchmark, case: Case) -> None:
    native = next(p for p in providers(case) if p.name == NATIVE)
    if reason := native.missing():
        pytest.skip(reason)
    benchmark.extra_info['images'] = case.N
    benchmark(native.make())
