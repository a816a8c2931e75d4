"""`snnkern convert`: load or train a network, convert it, evaluate both, draw what there is to see."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.convert import SNN
from snnkern.convert import convert as convert_network
from snnkern.convert.evaluate import min_max
from snnkern.convert.recipes import named
from snnkern.data import ImageSet
from snnkern.recipes import ann, machine, measure, segment
from snnkern.recipes.files import write_json
from snnkern.recipes.images import Part, middle

TIMESTEPS = (1, 2, 4, 8, 16, 32)
LONGEST = 8  # steps that thresholds are chosen for, unless asked otherwise
CALIBRATION = 256
VALUES = 2**22  # of a batch of pictures

Progress = Callable[[str, float], None]


def check_steps(timesteps: Sequence[int]) -> None:
    """Raise ValueError, or TypeError, unless these are numbers of steps to evaluate."""
    if not timesteps:
        raise ValueError('timesteps must name at least one number of steps')
    for T in timesteps:
        whole('timesteps', T)


@dataclass(frozen=True)
class Settings:
    """How to convert and evaluate the network of a source.

    timesteps: T that are evaluated. chosen_for: T that thresholds are chosen for, 'each': one conversion for each of
    timesteps; None: the largest of timesteps that is at most 8, else 8. recipe: a name of `snnkern.convert.recipes`.
    readout: 'mean', 'original', or None: as the recipe says. calibration: training images, drawn by the source's seed.
    limit: test images, evenly spread; None: all. crop: pixels of a side of the middle of a segmenter's slices; None:
    whole slices. leaves: modules that stay whole and analogue. modules: None, or 'auto' for networks that torch.fx
    cannot trace. backend: None: the best. Raises ValueError for what is not such.
    Example: `Settings(source, timesteps=(4, 8), limit=200)`.
    """

    source: ann.Source
    timesteps: tuple[int, ...] = TIMESTEPS
    chosen_for: int | str | None = None
    recipe: str = 'default'
    readout: str | None = None
    calibration: int = CALIBRATION
    limit: int | None = None
    crop: int | None = None
    leaves: tuple[str, ...] = ()
    modules: str | None = None
    backend: str | None = None

    def __post_init__(self) -> None:
        check_steps(self.timesteps)
        for T in self.targets:
            whole('for', T)
        whole('calibration', self.calibration)
        for key in ('limit', 'crop'):
            if getattr(self, key) is not None:
                whole(key, getattr(self, key))
        for key, known in (('readout', (None, 'mean', 'original')), ('modules', (None, 'auto'))):
            if getattr(self, key) not in known:
                raise ValueError(f'{key} must be one of {", ".join(map(str, known))}, got {getattr(self, key)!r}')
        named(self.recipe)

    @property
    def original(self) -> bool:
        """Whether analogue parts are read at every step, as published."""
        return named(self.recipe).original_readout if self.readout is None else self.readout == 'original'

    @property
    def targets(self) -> tuple[int, ...]:
        """T that thresholds are chosen for, one for each conversion."""
        if self.chosen_for == 'each':
            return self.timesteps
        if isinstance(self.chosen_for, str):
            raise ValueError(f"for must be a number of steps or 'each', got {self.chosen_for!r}")
        longest = max((T for T in self.timesteps if T <= LONGEST), default=LONGEST)
        return (longest if self.chosen_for is None else self.chosen_for,)


@dataclass(frozen=True)
class Job:
    """A network to convert, its calibration and test images, and how outputs are scored (None: by classes)."""

    net: nn.Module
    data: ImageSet
    settings: Settings
    metric: Callable[[], Any] | None

    @property
    def masks(self) -> bool:
        """Whether the network segments."""
        return self.metric is not None

    @property
    def batch(self) -> int:
        """Pictures at a time."""
        _, *size = self.data.x_test.shape
        return max(2, min(64, VALUES // torch.Size(size).numel()))

    def convert(self, T: int, progress: Progress) -> SNN:
        """The network for T steps."""
        s = self.settings
        # An attention pool is one function to the converter: it reads means, not spikes.
        pools = [name for name, _ in self.net.named_modules() if name.rpartition('.')[2] == 'attnpool']
        return convert_network(
            self.net,
            self.data.loader('train', self.batch),
            s.recipe,
            T,
            leaves=(*s.leaves, *pools),
            modules=s.modules,
            readout=s.readout,
            progress=progress,
        )

    def rows(self, snn: SNN, timesteps: tuple[int, ...], progress: Progress) -> list[dict[str, Any]]:
        """What the SNN scores at each T."""
        metric = None if self.metric is None else self.metric()
        return measure.measure(snn, self.data.loader('test', self.batch), timesteps, metric, progress)


def job(found: ann.Ann, settings: Settings) -> Job:
    """What to convert, from a network and its data; masks get a sigmoid. Raises ValueError for a crop that is not."""
    data, s = found.data, settings
    masks = data.y_train.ndim == 4
    if s.crop is not None and not (masks and s.crop <= min(data.x_test.shape[2:])):
        height, width = data.x_test.shape[2:]
        raise ValueError(f'crop: {s.crop} pixels of {data.name}, {height} x {width}' + ('' if masks else ', no masks'))
    draw = torch.Generator().manual_seed(s.source.seed)
    train = torch.randperm(len(data.x_train), generator=draw)[: s.calibration]
    count = min(s.limit or len(data.x_test), len(data.x_test))
    test = torch.linspace(0, len(data.x_test) - 1, count).round().long()
    chosen = data._replace(
        x_train=Part(data.x_train, train, s.crop),
        y_train=_targets(data.y_train, train, s.crop),
        x_test=Part(data.x_test, test, s.crop),
        y_test=_targets(data.y_test, test, s.crop),
    )
    if not masks:
        return Job(found.net, chosen, s, None)
    net = segment.with_sigmoid(found.net)
    return Job(net, chosen, s, lambda: segment.Scores(reading(s)))


def _targets(y: Tensor, index: Tensor, crop: int | None) -> Tensor:
    return middle(y[index], crop) if y.ndim == 4 else y[index]


def reading(settings: Settings) -> Callable[[Tensor], Tensor] | None:
    """What makes probabilities of a segmenting SNN's outputs; None: they are that."""
    return min_max if settings.original else None


