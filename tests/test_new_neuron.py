"""The cost of a new neuron: CONTRIBUTING's five steps for a toy charge, at most 40 lines over all files.

The steps are applied to a copy of the sources. There the CPU kernels are built (plain code, not optimised: only values
matter here), and the tests of all backends run the toy's cases from the one table, Triton's on the emulator. No schema,
op, binding or autograd code is touched.
"""

import difflib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 40

# file -> texts and what they become.
STEPS = {
    'csrc/math/neuron.h': {
        '// values: a, b.\nstruct AffineCharge': """// values: decay.
struct Forget : Constant {
  float decay;
  SNN_HD explicit Forget(const float* values) : Constant(values), decay(values[0]) {}
  SNN_HD Forget at(float, float, float own_c) const { Forget q = *this; q.c = own_c; return q; }
  SNN_HD float charge(float v, float x) const { return (v + x) * decay + c; }
  SNN_HD float dh_dv() const { return decay; }
  SNN_HD float dh_dx() const { return decay; }
};

// values: a, b.
struct AffineCharge""",
        '    case ChargeId::Affine:': """    case ChargeId::Forget: return f(Forget(values));
    case ChargeId::Affine:""",
    },
    'csrc/math/spec.h': {'X(Synaptic)': 'X(Synaptic) X(Forget)'},
    'snnkern/backends/triton/math.py': {
        "'Affine', 'Synaptic')": "'Affine', 'Synaptic', 'Forget')",
        "    if KIND.CHARGE == 'IF':\n        h = v + x\n": """    if KIND.CHARGE == 'IF':
        h = v + x
    elif KIND.CHARGE == 'Forget':
        h = (v + x) * n.decay
""",
        "    if KIND.CHARGE == 'IF':\n        gv, gx = gh, gh\n": """    if KIND.CHARGE == 'IF':
        gv, gx = gh, gh
    elif KIND.CHARGE == 'Forget':
        gv, gx = gh * n.decay, gh * n.decay
""",
    },
    'snnkern/charges.py': {
        'CHARGES = (IF, LIF, PLIF, Affine, Synaptic)': '''@dataclass(frozen=True)
class Forget(Charge):
    """h = (v + x) * decay + c."""

    decay: float = 0.5
    c: float = 0.0

    def charge(self, v: Tensor, x: Tensor) -> Tensor:
        return (v + x) * self.decay + self.c


CHARGES = (IF, LIF, PLIF, Affine, Synaptic, Forget)''',
    },
    'snnkern/selftest/cases.py': {
        '        IF(),\n': '        IF(),\n        Forget(0.75, 0.1),\n',
        'from snnkern import (\n': 'from snnkern.charges import Forget\nfrom snnkern import (\n',
    },
}


def apply(folder: Path) -> int:
    """Take the steps; the number of lines that are new or changed."""
    added = 0
    for name, changes in STEPS.items():
        path = folder / name
        before = after = path.read_text()
        for old, new in changes.items():
            assert after.count(old) == 1, f'{name}: {old!r} is there {after.count(old)} times'
            after = after.replace(old, new)
        path.write_text(after)
        lines = difflib.ndiff(before.splitlines(), after.splitlines())
        added += sum(line.startswith('+ ') and bool(line[2:].strip()) for line in lines)
    return added


def run(folder: Path, *command: object) -> str:
    path = os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)])
    env = {**os.environ, 'PATH': path, 'PYTHONPATH': str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_a_new_charge_in_five_steps(tmp_path):
    for name in ('csrc', 'snnkern', 'tests', 'benchmarks'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('*.so', '__pycache__'))
    for name in ('CMakeLists.txt', 'pyproject.toml'):
        shutil.copy(ROOT / name, tmp_path)
    assert apply(tmp_path) <= MOST
    build = tmp_path / 'build'
    plain = ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=any', '-DCMAKE_BUILD_TYPE=Debug']
    options = ['-G', 'Ninja', '-DSNNKERN_CUDA=OFF', f'-DPython_EXECUTABLE={sys.executable}', *plain]
    run(tmp_path, 'cmake', '-S', tmp_path, '-B', build, *options)
    run(tmp_path, 'cmake', '--build', build)
    (built,) = build.glob('_cpu*.so')
    shutil.copy(built, tmp_path / 'snnkern')
    tests = ['tests/test_multistep.py', 'tests/test_registration.py', 'tests/test_triton.py']
    chosen = 'Forget or lists_agree'
    out = run(tmp_path, sys.executable, '-m', 'pytest', '-q', '-m', '', '-k', chosen, '-p', 'no:cacheprovider', *tests)
    assert int(out.split(' passed')[0].split()[-1]) >= 30, out
