"""Engines in one safetensors file: tensors, and everything else as JSON in its metadata. The file holds no code."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from snnkern._checks import finite, whole
from snnkern._files import safetensors, write
from snnkern.backends.events import Axis, Layer, Pool, Slot, Synapse
from snnkern.engine import ends, graphs, valid
from snnkern.engine.choice import CHOICES, Cost
from snnkern.engine.dense import Folded
from snnkern.engine.ends import KINDS, Stem, Tail
from snnkern.engine.engine import WEIGHTS, Engine
from snnkern.engine.plan import Dense, Plan, Step
from snnkern.neurons import Neuron

FORMAT = 1
KEY = 'snnkern.engine'
BROKEN = (
    *(RuntimeError, LookupError, TypeError, ValueError, ArithmeticError),
    *(AttributeError, AssertionError, MemoryError),
)


def save(engine: Engine, path: Path) -> None:
    """What `Engine.save` does."""
    library = safetensors('engines')
    tensors: dict[str, Tensor] = {}
    choices = engine.choices
    found = {
        'format': FORMAT,
        'version': snnkern.__version__,
        'T': engine.T,
        'weights': engine.weights,
        'choice': choices.wanted,
        'chunk': engine.chunk,
        'memory_limit': engine.memory_limit,
        'plan': _plan(engine.plan, tensors),
        'costs': {str(n): [c and asdict(c) for c in costs] for n, costs in choices.costs.items()},
        'shares': choices.shares,
        'errors': engine.errors,
    }
    # Copies: what shares a tensor would share memory, which the format does not hold.
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    valid.numbers(own)
    write(path, lambda p: library.torch.save_file(own, p, metadata={KEY: json.dumps(found)}))


def load(path: str | Path, threads: int | None = None) -> Engine:
    """An engine that `Engine.save` wrote; no code is run from the file, and no network is needed.

    threads: of native code; None: as many as torch uses. What layers cost was measured where it was saved:
    `engine.learn(x)` measures anew. Raises FileNotFoundError, and ValueError for a file that is broken, holds something
    else or comes from a newer version. Example: `engine = snnkern.engine.load('net.engine.safetensors')`.
    """
    path = Path(path)
    if threads is not None:
        whole('threads', threads)
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}')
    library = safetensors('engines')
    try:
        with library.safe_open(path, 'pt') as file:
            found = json.loads((file.metadata() or {}).get(KEY, 'null'))
            if found is not None and found['format'] <= FORMAT:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                valid.numbers(tensors)
                return _engine(found, tensors, threads)
    except (library.SafetensorError, *BROKEN) as error:
        raise ValueError(f'{path} is broken or no safetensors file: {error}') from error
    if found is None:
        raise ValueError(f'{path} holds no engine')
    raise ValueError(
        f'{path} was written by snnkern {found.get("version")} in format {found["format"]}; '
        f'this is snnkern {snnkern.__version__}, which reads up to format {FORMAT}'
    )


def _engine(found: dict[str, Any], tensors: dict[str, Tensor], threads: int | None) -> Engine:
    whole('T', found['T'])
    whole('memory_limit', found['memory_limit'])
    if found['chunk'] is not None:
        whole('chunk', found['chunk'])
    if found['weights'] not in WEIGHTS or found['choice'] not in CHOICES:
        raise ValueError(f'weights are {found["weights"]!r}, choice is {found["choice"]!r}')
    engine = Engine(_read_plan(found['plan'], tensors), found['T'], found['weights'], threads, found['choice'])
    engine.chunk, engine.memory_limit = found['chunk'], found['memory_limit']
    engine.errors = {str(name): float(error) for name, error in found['errors'].items()}
    costs = {int(n): [_cost(cost) for cost in costs] for n, costs in found['costs'].items()}
    shares = {int(slot): _numbers(blocks) for slot, blocks in found['shares'].items()}
    valid.measured(costs, shares, engine.runner.steps)
    engine.choices.use(costs, shares)
    valid.tried(engine.runner, engine.T)
    return engine


def _numbers(found: Mapping[str, Any]) -> dict[int, float]:
    """JSON has no numbers as keys."""
    return {int(key): float(value) for key, value in found.items()}


def _cost(found: dict[str, Any] | None) -> Cost | None:
    if found is None:
        return None
    return Cost(int(found['images']), float(found['dense']), _numbers(found['silent']), _numbers(found['full']))


def _plan(plan: Plan, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        'slots': [_slot(slot, f'slot {i}', tensors) for i, slot in enumerate(plan.slots)],
        'steps': [_step(step, f'step {i}', tensors) for i, step in enumerate(plan.steps)],
        'stem': _stem(plan.stem, tensors),
        'tail': None if plan.tail is None else _tail(plan.tail, tensors),
        'inputs': plan.inputs,
        'outputs': ends.tree(plan.outputs),
        'shapes': plan.shapes,
        'timed': plan.timed,
    }


def _read_plan(found: dict[str, Any], tensors: dict[str, Tensor]) -> Plan:
    """Raises some of BROKEN if it is no plan."""
    kind, count = found['stem']['kind'], found['stem']['constants']
    if kind not in KINDS or (kind == 'given') == bool(found['timed']):
        raise ValueError(f'inputs are {kind!r}')
    whole('constants', count, at_least=0)
    stem = Stem(
        graphs.Calls(found['stem']['net'], tensors, 'stem'),
        [_float(tensors[f'constant {i}']) for i in range(count)],
        kind,
    )
    tail = None if found['tail'] is None else Tail(graphs.Calls(found['tail'], tensors, 'tail'))
    plan = Plan(
        [_read_slot(slot, f'slot {i}', tensors) for i, slot in enumerate(found['slots'])],
        [_read_step(step, f'step {i}', tensors) for i, step in enumerate(found['steps'])],
        stem,
        tuple(map(int, found['inputs'])),
        ends.read_tree(found['outputs']),
        tuple(tuple(map(int, shape)) for shape in found['shapes']),
        bool(found['timed']),
        tail,
    )
    valid.check(plan)
    return plan


def _stem(stem: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if not isinstance(stem, Stem):
        raise ValueError(f'stem cannot be saved: {type(stem).__name__} is none of the planner')
    for i in range(stem.count):
        tensors[f'constant {i}'] = stem.get_buffer(f'constant_{i}')
    return {'net': graphs.written(stem.net, tensors, 'stem'), 'constants': stem.count, 'kind': stem.kind}


def _tail(tail: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if not isinstance(tail, Tail):
        raise ValueError(f'tail cannot be saved: {type(tail).__name__} is none of the planner')
    return graphs.written(tail.net, tensors, 'tail')


def _folded(step: Dense, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The call of a dense step."""
    if not isinstance(step.call, Folded):
        return {'net': graphs.written(step.call, tensors, name), 'form': None}
    form = {key: getattr(step.call, key) for key in ('samples', 'apart', 'out', 'once')}
    return {'net': graphs.written(step.call.call, tensors, name), 'form': form}