def part(progress: Progress, low: float, high: float, label: str = '') -> Progress:
    """A progress that fills the share from low to high of another; label: goes before what it says."""
    return lambda what, share: progress(label + what, low + (high - low) * share)


def run(settings: Settings, out: Path, progress: Progress) -> dict[str, Any]:
    """Do it all and write report.json, the pictures and the weights into the existing folder `out`.

    progress: called with what is being done and the share of all work done so far. Returns the report. Raises what
    `ann.obtain` and `snnkern.convert.convert` raise. Example: `run(Settings(Source('lenet5')), Path('lenet5'), print)`.
    """
    from snnkern.recipes.convert_pictures import draw

    start, s = perf_counter(), settings
    with machine.running(s.source.threads, s.backend):
        found = ann.obtain(s.source, part(progress, 0, 0.4))
        work = job(found, s)
        progress('evaluating the ANN', 0.4)
        metric = segment.Scores() if work.metric else None
        score = measure.score_ann(work.net, work.data.loader('test', work.batch), metric)
        conversions, snns = [], []
        for i, T in enumerate(s.targets):
            low, high = (0.42 + 0.5 * k / len(s.targets) for k in (i, i + 1))
            snn = work.convert(T, part(progress, low, (low + high) / 2))
            steps = (T,) if s.chosen_for == 'each' else s.timesteps
            rows = work.rows(snn, steps, part(progress, (low + high) / 2, high))
            conversions.append({'timesteps': T, 'rows': rows, **description(snn)})
            snns.append(snn)
        progress('drawing', 0.92)
        report = {**_facts(found, work, s), 'ann': score, 'conversions': conversions, **machine.facts()}
        written = draw(work, snns, report, out)
    report['seconds'] = perf_counter() - start
    report['files'] = {name: str(out / name) for name in ('report.json', *written)}
    write_json(out / 'report.json', report)
    progress('done', 1.0)
    return report


def _facts(found: ann.Ann, work: Job, s: Settings) -> dict[str, Any]:
    settings = {key: getattr(s, key) for key in ('recipe', 'crop', 'timesteps')}
    settings['readout'] = 'original' if s.original else 'mean'
    counts = {'calibration_images': len(work.data.x_train), 'test_images': len(work.data.x_test)}
    return {'command': machine.command(), **found.facts, **settings, **counts, 'seed': s.source.seed}


def description(snn: SNN) -> dict[str, Any]:
    """The neurons of a network and what was replaced by what, as JSON."""
    neurons = [{'v_threshold': _number(n.v_threshold), 'max_spikes': n.max_spikes} for n in snn.neurons]
    return {'neurons': neurons, 'entries': [asdict(entry) for entry in snn.entries]}


def _number(theta: Tensor | float) -> float | list[float]:
    return theta.tolist() if isinstance(theta, Tensor) else theta
