"""Engines in files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from planned import images, made, plan
from torch import Tensor, nn

from snnkern.engine import ends, load, save
from snnkern.engine.ends import Tail
from snnkern.engine.engine import Engine
from snnkern.engine.plan import Output

Stored = tuple[dict[str, Any], dict[str, Tensor]]


class Doubled(nn.Module):
    """Known calls in the place of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Buffer(torch.full((20, 1, 1), 0.4))
        self.bn = nn.BatchNorm2d(6)
        self.conv = nn.Conv2d(6, 20, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(self.bn(x)))[:, :20] * self.scale + 0.1


@pytest.mark.parametrize('weights', ['float32', 'int8'])
@pytest.mark.parametrize('dense', [False, True])
def test_round_trip(tmp_path: Path, weights: str, dense: bool) -> None:
    torch.manual_seed(3)
    of = plan(tail=nn.Softmax(1), dense=Doubled().eval() if dense else None)
    engine = made(of, 'events', weights)
    engine.chunk = 4
    path = tmp_path / 'net.safetensors'
    engine.save(path)
    found = load(path, threads=1)
    x = images(3)
    assert torch.equal(found(x), engine(x))
    assert torch.equal(found.sequence(x), engine.sequence(x))
    assert found.choices.blocks == engine.choices.blocks
    assert (found.T, found.weights, found.chunk, found.errors) == (engine.T, weights, 4, engine.errors)
    assert [step.name for step in found.plan.steps] == [step.name for step in of.steps]
    with pytest.raises(ValueError, match='x must be given: an engine that was loaded knows no example'):
        found.report()
    assert found.report(x).synops == engine.report(x).synops
    found.learn(x)
    assert found.report().images == 3


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erf(x).repeat(1, 4, 1, 1)[:, :20]


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ('call', 'text'), [(Unknown(), 'calls .*erf.*no known call'), (Branching(), 'Branching cannot be traced')]
)
def test_unknown_calls_are_named(tmp_path: Path, call: nn.Module, text: str) -> None:
    engine = made(plan(), 'dense')
    engine.plan.__dict__['tail'] = Tail(call)
    with pytest.raises(ValueError, match=text):
        engine.save(tmp_path / 'net.safetensors')
    assert not list(tmp_path.iterdir())


def test_unknown_outputs_are_named(tmp_path: Path) -> None:
    engine = made(plan(), 'dense')
    engine.plan.__dict__['outputs'] = {1: Output(4)}
    with pytest.raises(ValueError, match='it returns dict'):
        engine.save(tmp_path / 'net.safetensors')


def test_trees() -> None:
    tree = {'a': [Output(1), (Output(2), None)], 'b': 3}
    assert ends.read_tree(json.loads(json.dumps(ends.tree(tree)))) == tree


@pytest.fixture(scope='module')
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    path = tmp_path_factory.mktemp('engine') / 'net.safetensors'
    made(plan(tail=nn.Softmax(1)), 'events').save(path)
    with safetensors.safe_open(path, 'pt') as file:
        return json.loads(file.metadata()[save.KEY]), safetensors.torch.load_file(path)


def changed(found: Any, path: str, value: Any) -> Any:
    """The JSON with another value at a dotted path."""
    found = json.loads(json.dumps(found))
    *names, last = path.split('.')
    inside = found
    for name in names:
        inside = inside[int(name) if name.isdecimal() and isinstance(inside, list) else name]
    inside[int(last) if isinstance(inside, list) else last] = value
    return found