def _read_folded(found: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> nn.Module:
    net, form = graphs.Calls(found['net'], tensors, name), found['form']
    if form is None:
        return net
    samples = [tuple(map(int, sample)) for sample in form['samples']]
    return Folded(net, samples, list(map(bool, form['apart'])), bool(form['out']), bool(form['once']))


def _slot(slot: Slot, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {**vars(slot), 'worth': _value(slot.worth, f'{name} worth', tensors)}


def _read_slot(found: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> Slot:
    sizes = {key: int(found[key]) for key in ('channels', 'height', 'width', 'bound')}
    worth = _read_value(found['worth'], f'{name} worth', tensors)
    return Slot(str(found['name']), found['kind'], flat=bool(found['flat']), worth=worth, **sizes)


def _value(value: Tensor | float, name: str, tensors: dict[str, Tensor]) -> float | None:
    """A number; None for a tensor, which is stored."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return None
    return float(value)


def _read_value(found: float | None, name: str, tensors: dict[str, Tensor]) -> Tensor | float:
    if found is None:
        return _float(tensors[name])
    finite(name, found)
    return float(found)


def _float(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        raise TypeError(f'a tensor is {tensor.dtype}')
    return tensor


def _step(step: Step, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(step, Dense):
        call = _folded(step, name, tensors)
        return {'kind': 'dense', **{k: v for k, v in vars(step).items() if k != 'call'}, 'call': call}
    if isinstance(step, Pool):
        return {'kind': 'pool', **asdict(step)}
    if step.bias is not None:
        tensors[f'{name} bias'] = step.bias
    tensors.update({f'{name} of {key}': value for key, value in step.coefficients.items()})
    return {
        'kind': 'layer',
        'name': step.name,
        'target': step.target,
        'synapses': [_synapse(s, f'{name} synapse {i}', tensors) for i, s in enumerate(step.synapses)],
        'bias': step.bias is not None,
        'currents': step.currents,
        'neuron': None if step.neuron is None else step.neuron.spec,
        'coefficients': list(step.coefficients),
        'v0': _value(step.v0, f'{name} v0', tensors),
    }


def _read_step(found: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> Step:
    title, target = str(found['name']), int(found['target'])
    if found['kind'] == 'dense':
        sources = tuple(map(int, found['sources']))
        call = _read_folded(found['call'], name, tensors)
        return Dense(title, target, sources, call, str(found['why']))
    if found['kind'] == 'pool':
        return Pool(title, target, int(found['source']), found['mode'], _axis(found['rows']), _axis(found['cols']))
    return Layer(
        title,
        target,
        tuple(_read_synapse(s, f'{name} synapse {i}', tensors) for i, s in enumerate(found['synapses'])),
        _float(tensors[f'{name} bias']) if found['bias'] else None,
        tuple(map(int, found['currents'])),
        None if found['neuron'] is None else Neuron.parse(found['neuron']),
        {str(key): _float(tensors[f'{name} of {key}']) for key in found['coefficients']},
        _read_value(found['v0'], f'{name} v0', tensors),
    )


def _synapse(synapse: Synapse, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    tensors[name] = synapse.weight
    own = {key: value for key, value in vars(synapse).items() if key != 'weight'}
    return {**own, 'rows': asdict(synapse.rows), 'cols': asdict(synapse.cols)}


def _read_synapse(found: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> Synapse:
    numbers = {key: int(found[key]) for key in ('groups', 'first', 'to')}
    rows, cols = _axis(found['rows']), _axis(found['cols'])
    return Synapse(int(found['source']), _float(tensors[name]), rows, cols, shared=bool(found['shared']), **numbers)


def _axis(found: dict[str, Any]) -> Axis:
    return Axis(**{key: int(value) for key, value in found.items() if key != 'exact'}, exact=bool(found['exact']))
