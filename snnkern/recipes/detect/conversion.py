"""`snnkern detect convert`: a spiking twin of a detector, in a folder with all that is needed to use it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from snnkern._checks import whole
from snnkern.convert import SNN
from snnkern.convert import convert as convert_network
from snnkern.convert.calibrate import Progress, silent
from snnkern.convert.coding import CODINGS
from snnkern.convert.recipes import named
from snnkern.data import SampleSet
from snnkern.recipes import machine
from snnkern.recipes.convert_program import description, part
from snnkern.recipes.detect import folders
from snnkern.recipes.detect.data import Batches, drawn, read
from snnkern.recipes.detect.detector import Detector
from snnkern.recipes.direct import saved

TIMESTEPS = 32
CALIBRATION = 64


@dataclass(frozen=True)
class Conversion:
    """How a detector is converted.

    recipe: a name of `snnkern.convert.recipes`. timesteps: T that thresholds are chosen for. coding: 'direct', a
    constant current, or 'poisson'. calibration: training images that thresholds are chosen on, drawn by the seed; their
    boxes are not used. Raises ValueError for what is not such. Example: `Conversion('spiking_yolo', 128)`.
    """

    recipe: str = 'default'
    timesteps: int = TIMESTEPS
    coding: str = 'direct'
    calibration: int = CALIBRATION
    seed: int = 0

    def __post_init__(self) -> None:
        named(self.recipe)
        for name, least in (('timesteps', 1), ('calibration', 1), ('seed', 0)):
            whole(name, getattr(self, name), at_least=least)
        if self.coding not in CODINGS:
            raise ValueError(f'coding: expected one of {", ".join(CODINGS)}, got {self.coding!r}')

    def run(self, detector: Detector, data: SampleSet, progress: Progress = silent) -> SNN:
        """The spiking twin of a detector's ANN. Raises what `snnkern.convert.convert` raises."""
        images = Batches(data.train, drawn(len(data.train), self.calibration, self.seed))
        return convert_network(detector.ann, images, self.recipe, self.timesteps, coding=self.coding, progress=progress)


def several(names: str | None, timesteps: int, coding: str, calibration: int, seed: int) -> tuple[Conversion, ...]:
    """The conversions of a list as 'default,spiking_yolo@128': by name, and @T where it is not `timesteps`.

    Raises ValueError for what is no recipe or no T. Example: `several('default@8,layerwise', 32, 'direct', 64, 0)`.
    """
    found = []
    for word in names.split(',') if names else ():
        recipe, _, T = word.strip().partition('@')
        if not (T.isdecimal() or '@' not in word):
            raise ValueError(f'recipe: expected NAME or NAME@T, got {word!r}')
        found.append(Conversion(recipe, int(T or timesteps), coding, calibration, seed))
    return tuple(dict.fromkeys(found))


def run(
    detector: Detector,
    spec: str,
    options: dict[str, Any],
    conversion: Conversion,
    out: Path,
    threads: int,
    backend: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Convert a detector and write it into the existing folder `out`; returns the report, as JSON.

    spec, options: the data, see `data.read`. threads, backend: see `machine.running`. progress: called with what is
    being done and the share done. Raises FileExistsError for the folder of a training, and what `data.read` and
    `snnkern.convert.convert` raise.
    """
    start = perf_counter()
    if (out / saved.FILE).exists():
        raise FileExistsError(f'{out} is the folder of a training: name another by --out')
    with machine.running(threads, backend):
        progress('reading the data', 0.0)
        data = read(spec, detector, options)
        snn = conversion.run(detector, data, part(progress, 0.05, 0.95))
        facts = {
            'command': machine.command(),
            'data': data.source,
            **asdict(conversion),
            'calibration': min(conversion.calibration, len(data.train)),
            'weights': detector.facts,
            **description(snn),
        }
        progress('writing', 0.95)
        about = folders.save(out, detector, snn, facts)
    progress('done', 1.0)
    files = [str(out / name) for name in (folders.ANN_FILE, folders.SNN_FILE, folders.ABOUT)]
    return {**about, 'seconds': perf_counter() - start, 'files': files}
