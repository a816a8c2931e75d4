"""Converted CIFAR ResNets beside other libraries' converters: accuracy at the same T, and speed.

`python -m benchmarks.conversion --data cifar10:DIR --weights pretrained_weights.zip [--model resnet32] [--json FILE]`.
All convert the same trained network on the same calibration images (of the training set) and are tested on the same
test images. SpikingJelly and BrainCog find ReLU modules only, so they get a twin of the network with a module for each
call (benchmarks/rival_converters.py); their networks are called once a step, as their examples do, and outputs are
averaged. `default` is converted anew for each T, for which it chooses its thresholds.

Speed: seconds of a batch with T steps, interleaved rounds in a fresh process for each number of threads, the same
allocator settings for all: snnkern layer by layer, snnkern's network as a loop over steps in plain torch, the rivals',
and a bound (the same network without neurons). Before anything is timed, the loop must give the SNN's answers.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from benchmarks import report, rival_converters
from benchmarks.environment import ALLOCATORS, CHILD, pinned_environment, surroundings
from benchmarks.rival_converters import RIVALS, Batches
from benchmarks.timing import Call, Timing, interleave
from snnkern.convert import SNN, recipes
from snnkern.convert.layers import Spiking, Timed

OURS, LOOP, BOUND = 'snnkern', 'loop over steps in torch', 'without neurons'
SJ_STEPS, SJ_MANY, BC_STEPS = 'SpikingJelly, loop', 'SpikingJelly, multi-step', 'BrainCog, loop'
TARGETS = {LOOP: 1.7, SJ_STEPS: 1.0, SJ_MANY: 1.0}  # the rival's time as a multiple of snnkern's
SPEED_RIVALS = (
    (SJ_STEPS, RIVALS[1], rival_converters.mean_output),
    (SJ_MANY, RIVALS[1], rival_converters.many_steps),
    (BC_STEPS, RIVALS[4], rival_converters.mean_output),
)
RESULTS = Path(__file__).parent / 'results' / 'conversion.json'


class Silent(Timed):
    """In the place of a neuron: its input as it is, at every step."""

    def __init__(self, layer: Spiking) -> None:
        super().__init__()
        self.clock, self.constant_input = layer.clock, layer.constant_input

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = x if residual is None else x + residual
        """[T*B, ...]."""
        return x.expand(self.T, *x.shape).flatten(0, 1) if self.constant_input else x


def without_neurons(snn: SNN) -> SNN:
    """A converted network in which nothing is left but convolutions, additions and the like."""
    bare = copy.deepcopy(snn)
    for name, layer in list(bare.body.named_modules()):
        if isinstance(layer, Spiking):
            bare.body.set_submodule(name, Silent(layer))
    return bare


def percent(logits: Tensor, labels: Tensor) -> float:
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


def ours(net: nn.Module, batches: Batches, tests: Batches, recipe: str, timesteps: Sequence[int]) -> dict[int, float]:
    """Accuracy of a recipe at each T, converted for that T."""
    images, found = torch.cat([x for x, _ in batches]), {}
    for T in timesteps:
        snn = snnkern.convert.convert(net, images, recipe, T)
        found[T] = _mean(percent(snn.predict(x, T), y) for x, y in tests)
    return found


def theirs(net: nn.Module, tests: Batches, timesteps: Sequence[int]) -> dict[int, float]:
    """Accuracy of a rival's network after each T, from one run."""
    counts: dict[int, list[float]] = {T: [] for T in timesteps}
    for x, y in tests:
        total: Tensor | float = 0.0
        for t, out in enumerate(rival_converters.steps(net, x, max(timesteps)), 1):
            total = out + total
            if t in counts:
                counts[t].append(percent(total, y))
    return {T: _mean(values) for T, values in counts.items()}


def _mean(values: Any) -> float:
    found = list(values)
    return sum(found) / len(found)


def attempt(measure: Callable[[], dict[int, float]]) -> dict[int, float] | str:
    """What was measured, or why it could not be."""
    try:
        return measure()
    except ImportError as error:
        return f'not installed ({error})'
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        return f'fails: {type(error).__name__}: {next(iter(str(error).splitlines()), "")}'


