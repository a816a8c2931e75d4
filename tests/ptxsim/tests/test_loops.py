"""Loops of machine code and of graphs."""

import pytest

from ptxsim import sass_loops
from ptxsim.flow import natural_loops
from ptxsim.sassloops import instruction_class


@pytest.mark.parametrize('arch', ['sm_75', 'sm_120'])
def test_loops_of_a_compiled_kernel(compile_cubin, arch: str) -> None:
    loops = sass_loops(compile_cubin('loops.cu', f'-arch={arch}'), arch)
    assert loops.keys() == {'nested', 'choice', 'straight'}
    assert loops['straight'] == []
    (outer,) = (loop for loop in loops['nested'] if loop.inner)  # nvcc may add a copy of it for steps < 1
    (inner,) = outer.inner
    assert [*outer.innermost()] == [inner]
    assert outer.start < inner.start < inner.end < outer.end
    assert (outer.depth, inner.depth) == (0, 1)
    assert inner.loads == {'32': 1}
    assert inner.stores == {}
    assert inner.count('FFMA') == inner.classes['float'] == 1
    assert inner.special_functions == 0
    assert 4 <= inner.size <= 12
    assert outer.loads == {}
    assert outer.stores == {'32': 1}
    assert outer.special_functions == outer.classes['special'] == 1


@pytest.mark.parametrize('arch', ['sm_75', 'sm_120'])
def test_all_cases_of_a_switch_are_in_the_loop(compile_cubin, arch: str) -> None:
    """Its table of branches, and the division's slow path, which lies behind the kernel's end and is a call."""
    loop = max(sass_loops(compile_cubin('loops.cu', f'-arch={arch}'))['choice'], key=lambda loop: loop.size)
    assert loop.count('BRX', 'BRXU') >= 1
    assert loop.loads == {'128': 1, '32': 1}
    assert loop.stores == {'128': 1}
    assert loop.count('CALL') == 1
    assert loop.count('EXIT', 'RET') == 0


def test_classes() -> None:
    names = {
        'LDG.E.128': 'global',
        'FFMA.FTZ': 'float',
        'IMAD.WIDE': 'integer',
        'IMAD.MOV.U32': 'move',
        'UIADD3': 'uniform',
    }
    assert {name: instruction_class(name) for name in [*names, 'QUUX']} == names | {'QUUX': 'other'}


GRAPHS = {
    'straight': ([[1], [2], []], {}),
    'to itself': ([[1], [1, 2], []], {1: {1}}),
    'nested': ([[1], [2], [2, 3], [1, 4], []], {1: {1, 2, 3}, 2: {2}}),
    'two ways back': ([[1], [2, 3], [1], [1, 4], []], {1: {1, 2, 3}}),
    'code behind the end': ([[1], [2, 4], [1, 3], [], [2]], {1: {1, 2, 4}}),
    'back to code that is not always passed': ([[1, 2], [2], [1, 3], []], {}),
    'dead code': ([[1], [], [2]], {}),
}


@pytest.mark.parametrize('name', GRAPHS)
def test_natural_loops(name: str) -> None:
    after, expected = GRAPHS[name]
    assert natural_loops(after, [0]) == expected


def test_loops_of_called_functions() -> None:
    assert natural_loops([[], [2], [1, 3], []], [0, 1]) == {1: {1, 2}}
