"""What is not modelled is refused by name, never guessed."""

import pytest

from ptxsim import GPU, Module, PtxError

from .snippets import kernel, run

UNMODELLED = [
    'add.sat.s32 %r1, %r2, %r3;',
    'add.cc.u32 %r1, %r2, %r3;',
    'add.rz.f64 %fd1, %fd2, %fd3;',
    'fma.rn.oob.f32 %f1, %f2, %f3, %f4;',
    'min.xorsign.abs.f32 %f1, %f2, %f3;',
    'cvt.rna.tf32.f32 %r1, %f1;',
    'cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2;',
    'cvt.rm.f16.f32 %h1, %f1;',
    'ld.global.mmio.u32 %r1, [%rd0];',
    'ld.shared::cluster.u32 %r1, [%rd0];',
    'ld.global.b128 %rd1, [%rd0];',
    'st.async.shared::cluster.u32 [%rd0], %r1;',
    'st.global.unknown.u32 [%rd0], %r1;',
    'atom.global.add.async.u32 %r1, [%rd0], %r2;',
    'atom.global.cas.b128 %rd1, [%rd0], %rd2, %rd3;',
    'red.async.relaxed.cluster.add.u32 [%rd0], %r2;',
    'setp.lt.and.weird.u32 %p1, %r1, %r2, %p2;',
    'setp.equ.u32 %p1, %r1, %r2;',
    'lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x96, %p2;',
    'mad.hi.sat.s32 %r1, %r2, %r3, %r4;',
    'cp.async.bulk.shared.global [%r1], [%rd0], 16;',
    'bar.arrive 0, 64;',
    'bar.sync 0, 32;',
    'barrier.cluster.arrive;',
    'fence.proxy.async;',
    'shfl.up.b32 %r1, %r2, 1, 0;',
    'vote.ballot.b32 %r1, %p1;',
    'mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f2};',
    'tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd0, {%f1, %f2}];',
    'call.uni foo, (%rd0);',
    'brx.idx %r1, table;',
    'mov.u64 %rd1, %globaltimer;',
    'min.s32 %r1, %r2, %r3, %r4;',
    'min.f64 %fd1, %fd2, %fd3, %fd4;',
    'max.f32 %f1, %f2, %f3, %f4, %f5;',
]


@pytest.mark.parametrize('text', UNMODELLED)
def test_unmodelled_instruction_is_refused(text: str) -> None:
    with pytest.raises(PtxError, match=r'not supported|unsupported|cannot parse') as caught:
        run(text, [256], block=64)
    assert text.split()[0].split('.')[0] in str(caught.value) or 'symbol' in str(caught.value)


def test_other_kernels_of_the_module_still_run() -> None:
    bad = kernel('mma.sync.aligned.m8n8k4 {%f1}, {%r1};')
    assert 'k' in bad.kernels


def test_argument_and_block_checks() -> None:
    module = kernel('', 1)
    with pytest.raises(PtxError, match='takes 1 arguments'):
        GPU().launch(module, 'k', 1, 32, [])
    with pytest.raises(PtxError, match='0 kernels match'):
        GPU().launch(module, 'nothing', 1, 32, [0])
    head = '.visible .entry q() .reqntid 64, 1, 1 { ret; } .visible .entry r() .maxntid 64 { ret; }'
    module = Module(f'.version 8.7\n.target sm_90\n.address_size 64\n{head}')
    GPU().launch(module, 'q', 1, 64, [])
    with pytest.raises(PtxError, match='needs blocks of'):
        GPU().launch(module, 'q', 1, 32, [])
    with pytest.raises(PtxError, match='allows 64 threads'):
        GPU().launch(module, 'r', 1, 128, [])