TAIL: dict[str, Any] = {
    'nodes': [
        ['placeholder', 'x', 'x', {'tuple': []}, {'dict': {}}],
        ['call_module', 'y', '0', {'tuple': [{'node': 'x'}]}, {'dict': {}}],
        ['output', 'output', 'output', {'tuple': [{'node': 'y'}]}, {'dict': {}}],
    ],
    'modules': {'0': ['Softmax', {'dict': {'dim': 1}}]},
}
WRONG = [
    ('plan.slots.2.channels', 10**6),
    ('plan.slots.2.kind', 'spikes'),
    ('plan.slots.2.height', 0),
    ('plan.steps.1.target', 99),
    ('plan.steps.1.target', -1),
    ('plan.steps.1.synapses.0.source', 3),
    ('plan.steps.1.synapses.0.first', 4),
    ('plan.steps.1.synapses.0.groups', 2),
    ('plan.steps.1.synapses.0.rows.size', 9),
    ('plan.steps.1.synapses.0.rows.kernel', 5),
    ('plan.steps.1.synapses.0.rows.stride', 0),
    ('plan.steps.1.neuron', 'IF() Nothing() Soft() ATan()'),
    ('plan.steps.1.neuron', None),
    ('plan.steps.2.mode', 'least'),
    ('plan.steps.2.source', 0),
    ('plan.steps.2.rows.out', 7),
    ('plan.inputs', [9]),
    ('plan.outputs', {'tuple': [{'output': 9}]}),
    ('plan.outputs', {'tuple': [{'output': 5}]}),
    ('plan.outputs', {'output': 4}),
    ('plan.stem.net.modules.conv.0', 'system'),
    ('plan.stem.kind', 'any'),
    ('plan.stem', None),
    ('costs', {'4': []}),
    ('shares', {}),
    ('T', 0),
    ('weights', 'int4'),
    ('plan', []),
    ('plan.slots.2.bound', -1),
    ('plan.slots.2.bound', 128),
    ('plan.slots.2.bound', 1),
    ('plan.slots.4.worth', float('nan')),
    ('plan.slots.2.flat', True),
    ('plan.steps.1.synapses.0.rows.padding', 10**9),
    ('plan.steps.1.synapses.0.cols.stride', 2**62),
    ('plan.steps.1.synapses.0.cols.rate', 2**40),
    ('plan.steps.0.v0', float('inf')),
    ('plan.stem.constants', -1),
    ('plan.stem.constants', 1),
    ('plan.stem.kind', 'counts'),
    ('plan.shapes', [[3, 4, 4]]),
    ('plan.shapes', [[-1, 8, 8]]),
    ('plan.shapes', [[3, 8, 8], [3, 8, 8]]),
    ('plan.timed', True),
    ('plan.tail', {'nodes': [], 'modules': {}}),
    ('plan.tail', TAIL | {'nodes': TAIL['nodes'][:-1]}),
    ('plan.tail', TAIL | {'nodes': [['other', *TAIL['nodes'][0][1:]], *TAIL['nodes'][1:]]}),
    ('plan.tail', TAIL | {'nodes': TAIL['nodes'][::-1]}),
    ('plan.tail', TAIL | {'nodes': [TAIL['nodes'][0], *TAIL['nodes']]}),
    ('plan.tail', TAIL | {'modules': {'0': ['Softmax', {'dict': {'dim': 5}}]}}),
    ('plan.tail', TAIL | {'modules': {'0': ['Linear', {'dict': {'in_features': 10**9, 'out_features': 10**9}}]}}),
    ('plan.stem.net.nodes.0.0', 'other'),
    ('costs', {}),
    ('costs.1', []),
    ('costs.1.1.dense', float('nan')),
    ('costs.1.1.dense', -1),
    ('costs.1.1.images', 0),
    ('costs.1.1.silent', {'3': 0.1}),
    ('costs.1.1.full', {}),
    ('costs.0', [None] * 4),
    ('shares.1', {'3': 0.1}),
    ('shares.1', {'1': float('nan')}),
]


@pytest.mark.parametrize(('path', 'value'), WRONG)
def test_broken_files(tmp_path: Path, stored: Stored, path: str, value: Any) -> None:
    """Native code trusts the numbers of a plan: none may leave the memory that it names."""
    found, tensors = stored
    if path.startswith('costs.1.1') and found['costs']['1'][1] is None:
        pytest.skip('nothing is measured without compiled kernels')
    with pytest.raises(ValueError, match='is broken'):
        load_stored(tmp_path / 'net.safetensors', changed(found, path, value), tensors)


def test_tails_are_read(tmp_path: Path, stored: Stored) -> None:
    """What `WRONG` breaks is right before."""
    found, tensors = stored
    file = tmp_path / 'net.safetensors'
    wanted = load_stored(file, found, tensors)(images(2))
    assert torch.equal(load_stored(file, changed(found, 'plan.tail', TAIL), tensors)(images(2)), wanted)


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('stem.conv.weight', lambda t: t.half()),
        ('stem.conv.weight', lambda t: t * float('nan')),
        ('step 1 synapse 0', lambda t: t * float('inf')),
        ('step 1 synapse 0', lambda t: t.double()),
        ('step 1 bias', lambda t: t.int()),
    ],
)
def test_broken_tensors(tmp_path: Path, stored: Stored, name: str, change: Callable[[Tensor], Tensor]) -> None:
    found, tensors = stored
    with pytest.raises(ValueError, match='is broken'):
        load_stored(tmp_path / 'net.safetensors', found, {**tensors, name: change(tensors[name])})