@torch.no_grad()
def accuracy(
    net: nn.Module, batches: Batches, tests: Batches, timesteps: Sequence[int], names: Sequence[str]
) -> dict[str, dict[int, float] | str]:
    """% of the test images by converter and T; T = 0 is the trained network itself. All batches are equally large."""
    found: dict[str, dict[int, float] | str] = {'ANN': {0: _mean(percent(net(x), y) for x, y in tests)}}
    for name in names:
        found[f'snnkern {name}'] = attempt(lambda name=name: ours(net, batches, tests, name, timesteps))
    for rival in RIVALS:
        found[rival.name] = attempt(
            lambda rival=rival: theirs(rival_converters.convert(rival, net, batches), tests, timesteps)
        )
    return found


def contestants(
    snn: SNN, net: nn.Module, batches: Batches, x: Tensor, T: int
) -> tuple[dict[str, Call], dict[str, str]]:
    """What is timed, each a call that gives mean outputs [B, classes], and who is left out, with the reason."""
    loop, bare = snn.simulator(), without_neurons(snn)
    calls: dict[str, Call] = {OURS: lambda: snn(x, T), LOOP: lambda: loop(x, T), BOUND: lambda: bare(x, T)}
    skipped = {}
    for name, rival, run in SPEED_RIVALS:
        try:
            calls[name] = partial(run, rival_converters.convert(rival, net, batches), x, T)
        except ImportError as error:
            skipped[name] = str(error)
    return calls, skipped


def check(calls: dict[str, Call]) -> None:
    """The loop gives the SNN's answers, and SpikingJelly's two modes agree, before anything is timed."""
    for one, other in ((OURS, LOOP), (SJ_STEPS, SJ_MANY)):
        if one in calls:
            a, b = calls[one](), calls[other]()
            distance = ((a - b).norm() / b.norm().clamp_min(1e-9)).item()
            assert distance < 0.02, f'{one} and {other} differ by {distance:.3f} of the norm'


@torch.no_grad()
def speed(net: nn.Module, batches: Batches, x: Tensor, T: int, rounds: int) -> tuple[dict[str, Timing], dict[str, str]]:
    """Seconds of a batch x by contestant, and who is left out, with the reason."""
    snn = snnkern.convert.convert(net, batches[0][0], timesteps=T)
    calls, skipped = contestants(snn, net, batches, x, T)
    check(calls)
    return interleave(calls, rounds), skipped


def verdicts(timings: dict[str, Timing], targets: dict[str, float] = TARGETS) -> list[dict[str, Any]]:
    """Each target beside the ratios of medians, minima and CPU times."""
    own, found = timings[OURS], []
    for rival, wanted in targets.items():
        if rival in timings:
            t = timings[rival]
            measured = {'of_minima': t.least / own.least, 'of_cpu_time': t.cpu / own.cpu}
            ratio = t.median / own.median
            found.append({'rival': rival, 'wanted': wanted, 'measured': ratio, **measured, 'met': ratio >= wanted})
    return found


def accuracy_table(found: dict[str, Any], model: str, timesteps: Sequence[int]) -> report.Table:
    head = [f'{model}, ANN {found["ANN"]["0"]:.1f} %', *(f'T = {T}' for T in timesteps)]
    rows = [
        [name, *(f'{of[str(T)]:.1f}' if isinstance(of, dict) else '-' for T in timesteps)]
        for name, of in found.items()
        if name != 'ANN'
    ]
    why = ''.join(f'\n  {name}: {of}' for name, of in found.items() if isinstance(of, str))
    return f'Accuracy in %{why}', head, rows


