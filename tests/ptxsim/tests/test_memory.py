"""Checks on memory accesses, barriers and warps, and the traffic counters."""

import numpy as np
import pytest

from ptxsim import GPU, PtxError

from .snippets import kernel, run

INDEX = 'mul.wide.u32 %rd9, %r13, 4; add.s64 %rd10, %rd0, %rd9;\n'
SHARED = '.shared .align 16 .b8 tile[256];\n'
HERE = 'mov.u32 %r1, tile; shl.b32 %r2, %r12, 2; add.s32 %r3, %r1, %r2;\n'
ONES = np.ones(64, np.float32)


def test_out_of_bounds() -> None:
    with pytest.raises(PtxError, match=r'out-of-bounds read of 4 bytes .*p0, offset 256 of 256.*thread 32'):
        run(INDEX + 'ld.global.f32 %f1, [%rd10+128];', [ONES], block=64)
    with pytest.raises(PtxError, match='out-of-bounds write'):
        run('mov.u64 %rd1, 64; st.global.u32 [%rd1], 1;', [ONES])


def test_misaligned() -> None:
    with pytest.raises(PtxError, match='misaligned 4-byte access'):
        run(INDEX + 'ld.global.f32 %f1, [%rd10+2];', [ONES])


def test_misaligned_base_reads_the_right_bytes() -> None:

    gpu = GPU()
    halves = np.arange(64, dtype=np.uint16)
    source, target = gpu.put(halves, misalign=2), gpu.alloc(4)
    body = 'ld.param.u64 %rd0, [p0]; ld.param.u64 %rd1, [p1];'
    body += 'ld.global.u32 %r1, [%rd0+2]; st.global.u32 [%rd1], %r1;'
    gpu.launch(kernel(body, 2), 'k', 1, 1, [source, target])
    assert gpu.get(target, np.uint16).tolist() == [1, 2]


def test_never_written() -> None:
    with pytest.raises(PtxError, match='never written in p0, offset 0'):
        run(INDEX + 'ld.global.f32 %f1, [%rd10];', [256])
    with pytest.raises(PtxError, match='never written in shared'):
        run(SHARED + HERE + 'ld.shared.u32 %r4, [%r3];', [256])


def test_race_across_warps_and_its_cure() -> None:
    exchange = 'xor.b32 %r4, %r3, 128; ld.shared.u32 %r5, [%r4];'
    _, _, racing = run(SHARED + HERE + 'st.shared.u32 [%r3], %r12;' + exchange, [256], block=64, seed=1)
    assert racing.races
    assert 'race on shared' in racing.races[0]
    assert 'thread' in racing.races[0]
    good = SHARED + HERE + 'st.shared.u32 [%r3], %r12; bar.sync 0;' + exchange
    assert run(good, [256], block=64)[2].races == []


def test_race_within_a_warp_needs_a_warp_barrier() -> None:
    exchange = 'xor.b32 %r4, %r3, 4; ld.shared.u32 %r5, [%r4];'
    assert run(SHARED + HERE + 'st.shared.u32 [%r3], %r12;' + exchange, [256])[2].races
    cured = SHARED + HERE + 'st.shared.u32 [%r3], %r12; bar.warp.sync 0xffffffff;' + exchange
    assert run(cured, [256])[2].races == []


def test_write_after_reads_by_others_is_a_race() -> None:
    start = SHARED + 'mov.u32 %r1, tile; setp.eq.s32 %p1, %r12, 0; @%p1 st.shared.u32 [%r1], 7; bar.sync 0;'
    body = start + 'ld.shared.u32 %r5, [%r1]; {0} setp.eq.s32 %p2, %r12, 40; @%p2 st.shared.u32 [%r1], 8;'
    assert run(body.replace('{0}', ''), [256], block=64)[2].races
    assert run(body.replace('{0}', 'bar.sync 0;'), [256], block=64)[2].races == []
    warp = body.replace('40', '0').replace('{0}', 'bar.warp.sync 0xffffffff;')
    assert run(warp, [256], block=32)[2].races == []


def test_atomics_do_not_race_but_plain_updates_do() -> None:
    zero = np.zeros(1, np.int32)
    gpu, (counter,), record = run('atom.global.add.u32 %r1, [%rd0], 1;', [zero], grid=3, block=64)
    assert gpu.get(counter, np.int32)[0] == 192
    assert record.races == []
    plain = 'ld.global.u32 %r1, [%rd0]; add.s32 %r1, %r1, 1; st.global.u32 [%rd0], %r1;'
    assert run(plain, [zero], grid=3, block=64)[2].races