def stem(found: dict[str, Any], op: str) -> list[Any]:
    """The first node of this kind in the stem."""
    return next(node for node in found['plan']['stem']['net']['nodes'] if node[0] == op)


def renamed(found: dict[str, Any], tensors: dict[str, Tensor], place: str, text: str) -> dict[str, Tensor]:
    """Write a text in the place of a name, in the JSON; the tensors that go with it."""
    net = found['plan']['stem']['net']
    if place == 'argument':
        stem(found, 'call_module')[4] = {'dict': {text: 1}}
    elif place == 'node':
        old = stem(found, 'call_module')[1]
        net['nodes'] = json.loads(json.dumps(net['nodes']).replace(json.dumps(old), json.dumps(text)))
    elif place == 'module':
        old, stem(found, 'call_module')[2] = stem(found, 'call_module')[2], text
        net['modules'][text] = net['modules'].pop(old)
        return {name.replace(f'stem.{old}.', f'stem.{text}.'): t for name, t in tensors.items()}
    elif place == 'operation':
        stem(found, 'call_method')[0] = text
    else:
        stem(found, {'input': 'placeholder', 'method': 'call_method'}[place])[2] = text
    return tensors


PLACES = ('input', 'module', 'argument', 'node', 'method', 'operation')
PIECES = ('"', "'", '(', ')', ',', '=', ':', ';', '#', '\n', '\\', '{', ' ', '.', '__', 'x', 'os', 'lambda', '1')


@pytest.mark.parametrize('place', PLACES)
def test_no_name_is_run(tmp_path: Path, stored: Stored, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """fx would write all of these into Python source."""
    torch.manual_seed(0)
    file, mark = tmp_path / 'net.safetensors', tmp_path / 'mark'
    evil = f"open({str(mark)!r}, 'w')"
    texts = [f'x={evil}', f'a"),{evil},("', f'x={evil},y', f'x\n    {evil}', f'({evil}).x', '__class__', 'class', '']
    texts += [''.join(PIECES[i] for i in torch.randint(len(PIECES), (6,))) for _ in range(20)]
    wanted = load_stored(file, *stored)(images(2))
    monkeypatch.setattr('builtins.exec', lambda *_: pytest.fail('code was run'))
    refused = 0
    for text in texts:
        found = json.loads(json.dumps(stored[0]))
        tensors = renamed(found, stored[1], place, text)
        try:
            engine = load_stored(file, found, tensors)
        except ValueError:
            refused += 1
        else:  # a name that is as good as another
            assert torch.equal(engine(images(2)), wanted)
        assert not mark.exists()
    assert refused >= 5


def load_stored(file: Path, found: dict[str, Any], tensors: dict[str, Tensor]) -> Engine:
    safetensors.torch.save_file(tensors, file, {save.KEY: json.dumps(found)})
    return load(file)


def test_saved_once_more(tmp_path: Path) -> None:
    engine = made(plan(tail=nn.Softmax(1), dense=Doubled().eval()), 'events')
    first, second = tmp_path / 'first.safetensors', tmp_path / 'second.safetensors'
    engine.save(first)
    load(first).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_other_files(tmp_path: Path, stored: Stored) -> None:
    found, tensors = stored
    file = tmp_path / 'net.safetensors'
    with pytest.raises(FileNotFoundError, match='there is no file'):
        load(file)
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(ValueError, match='holds no engine'):
        load(file)
    safetensors.torch.save_file(tensors, file, {save.KEY: json.dumps({**found, 'format': 99})})
    with pytest.raises(ValueError, match=r'in format 99; this is snnkern .*, which reads up to format 1'):
        load(file)
    file.write_bytes(b'nothing')
    with pytest.raises(ValueError, match='is broken or no safetensors file'):
        load(file)
    fewer = {name: t for name, t in tensors.items() if 'synapse' not in name}
    safetensors.torch.save_file(fewer, file, {save.KEY: json.dumps(found)})
    with pytest.raises(ValueError, match='is broken'):
        load(file)
