"""`snnkern study backbones`: which trained networks convert well, by ours and by the published recipe."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import fx, nn

from snnkern.convert import ConversionError
from snnkern.convert.layers import Spiking
from snnkern.convert.recipes import RECIPES
from snnkern.data import ImageSet
from snnkern.models import MODELS, WeightsError, read_metadata
from snnkern.recipes import ann, convert_program, machine, measure
from snnkern.recipes.files import write, write_json

TIMESTEPS = (4, 8, 16, 32)
PUBLISHED = 'ijcai22'
PRETRAINED = ('resnet20', 'resnet32')
ADDS = {operator.add, operator.iadd, torch.add}

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """What to study.

    folder: of .safetensors files that snnkern's training wrote. job: how each is converted and evaluated; its source
    says the data, threads and seed, its network is replaced by each in turn. pretrained: an archive of trained
    CIFAR-10 ResNets, or None. published: whether to convert by the published recipe, too. Raises ValueError where the
    folder holds nothing and there is no archive.
    Example: `Settings(Path('trained'), convert_program.Settings(Source('resnet18', data='cifar10:data')))`.
    """

    folder: Path
    job: convert_program.Settings
    pretrained: Path | None = None
    published: bool = True

    def __post_init__(self) -> None:
        if not self.files and self.pretrained is None:
            raise ValueError(f'no .safetensors file in {self.folder}, and no --pretrained archive')

    @property
    def files(self) -> list[Path]:
        """The trained networks of the folder."""
        return sorted(self.folder.expanduser().glob('*.safetensors'))


def run(settings: Settings, out: Path, progress: Progress) -> dict[str, Any]:
    """Convert and evaluate each backbone; write backbones.json, backbones.md and backbones.png into `out`.

    What does not fit the data is left out and noted. progress: called with what is being done and the share of all
    work done so far. Returns the report. Raises DataError for missing data, ValueError if no network fits them.
    """
    from snnkern.recipes.study_pictures import draw

    start, job, notes = perf_counter(), settings.job, []
    recipes = [job.recipe]
    if settings.published and PUBLISHED not in recipes:
        recipes += [PUBLISHED] if PUBLISHED in RECIPES else []
        notes += [] if PUBLISHED in RECIPES else [f'recipe {PUBLISHED} is not there: the published one was not run']
    with machine.running(job.source.threads, job.backend):
        progress('reading the data', 0.0)
        data = ann.read(job.source)
        sources, skipped = _sources(settings, data)
        backbones = []
        for i, (label, source) in enumerate(sources):
            told = convert_program.part(progress, i / len(sources), (i + 1) / len(sources))
            try:
                backbones.append(_backbone(label, replace(job, source=source), data, recipes, told))
            except (WeightsError, ConversionError) as error:
                skipped.append(f'{label}: {error}')
        facts = machine.facts()
    if not backbones:
        raise ValueError(f'no network fits {data.name}: ' + '; '.join(skipped))
    notes += [f'left out {line}' for line in skipped]
    report: dict[str, Any] = {
        'command': machine.command(),
        'data': data.source,
        'recipes': recipes,
        'timesteps': list(job.timesteps),
        'test_images': backbones[0]['test_images'],
        'backbones': backbones,
        'notes': notes,
        **facts,
    }
    write(out / 'backbones.md', lambda path: path.write_text(markdown(report), encoding='utf-8'))
    write(out / 'backbones.png', lambda path: draw(report, path))
    report['seconds'] = perf_counter() - start
    report['files'] = {name: str(out / name) for name in ('backbones.json', 'backbones.md', 'backbones.png')}
    write_json(out / 'backbones.json', report)
    return report


def _sources(settings: Settings, data: ImageSet) -> tuple[list[tuple[str, ann.Source]], list[str]]:
    """The networks that fit the data by their labels, and what does not fit."""
    base, found, skipped = settings.job.source, [], []
    for path in settings.files:
        try:
            known = read_metadata(path)
        except WeightsError as error:
            skipped.append(f'{path.stem}: {error}')
            continue
        entry = MODELS.get(str(known.get('model')))
        wanted = (data.x_train.shape[1], len(data.classes), 'segment' if data.y_train.ndim == 4 else 'classify')
        got = (known.get('in_channels'), known.get('num_classes'), entry.task if entry else 'unknown')
        if got != wanted:
            skipped.append(f'{path.stem}: {got} channels, classes and task, {data.name} has {wanted}')
            continue
        found.append((path.stem, replace(base, name=known['model'], factory=None, weights=path, width=None)))
    for name in PRETRAINED if settings.pretrained else ():
        found.append((name, replace(base, name=name, factory=None, weights=settings.pretrained, width=None)))
    return found, skipped


def _backbone(
    label: str, job: convert_program.Settings, data: ImageSet, recipes: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """All that is found of one network, as JSON."""
    found = ann.obtain(job.source, progress, data)
    work = convert_program.job(found, job)
    score = measure.score_ann(work.net, work.data.loader('test', work.batch), work.metric and work.metric())
    runs: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for i, recipe in enumerate(recipes):
        other = convert_program.job(found, replace(job, recipe=recipe))
        low, middle, high = (k / (2 * len(recipes)) for k in (2 * i, 2 * i + 1, 2 * i + 2))
        snn = other.convert(job.targets[0], convert_program.part(progress, low, middle, f'{label}, {recipe}: '))
        told = convert_program.part(progress, middle, high, f'{label}, {recipe}: ')
        runs[recipe] = other.rows(snn, job.timesteps, told)
        facts = facts or {'residual': residual(snn.body), 'neuron_layers': len(snn.neurons)}
    known = found.facts['training']
    method = known['settings']['method'] if isinstance(known, dict) else 'supervised'
    return {
        'backbone': label,
        'network': found.facts['network'],
        'weights': found.facts['weights'],
        **facts,
        'weight_layers': sum(isinstance(m, nn.Conv2d | nn.Linear) for m in found.net.modules()),
        'parameters': sum(p.numel() for p in found.net.parameters()),
        'training': method,
        'ann': measure.main_score(score),
        'test_images': len(work.data.x_test),
        'chosen_for': job.targets[0],
        'runs': runs,
    }


def residual(body: nn.Module) -> bool | None:
    """Whether a converted network adds signals to signals; None if it has no graph to read."""
    if not isinstance(body, fx.GraphModule):
        return None
    layers = {name for name, layer in body.named_modules() if isinstance(layer, Spiking)}  # neurons may add, too
    nodes = [n for n in body.graph.nodes if n.target in ADDS or n.target in ('add', 'add_') or n.target in layers]
    return any(len(node.all_input_nodes) > 1 for node in nodes)


def tables(report: dict[str, Any]) -> list[list[list[str]]]:
    """The report as two tables, heads first: the backbones, and what each recipe makes of them."""
    steps = report['timesteps']
    backbones = [['backbone', 'residual', 'neuron layers', 'parameters', 'training', 'ANN']]
    results = [['backbone', 'recipe', *(f'T={T}' for T in steps), 'spikes', 'SynOps, M', 'energy']]
    for b in report['backbones']:
        facts = [_word(b['residual']), str(b['neuron_layers']), f'{b["parameters"]:,}', b['training']]
        backbones.append([b['backbone'], *facts, f'{b["ann"]:.2f}'])
        for recipe, rows in b['runs'].items():
            end = max(rows, key=lambda row: row['timesteps'])
            work = ['-', '-']
            if end['synops'] is not None:
                work = [f'{end["synops"] / 1e6:.1f}', f'{end["energy_ratio"]:.2f}']
            scores = [f'{measure.main_score(row["score"]):.2f}' for row in rows]
            results.append([b['backbone'], recipe, *scores, f'{end["spikes_per_neuron_per_step"]:.3f}', *work])
    return [backbones, results]


def legend(report: dict[str, Any]) -> list[str]:
    """What stands below the tables, line by line."""
    last = max(report['timesteps'])
    chosen = report['backbones'][0]['chosen_for']
    return [
        f'Accuracy in percent on {report["test_images"]} test images, thresholds for T = {chosen}. At T = {last}: '
        'spikes per neuron and step, SynOps of an image, and how many times less energy than the ANN.',
        f'Data: {report["data"]}.',
        f'Command: `{report["command"]}`.',
        *report['notes'],
    ]


def markdown(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    parts = []
    for heads, *rows in tables(report):
        lines = [heads, ['---'] * len(heads), *rows]
        parts.append('\n'.join(f'| {" | ".join(line)} |' for line in lines))
    return '\n\n'.join([*parts, *legend(report)]) + '\n'


def _word(value: bool | None) -> str:
    return '?' if value is None else 'yes' if value else 'no'