@pytest.mark.parametrize('seed', [None, 1, 2])
def test_atomic_operations(seed: int | None) -> None:
    start = np.array([5, 0, 100, 7, 7, 0, 9, 0], np.uint32)
    names = ['add', 'max', 'min', 'inc', 'dec', 'or', 'exch', 'cas']
    body = ''
    for place, name in enumerate(names):
        ptype = 'b32' if name in ('or', 'exch', 'cas') else 'u32'
        second = ', %r12' if name == 'cas' else ''
        first = '0' if name == 'cas' else '10' if name in ('inc', 'dec') else '%r12'
        body += f'atom.global.{name}.{ptype} %r1, [%rd0+{4 * place}], {first}{second};\n'
    gpu, (cells,), _ = run(body, [start], seed=seed)
    got = gpu.get(cells, np.uint32)
    assert got[:3].tolist() == [5 + 496, 31, 0]
    assert got[5] == 31
    value, down = 7, 7
    for _ in range(32):
        value = 0 if value >= 10 else value + 1
        down = 10 if down == 0 or down > 10 else down - 1
    assert got[3:5].tolist() == [value, down]
    assert got[6] < 32
    assert got[7] < 32


def test_float_atomics() -> None:
    zero = np.zeros(4, np.float32)
    body = 'mov.f32 %f1, 0f3F000000; red.global.add.f32 [%rd0], %f1; red.global.add.v2.f32 [%rd0+8], {%f1, %f1};'
    gpu, (cells,), _ = run(body, [zero])
    assert gpu.get(cells, np.float32).tolist() == [16, 0, 16, 16]


def test_divergent_barrier_and_shuffle() -> None:
    with pytest.raises(PtxError, match='exited or do not exist'):
        run('setp.gt.s32 %p1, %r12, 7; @%p1 ret; shfl.sync.bfly.b32 %r1, %r12, 1, 31, -1;', [256])
    with pytest.raises(PtxError, match='own member mask'):
        run('shfl.sync.bfly.b32 %r1, %r12, 1, 31, 0xffff;', [256])
    with pytest.raises(PtxError, match='outside the member mask'):
        run('setp.gt.s32 %p1, %r12, 15; @%p1 ret; shfl.sync.bfly.b32 %r1, %r12, 16, 31, 0xffff;', [256])
    split = 'setp.gt.s32 %p1, %r12, 15; @%p1 bra OTHER; bar.sync 0; ret; OTHER: bar.sync 1;'
    with pytest.raises(PtxError, match='deadlock'):
        run(split, [256])


def test_endless_loop() -> None:
    with pytest.raises(PtxError, match='endless loop'):
        run('AGAIN: bra AGAIN;', [256], max_steps=1000)


@pytest.mark.parametrize('seed', range(4))
def test_diverging_loops_meet_again(seed: int) -> None:
    body = INDEX + (
        'mov.u32 %r1, 0; MORE: add.s32 %r1, %r1, %r12; add.s32 %r2, %r2, 1; setp.le.s32 %p1, %r2, %r12;'
        '@%p1 bra MORE; st.global.u32 [%rd10], %r1;'
    )
    gpu, (out,), _ = run(body, [256], block=64, seed=seed)
    t = np.arange(64)
    assert np.array_equal(gpu.get(out, np.uint32), t * (t + 1))


def test_named_barrier_and_votes() -> None:
    body = INDEX + (
        'setp.lt.u32 %p1, %r12, 5; bar.red.popc.u32 %r1, 3, %p1; bar.red.or.pred %p2, 3, %p1; '
        'vote.sync.ballot.b32 %r2, %p1, -1; selp.b32 %r3, 1000, 0, %p2; add.s32 %r1, %r1, %r3; '
        'add.s32 %r1, %r1, %r2; st.global.u32 [%rd10], %r1;'
    )
    gpu, (out,), _ = run(body, [256], block=64)
    assert gpu.get(out, np.uint32).tolist() == [1005 + 31] * 32 + [1005] * 32


