"""The machine code of native CPU: hot loops are vector instructions, instruction sets do not leak into each other.

Speed would show it too, but only on a quiet machine; a scalar loop creeps in silently.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from conftest import CPU

COMPILER = re.search(rb'GCC: \([^)]*\) (\d+)', Path(CPU.__file__).read_bytes())
pytestmark = [
    pytest.mark.skipif(not shutil.which('objdump'), reason='objdump is not installed'),
    pytest.mark.skipif(not COMPILER or int(COMPILER[1]) < 12, reason='counts are those of g++ 12 and later'),
]

REGISTERS = {'avx2': 'ymm', 'avx512': 'zmm'}
PACKED = re.compile(r'^v?(add|sub|mul|div|max|min|cmp\w*|fn?m(add|sub)\d*)p[sd]$')


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def functions():
    """Demangled name -> lines (address, instruction, operands) of every function of the kernels."""
    found, current = {}, []
    for line in output('objdump', '-d', '-C', '--no-show-raw-insn', CPU.__file__).splitlines():
        if head := re.match(r'^[0-9a-f]+ <(.*)>:$', line):
            current = found.setdefault(head[1], [])
        elif code := re.match(r'^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$', line):
            current.append((int(code[1], 16), code[2], code[3]))
    return {name: code for name, code in found.items() if 'snn::' in name}


def loops(code):
    """Bodies of the innermost loops of a function: from the target of a backward jump to the jump."""
    places = {address: i for i, (address, _, _) in enumerate(code)}
    spans = []
    for i, (address, word, operands) in enumerate(code):
        target = re.match(r'^([0-9a-f]+) <', operands) if word.startswith('j') else None
        if target and int(target[1], 16) <= address and int(target[1], 16) in places:
            spans.append((places[int(target[1], 16)], i))
    inner = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    return [code[a : b + 1] for a, b in inner]


def is_row(name, isa, function):
    """Whether it is this row loop of this instruction set (csrc/kernels/detail)."""
    owner = r'(\w+<.*>::|\(anonymous namespace\)::)'  # stages of neurons, loops of pools
    return re.match(rf'^(\w+ )*snn::{isa}::{owner}{function}(<[^()]*>)?\(', name) is not None


def hot(isa, function):
    found = {n: code for n, code in functions().items() if is_row(n, isa, function) and '.cold' not in n}
    assert found, f'no {function} in {isa}: renamed, inlined elsewhere or not built'
    return found


def vectors(loop, register):
    """Packed arithmetic on whole registers."""
    return [word for _, word, operands in loop if PACKED.match(word) and register in operands]


@pytest.fixture(params=REGISTERS)
def level(request):
    """An instruction set that was built (whether or not this machine runs it) and its register."""
    if not any(f'snn::{request.param}::' in name for name in functions()):
        pytest.skip(f'{request.param} is not built on this architecture')
    return request.param, REGISTERS[request.param]


# Row loop -> least packed operations of its best vector loop, and how many such functions there are at least: 8
# charges, 10 fires x 3 resets, 12 surrogates, each for the neuron's own numbers and for coefficients.
LEAST = {
    'charge_row': (1, 16),
    'charge_back_row': (1, 16),
    'fire_row': (1, 60),
    'fire_back_row': (3, 60),
    'slope_row': (1, 60),
    'emit_row': (2, 36),
    'emit_lines': (2, 100),
    'recompute_row': (1, 84),
    'quick_back_row': (4, 120),
    'quick_row': (2, 48),
    'quick_sum_row': (5, 90),
    'fold_row': (2, 12),
    'count_row': (5, 1),
    'growth_row': (2, 1),
    'minus_row': (1, 1),
    'scatter_row': (1, 2),
}


@pytest.mark.parametrize('function', LEAST)
def test_hot_loops_are_vectors(level, function):
    """A loop that the compiler gave up on is a scalar one: 5 to 10 times slower, and right."""
    isa, register = level
    packed, count = LEAST[function]
    scalar = {}
    for name, code in hot(isa, function).items():
        found = max((len(vectors(loop, register)) for loop in loops(code)), default=0)
        if found < packed:
            scalar[name.partition('(')[0]] = found
    assert scalar == {}
    assert len(hot(isa, function)) >= count, 'some loops have slipped out of what is looked at'


# Of the Poisson encoder, whose loops are no templates and may be unrolled: two vectors of counters, ten rounds of two
# products (those of the step are all alike); a comparison.
ENCODER = {'draw': (re.compile('vpmuludq'), 36), 'compare': (re.compile('vcmp.*ps'), 1)}


@pytest.mark.parametrize('function', ENCODER)
def test_random_numbers_are_vectors(level, function):
    isa, register = level
    word, least = ENCODER[function]
    found = [code for name, code in functions().items() if re.match(rf'^snn::{isa}::\(anon.*\)::{function}\(', name)]
    assert len(found) == 1
    assert sum(bool(word.match(w)) and register in operands for _, w, operands in found[0]) >= least


# What the loops over packed spikes are made of, and the functions that they stand in.
PACKING = {
    'pack_bits': (r'vpcmpn?eq[dw]', r'for_blocks<.*::pack_bits<'),
    'unpack_bits': (r'vpcmpn?eq[dw]|vptestn?m[dw]', r'for_blocks<.*::unpack_bits<'),
    'pack_counts': ('vmulps', r'^bool snn::\w+::\(anonymous namespace\)::pack_counts<'),
    'unpack_counts': ('vmulps', r'^void snn::\w+::\(anonymous namespace\)::unpack_counts<'),
}


@pytest.mark.parametrize('function', PACKING)
def test_packing_is_done_by_vectors(level, function):
    isa, _ = level
    word, place = PACKING[function]
    found = {n: c for n, c in functions().items() if f'snn::{isa}::' in n and re.search(place, n) and '.cold' not in n}
    assert len(found) >= 2, 'two widths, or signed and not'
    for name, code in found.items():
        # in a loop, or where g++ has unrolled it whole
        assert any(re.match(word, w) and re.search('[yz]mm', operands) for _, w, operands in code), name


def test_tiles_are_vectors(level):
    """Eight windows at a time, unrolled: comparisons, choices and sums of eight numbers."""
    isa, _ = level
    found = {n: code for n, code in functions().items() if re.search(rf'snn::{isa}::tile_back_row<', n)}
    assert len(found) >= 3
    for name, code in found.items():
        assert sum(bool(PACKED.match(w)) and 'ymm' in operands for _, w, operands in code) >= 8, name


def test_half_precision_is_converted_by_vectors(level):
    isa, _ = level
    words = {word for name, code in functions().items() if f'snn::{isa}::' in name for _, word, _ in code}
    assert {'vcvtph2ps', 'vcvtps2ph'} <= words


def test_division_is_a_multiplication(level):
    """Divisor corrects a product twice by its exact remainder: as exact as a division, and 4 times as fast."""
    isa, register = level
    for name, code in {**hot(isa, 'emit_row'), **hot(isa, 'emit_lines')}.items():
        divisions = [word for loop in loops(code) for _, word, _ in loop if re.match('v?div', word)]
        assert divisions == [], name
        if 'Lif' in name or 'Count' in name:
            assert any('fnmadd' in word for loop in loops(code) for word in vectors(loop, register)), name


def test_plain_code_uses_no_wider_registers():
    """What runs on every machine must not contain what some machines do not have."""
    for name, code in functions().items():
        if not re.search(r'snn::avx', name):
            wide = [word for _, word, operands in code if re.search(r'%[yz]mm', operands)]
            assert not wide, f'{name} uses {wide[:3]}'


def test_avx2_code_has_no_avx512():
    for name, code in functions().items():
        if re.match(r'^(\S+ )*snn::avx2::', name):
            assert not [word for _, word, operands in code if re.search(r'%zmm|%k[0-7]\b', operands)], name


def test_no_weak_symbols_of_an_instruction_set():
    """The linker merges weak symbols of equal name: a wider one would run on a machine that has it not."""
    if not shutil.which('nm'):
        pytest.skip('nm is not installed')
    weak = [line for line in output('nm', '-C', CPU.__file__).splitlines() if re.match(r'^\w* *[wWvVuU] ', line)]
    leaked = [line for line in weak if 'snn::' in line and not re.search(r'snn::(plain|avx2|avx512)::', line)]
    assert [line for line in leaked if re.search('avx', line)] == []
    assert [line for line in weak if re.search(r' std::.*snn::avx', line)] == []
    assert [line for line in leaked if re.search(r'snn::(Divisor|exp_|Step|If|Lif|Burst|Binary)', line)] == []
