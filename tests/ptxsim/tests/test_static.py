"""Facts read from machine code, and the bound on time."""

import pytest
import torch

from ptxsim import DEVICES, Module, sass_facts, time_bound

from .lif import Case, run_cuda


def test_widths_registers_and_spills(compile_cubin) -> None:
    facts = sass_facts(compile_cubin('lif_api.cu'))
    forward = next(f for name, f in facts.items() if 'lif_fwdIf' in name)
    assert set(forward.loads) == {'128'}
    assert set(forward.stores) == {'128'}
    assert forward.spills == 0
    assert 8 < forward.registers < 128
    assert forward.size > 50
    backward = next(f for name, f in facts.items() if 'lif_bwdIf' in name)
    assert backward.special_functions > 0
    assert backward.shared >= 128


def test_spills_are_seen(compile_cubin) -> None:
    (facts,) = sass_facts(compile_cubin('spill.cu'), 'sm_90').values()
    assert facts.spills > 0
    assert facts.stack > 0
    assert facts.registers <= 32


def test_time_bound(compile_ptx) -> None:
    module = Module(compile_ptx('lif_api.cu', 90))
    _, forward, _ = run_cuda(module, Case(torch.float32, 4, 1 << 15), race=False)
    for name in DEVICES:
        bound = time_bound(forward, name)
        assert bound.total >= max(bound.microseconds.values()) > 0
        assert 0 < bound.dram_share <= 1
    traffic = forward.traffic()
    dram = time_bound(forward, 'h100').microseconds['dram']
    assert dram == pytest.approx((traffic.load + traffic.store) / 3.35e12 * 1e6)