def test_coalescing_is_counted() -> None:
    body = INDEX + 'ld.global.f32 %f1, [%rd10];'
    t = run(body, [ONES], block=64)[2].traffic()
    assert (t.load, t.sectors, t.ideal, t.min_width) == (256, 8, 8, 4)
    assert t.sector_ratio == 1.0
    strided = 'mul.wide.u32 %rd9, %r13, 64; add.s64 %rd10, %rd0, %rd9; ld.global.f32 %f1, [%rd10];'
    t = run(strided, [np.zeros(1024, np.float32)], block=64)[2].traffic()
    assert t.sectors == 64
    assert t.sector_ratio == 8.0


@pytest.mark.parametrize(('vector', 'names'), [('v8.f32', 'f'), ('v4.b64', 'rd')])
def test_accesses_of_32_bytes(vector: str, names: str) -> None:
    count = int(vector[1])
    listed = ', '.join(f'%{names}{k + (10 if names == "rd" else 1)}' for k in range(count))
    body = 'mul.wide.u32 %rd9, %r13, 32; add.s64 %rd7, %rd0, %rd9; add.s64 %rd8, %rd1, %rd9;'
    body += f'ld.global.{vector} {{{listed}}}, [%rd7]; st.global.{vector} [%rd8], {{{listed}}};'
    data = np.arange(512, dtype=np.float32)
    gpu, (_, out), record = run(body, [data, 2048], block=64)
    assert np.array_equal(gpu.get(out, np.float32), data)
    t = record.traffic()
    assert (t.load, t.store, t.min_width, t.sector_ratio) == (2048, 2048, 32, 1.0)
    with pytest.raises(PtxError, match='misaligned 32-byte access'):
        run(body.replace('[%rd7]', '[%rd7+16]'), [data, 2048], block=1)


def test_bank_conflicts_are_counted() -> None:
    def waves(stride: int) -> int:
        body = '.shared .align 16 .b8 tile[4096];\nmov.u32 %r1, tile; '
        body += f'mad.lo.s32 %r3, %r12, {stride}, %r1; st.shared.u32 [%r3], %r12;'
        return run(body, [256])[2].traffic('shared').waves

    assert [waves(4), waves(8), waves(128), waves(0)] == [1, 2, 32, 1]


def test_async_copy_fills_with_zeros() -> None:
    data = np.arange(64, dtype=np.float32)
    body = SHARED + (
        'mov.u32 %r1, tile; shl.b32 %r2, %r12, 4; add.s32 %r3, %r1, %r2; mul.wide.u32 %rd9, %r12, 16;'
        'add.s64 %rd10, %rd0, %rd9; setp.lt.u32 %p1, %r12, 3; selp.b32 %r5, 16, 8, %p1;'
        'cp.async.cg.shared.global [%r3], [%rd10], 16, %r5; cp.async.commit_group; cp.async.wait_group 0;'
        'ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r3]; add.s64 %rd11, %rd1, %rd9;'
        'st.global.v4.f32 [%rd11], {%f1, %f2, %f3, %f4};'
    )
    gpu, (_, out), _ = run(body, [data, 256], block=16)
    expected = data.reshape(16, 4).copy()
    expected[3:, 2:] = 0
    assert np.array_equal(gpu.get(out, np.float32, (16, 4)), expected)


@pytest.mark.parametrize('trans', ['', '.trans'])
def test_matrix_loads_and_stores(trans: str) -> None:
    data = np.arange(128, dtype=np.uint16)
    body = SHARED + (
        'mov.u32 %r1, tile; shl.b32 %r2, %r12, 3; add.s32 %r3, %r1, %r2; mul.wide.u32 %rd9, %r12, 8;'
        'add.s64 %rd10, %rd0, %rd9; ld.global.v2.u32 {%r4, %r5}, [%rd10]; st.shared.v2.u32 [%r3], {%r4, %r5};'
        'bar.sync 0; and.b32 %r6, %r12, 15; shl.b32 %r6, %r6, 4; add.s32 %r7, %r1, %r6;'
        f'ldmatrix.sync.aligned.m8n8.x2{trans}.shared.b16 {{%r8, %r9}}, [%r7]; bar.sync 0;'
        f'stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r7], {{%r8, %r9}}; bar.sync 0;'
        'ld.shared.v2.u32 {%r4, %r5}, [%r3]; add.s64 %rd11, %rd1, %rd9; st.global.v2.u32 [%rd11], {%r4, %r5};'
    )
    gpu, (_, out), record = run(body, [data, 256])
    expected = data.reshape(2, 8, 8)
    expected = expected.transpose(0, 2, 1) if trans else expected
    assert np.array_equal(gpu.get(out, np.uint16, (2, 8, 8)), expected)
    assert record.races == []