def speed_table(result: dict[str, Any], batch: int, T: int) -> report.Table:
    own = result['seconds'][OURS]
    rows = [
        [name, *(f'{t[key]:.3f}' for key in ('median', 'least', 'cpu')), f'{t["median"] / own["median"]:.2f}x']
        for name, t in result['seconds'].items()
    ]
    lines = [
        f'  {v["rival"]}: {v["measured"]:.2f}x ({v["of_minima"]:.2f}x of minima, {v["of_cpu_time"]:.2f}x of CPU time), '
        f'target {v["wanted"]}: {"met" if v["met"] else "NOT met"}'
        for v in result['targets']
    ]
    title = f'Seconds of {batch} images, T = {T}, {result["about"]["threads"]} threads, load {result["load"]}'
    return '\n'.join([title, *lines]), ['', 'median', 'least', 'CPU', "snnkern's time"], rows


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(',')]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', help='cifar10:DIR (see snnkern.data.dataset)', required=True)
    parser.add_argument('--weights', type=Path, help='trained weights (see snnkern.models.weights.load_weights)')
    parser.add_argument('--model', default='resnet20')
    parser.add_argument('--images', type=int, default=1000, help='test images')
    parser.add_argument('--calibration', type=int, default=256, help='training images to calibrate with')
    parser.add_argument('--timesteps', type=numbers, default=[1, 2, 4, 8, 16, 32, 64], help='by commas')
    parser.add_argument(
        '--recipes', default='default,ijcai22,plain_if', help="snnkern's, by commas; unknown ones are skipped"
    )
    parser.add_argument('--part', choices=('accuracy', 'speed', 'both'), default='both')
    parser.add_argument('--steps', type=int, default=32, help='T of the speed')
    parser.add_argument('--batch', type=int, default=50, help='images of the speed')
    parser.add_argument('--rounds', type=int, default=7, help='interleaved rounds')
    parser.add_argument('--threads', type=numbers, default=[1, 2], help='by commas')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='tuned')
    parser.add_argument('--json', type=Path, default=RESULTS)
    parser.set_defaults(passive=False)
    return parser.parse_args(words)


def child(a: argparse.Namespace) -> dict[str, Any]:
    """One part, in this process."""
    from snnkern.data import dataset
    from snnkern.models import build
    from snnkern.models.weights import load_weights

    torch.set_num_threads(a.threads[0])
    torch.manual_seed(0)
    data, net = dataset(a.data), build(a.model).eval()
    if a.weights:
        load_weights(net, a.weights, a.model)
    batches = list(data.loader('train', 64, a.calibration))
    if a.part == 'accuracy':
        names = [name for name in a.recipes.split(',') if name in recipes.RECIPES]
        tests = list(data.loader('test', min(100, a.images), a.images))
        return {'accuracy': accuracy(net, batches, tests, a.timesteps, names)}
    x = next(iter(data.loader('test', a.batch)))[0]
    timings, skipped = speed(net, batches, x, a.steps, a.rounds)
    seconds = {name: t.as_dict() for name, t in timings.items()}
    load = round(os.getloadavg()[0], 1)
    about = surroundings(a.allocator)
    return {'about': about, 'load': load, 'seconds': seconds, 'targets': verdicts(timings), 'skipped': skipped}


def in_process(
    words: Sequence[str], a: argparse.Namespace, threads: int, module: str = 'benchmarks.conversion'
) -> dict[str, Any]:
    """A module's `child` in a process of its own, with a pinned environment."""
    own = argparse.Namespace(**{**vars(a), 'threads': threads})
    command = [sys.executable, '-W', 'ignore', '-m', module, *words, '--threads', str(threads)]
    environment = pinned_environment(own)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return 'not installed'


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else list(words)
    a = parse(words)
    if CHILD in os.environ:
        print(json.dumps(child(a)))
        return 0
    versions = {name: _version(name) for name in ('torch', 'spikingjelly', 'braincog')}
    record: dict[str, Any] = {'model': a.model, 'images': a.images, 'calibration': a.calibration, 'versions': versions}
    if a.part != 'speed':
        record |= in_process([*words, '--part', 'accuracy'], a, max(a.threads))
        report.show(accuracy_table(record['accuracy'], a.model, a.timesteps))
    if a.part != 'accuracy':
        record['speed'] = [in_process([*words, '--part', 'speed'], a, n) for n in a.threads]
        for result in record['speed']:
            report.show(speed_table(result, a.batch, a.steps))
    kept = json.loads(a.json.read_text()) if a.json.exists() else {}
    a.json.write_text(json.dumps(kept | {a.model: kept.get(a.model, {}) | record}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
