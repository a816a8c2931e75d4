"""`snnkern detect evaluate`: average precision, spikes and energy of converted detectors against time steps."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from snnkern._checks import whole
from snnkern.convert import SNN
from snnkern.convert.calibrate import Progress
from snnkern.data import SampleSet
from snnkern.models.boxes import Detections, detect
from snnkern.recipes import machine, measure
from snnkern.recipes.convert_program import description, part
from snnkern.recipes.detect.conversion import Conversion
from snnkern.recipes.detect.data import Batches, read, same_classes, spread
from snnkern.recipes.detect.detector import Detector
from snnkern.recipes.detect.scores import Scores
from snnkern.recipes.files import write_json

TIMESTEPS = (1, 2, 4, 8, 16, 32, 64, 128)
POINTS = (0.02, 0.01)  # points below the ANN, for which a report names the T
PICTURES, SHOWN = 3, 0.3  # images that are drawn, and the score of boxes in them
REPORT, CURVES, BOXES = 'report.json', 'curves.png', 'boxes.png'


@dataclass(frozen=True)
class Settings:
    """What is evaluated.

    data: "name:DIR", see `snnkern.data.samples`; options: of its loader. conversions: to be made and evaluated; empty:
    the SNN that the detector comes with. timesteps: T that are evaluated. limit: test images, evenly spread; None: all.
    score, iou: see `snnkern.models.boxes.detect`. threads, backend: see `machine.running`. Raises ValueError for what
    is not such. Example: `Settings('bccd:data', conversions=(Conversion(), Conversion('layerwise')))`.
    """

    data: str
    options: dict[str, Any] = field(default_factory=dict)
    conversions: tuple[Conversion, ...] = ()
    timesteps: tuple[int, ...] = TIMESTEPS
    limit: int | None = None
    score: float = 0.01
    iou: float = 0.45
    threads: int = 1
    backend: str | None = None

    def __post_init__(self) -> None:
        if not self.timesteps:
            raise ValueError('timesteps must name at least one number of steps')
        for T in self.timesteps:
            whole('timesteps', T)
        if self.limit is not None:
            whole('limit', self.limit)
        for name in ('score', 'iou'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a number in 0..1, got {getattr(self, name)!r}')


def run(detector: Detector, settings: Settings, out: Path, progress: Progress) -> dict[str, Any]:
    """Evaluate and write report.json, curves.png and boxes.png into the existing folder `out`; returns the report.

    progress: called with what is being done and the share done. Raises ValueError where detector and data have other
    classes or there is no SNN to evaluate, and what `data.read` and `snnkern.convert.convert` raise.
    """
    start, s = perf_counter(), settings
    if not s.conversions and detector.snn is None:
        raise ValueError(f'{detector.facts["file"]} holds an ANN: name recipes to convert it by, as --recipe default')
    with machine.running(s.threads, s.backend):
        progress('reading the data', 0.0)
        data = read(s.data, detector, s.options)
        same_classes(data, detector)
        index = spread(len(data.test), s.limit)
        batches = Batches(data.test, index)
        scores = Scores(detector.head, data.classes, s.score, s.iou)
        ann = None
        if detector.net is not None:
            ann = measure.score_ann(detector.net, told(batches, part(progress, 0.02, 0.1)), scores)
        snns: dict[str, SNN] = {}
        conversions = []
        for i, conversion in enumerate(s.conversions or (None,)):
            low, high = (0.1 + 0.85 * k / max(1, len(s.conversions)) for k in (i, i + 1))
            snn, facts = _twin(detector, data, conversion, part(progress, low, low + 0.2 * (high - low)))
            rows = measure.measure(snn, batches, s.timesteps, scores, part(progress, low + 0.2 * (high - low), high))
            snns[facts['label']] = snn
            conversions.append({**facts, 'within_from': near(rows, ann), 'rows': rows, **description(snn)})
        report = {**_facts(detector, data, s), 'test_images': len(index), 'ann': ann, 'conversions': conversions}
        progress('drawing', 0.95)
        written = _draw(detector, data, snns, {**report, 'index': index}, out)
    report |= machine.facts() | {'seconds': perf_counter() - start}
    report['files'] = {name: str(out / name) for name in (REPORT, *written)}
    write_json(out / REPORT, report)
    progress('done', 1.0)
    return report


def told(batches: Batches, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, saying how many are done."""
    for i, batch in enumerate(batches):
        yield batch
        progress('evaluating the ANN', (i + 1) / len(batches))


