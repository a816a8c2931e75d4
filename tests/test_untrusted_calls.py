"""No call and no import of the package may run code that a file holds, or write where an archive says."""

import ast
from pathlib import Path

import pytest

import snnkern

PACKAGE = Path(snnkern.__file__).parent
CALLS = {
    *('eval', 'exec', 'compile', 'extract', 'extractall', 'unpack_archive', 'Unpickler', 'unsafe_load'),
    *('PackageImporter', 'load_pickle', 'load_state_dict_from_url', 'os.system', 'os.popen'),
}
IMPORTS = {
    *('pickle', '_pickle', 'cPickle', 'cloudpickle', 'dill', 'joblib', 'marshal', 'shelve', 'yaml', 'runpy'),
    *('torch.hub', 'torch.jit', 'torch.package'),
}
WRITERS = {'adapters/_unroll/state.py'}  # a pickle of its own, which nothing reads
# What may be called load or loads: formats without code, compiled modules, and functions of the package.
LOADS = {
    *('json.loads', 'tomllib.loads', 'tl.load', 'picture.load', 'image.load'),
    *('device.load', 'DEVICES[device.type].load', 'DEVICES[x.device.type].load', "suite['compare'].load"),
    *('checkpoint.load', 'folders.load', 'networks.load', 'save.load', 'saved.load', 'SNN.load'),
}
LOADED_FROM = {'safetensors.torch'}  # modules whose `load` may be imported by its name, as those of the package
SAFE = {
    'torch.load': ('weights_only', True),
    'fabric.load': ('weights_only', True),
    'np.load': ('allow_pickle', False),
}
KEYWORDS = {'weights_only': True, 'allow_pickle': False, 'shell': False}


def imported(node):
    """What an import may not bring, of each name its module and itself."""
    if isinstance(node, ast.Import):
        names = [(alias.name, '') for alias in node.names]
    else:
        names = [(node.module or '', alias.name) for alias in node.names]
    for module, name in names:
        whole = f'{module}.{name}'.rstrip('.')
        if any(f'{whole}.'.startswith(f'{bad}.') for bad in IMPORTS):
            yield whole
        if name in ('load', 'loads', *CALLS) and not module.startswith('snnkern') and module not in LOADED_FROM:
            yield whole


def called(node):
    """What is wrong with a call."""
    name = ast.unparse(node.func)
    last = name.rpartition('.')[2]
    method = isinstance(node.func, ast.Attribute) and not name.startswith(('builtins.', '__builtins__.'))
    harmless = last in ('eval', 'compile') and method  # of a module, of `re`, of torch
    if (last in CALLS or name in CALLS) and not harmless:
        yield name
    keywords = {key.arg: getattr(key.value, 'value', None) for key in node.keywords}
    if name in SAFE:
        key, value = SAFE[name]
        if keywords.get(key) is not value:
            yield f'{name} without {key}={value}'
    elif last in ('load', 'loads') and name not in (*LOADS, 'load'):
        yield name
    if 'pickle_module' in keywords or any(keywords.get(key, value) is not value for key, value in KEYWORDS.items()):
        yield f'{name} with {keywords}'


def faults(source, may_write=False):
    """Every call and import of a source that is not allowed, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from (f'{node.lineno}: {fault}' for fault in called(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f'{node.lineno}: {fault}' for fault in imported(node) if not (may_write and fault == 'pickle'))


def test_no_call_runs_what_a_file_holds():
    found = []
    for path in sorted(PACKAGE.rglob('*.py')):
        name = path.relative_to(PACKAGE).as_posix()
        found += [f'{name}:{fault}' for fault in faults(path.read_text(encoding='utf-8'), name in WRITERS)]
    assert found == []


@pytest.mark.parametrize(
    'line',
    [
        'torch.load(p)',
        'torch.load(p, weights_only=False)',
        'torch.load(p, weights_only=True, pickle_module=x)',
        'torch.load(p, **options)',
        'np.load(p)',
        'np.load(p, allow_pickle=True)',
        'np.lib.format.read_array(f, allow_pickle=True)',
        'fabric.load(p)',
        'self.fabric.load(p)',
        'torch.jit.load(p)',
        'torch.hub.load(p, x)',
        'torch.package.PackageImporter(p)',
        'import torch.package',
        'from torch import hub',
        'from torch import load',
        'from numpy import load as read',
        'import pickle',
        'import pickle as pk',
        'from pickle import loads',
        'import yaml',
        'import runpy',
        'from joblib import load',
        'eval(text)',
        'builtins.eval(text)',
        'exec(text)',
        'os.system(text)',
        'subprocess.run(text, shell=True)',
        'members.extractall(p)',
    ],
)
def test_calls_that_may_run_it_are_seen(line):
    assert list(faults(line))


@pytest.mark.parametrize(
    'line',
    [
        'torch.load(p, weights_only=True)',
        'np.load(p, allow_pickle=False)',
        'json.loads(text)',
        'from safetensors.torch import load',
        'net.eval()',
        're.compile(text)',
        'subprocess.run([p])',
    ],
)
def test_others_are_not(line):
    assert list(faults(line)) == []