def _twin(
    detector: Detector, data: SampleSet, conversion: Conversion | None, progress: Progress
) -> tuple[SNN, dict[str, Any]]:
    """The SNN to evaluate, and how it was made."""
    if conversion is None:
        assert detector.snn is not None
        keys = ('recipe', 'timesteps', 'coding', 'calibration')
        known = {'recipe': detector.snn.recipe, 'timesteps': detector.snn.timesteps, **detector.facts}
        facts = {key: known[key] for key in keys if key in known}
        return detector.snn, {'label': label(facts), **facts}
    facts = asdict(conversion)
    return conversion.run(detector, data, progress), {'label': label(facts), **facts}


def label(facts: dict[str, Any]) -> str:
    """What a conversion is called in tables and pictures."""
    coding = f', {facts["coding"]}' if facts.get('coding', 'direct') != 'direct' else ''
    return f'{facts["recipe"]}, for T = {facts["timesteps"]}{coding}'


def near(rows: Sequence[dict[str, Any]], ann: Any) -> dict[str, int | None]:
    """The T from which on AP50 is at most so far below the ANN's."""
    found: dict[str, int | None] = {}
    for far in POINTS if ann is not None else ():
        found[str(far)] = None
        for row in sorted(rows, key=lambda row: -row['timesteps']):
            if row['score']['ap50'] < ann['ap50'] - far:
                break
            found[str(far)] = row['timesteps']
    return found


def _facts(detector: Detector, data: SampleSet, s: Settings) -> dict[str, Any]:
    weights = {key: detector.facts[key] for key in ('file', 'sha256', 'training') if key in detector.facts}
    return {
        'command': machine.command(),
        'network': detector.name,
        'weights': weights,
        'classes': list(detector.classes),
        'size': list(detector.size),
        'data': data.source,
        'timesteps': list(s.timesteps),
        'score': s.score,
        'iou': s.iou,
    }


@torch.no_grad()
def _draw(detector: Detector, data: SampleSet, snns: dict[str, SNN], report: dict[str, Any], out: Path) -> list[str]:
    """Draw curves, and boxes in some test images by both networks; returns the files' names."""
    from snnkern.recipes.detect import pictures

    points = {c['label']: {row['timesteps']: row['score'] for row in c['rows']} for c in report['conversions']}
    pictures.curves(points, report['ann'], out / CURVES)
    split: Any = data.test
    chosen = [report['index'][i] for i in spread(len(report['index']), PICTURES)]
    x, _ = split.batch(chosen)
    maps = {} if detector.net is None else {'ANN': detector.net(x)}
    for name, snn in snns.items():
        nearest = min(report['timesteps'], key=partial(_far, snn.timesteps))
        if len(snns) == 1:
            maps |= {f'SNN, T = {T}': snn.predict(x, T) for T in (nearest, max(report['timesteps']))}
        else:
            maps[f'{name}\nT = {nearest}'] = snn.predict(x, nearest)
    found = {'truth': [truth(split.boxes(n)) for n in chosen]}
    found |= {title: detect(detector.head, each, SHOWN, report['iou']) for title, each in maps.items()}
    images = [split.pictures[n].image() for n in chosen]
    rows = [
        {title: pictures.boxed(image, each[i], data.classes, title != 'truth') for title, each in found.items()}
        for i, image in enumerate(images)
    ]
    pictures.side_by_side(rows, data.classes, out / BOXES)
    return [CURVES, BOXES]


def _far(wanted: int, T: int) -> int:
    return abs(T - wanted)


def truth(rows: Tensor) -> Detections:
    """True boxes [n, 6] as what a perfect detector would find."""
    return Detections(rows[:, 1:5], torch.ones(len(rows)), rows[:, 0].long())
