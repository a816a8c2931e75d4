"""`snnkern detect predict`: boxes in pictures and videos, drawn and listed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern._checks import whole
from snnkern.models.boxes import Detections, detect
from snnkern.recipes import files
from snnkern.recipes.detect import pictures, video
from snnkern.recipes.detect.detector import Detector
from snnkern.recipes.direct.predict import PICTURES, found, one_by_one, opened, scaled, targets

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """How boxes are found.

    T: steps of the SNN; None: those that it was converted for. ann: use the ANN instead. score, iou: see
    `snnkern.models.boxes.detect`. every: of a video's frames, look at one of so many; boxes stay for those between.
    skip: leave out files that are broken, with their error in their row, instead of raising DataError. overwrite:
    pictures that are there. Raises ValueError for what is not such. Example: `Settings(T=32, score=0.5)`.
    """

    T: int | None = None
    ann: bool = False
    score: float = 0.3
    iou: float = 0.45
    every: int = 1
    skip: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ('T', 'every'):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))
        if self.ann and self.T is not None:
            raise ValueError(f'T: an ANN has no steps, got {self.T}')
        for name in ('score', 'iou'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a number in 0..1, got {getattr(self, name)!r}')

    def steps(self, detector: Detector) -> int | None:
        """T of the network that finds the boxes; None for an ANN."""
        return None if self.ann or detector.snn is None else self.T or detector.snn.timesteps


class Finder:
    """Finds boxes in pictures of any size. Raises ValueError where the detector has no such network."""

    def __init__(self, detector: Detector, settings: Settings) -> None:
        if not settings.ann and detector.snn is None:
            file = detector.facts['file']
            raise ValueError(f'{file} holds an ANN: --ann, or convert it first by `snnkern detect convert`')
        self.detector, self.settings = detector, settings
        self.ann = detector.ann if settings.ann else None

    @torch.no_grad()
    def __call__(self, image: Any) -> Detections:
        """The boxes in a picture of PIL, corners as shares of its size."""
        d, s = self.detector, self.settings
        x = scaled(image, (3, *d.size), whole=True).unsqueeze(0)
        if self.ann is not None:
            maps = self.ann(x)
        else:
            assert d.snn is not None
            maps = d.snn.predict(x, s.T)
        (boxes,) = detect(d.head, maps, s.score, s.iou)
        return boxes

    def rows(self, boxes: Detections, width: int, height: int) -> list[dict[str, Any]]:
        """Boxes as JSON: class, score, and corners in pixels of a picture of that size."""
        corners = pictures.pixels(boxes.boxes, width, height).tolist()
        each = zip(boxes.labels.tolist(), boxes.scores.tolist(), corners, strict=True)
        return [
            {'class': self.detector.classes[k], 'score': round(p, 4), 'box': [round(c, 2) for c in box]}
            for k, p, box in each
        ]

    def drawn(self, image: Any, boxes: Detections) -> Tensor:
        """A picture of PIL with its boxes, uint8 [3, H, W]."""
        pixels = torch.from_numpy(np.array(image)).movedim(-1, 0)
        return pictures.boxed(pixels, boxes, self.detector.classes)


def predict(
    detector: Detector, paths: Sequence[Path], out: Path, settings: Settings, tell: Tell
) -> list[dict[str, Any]]:
    """A row for each file: its boxes in pixels, the picture with them, and for videos those of each frame looked at.

    paths: pictures, videos, or folders of them. out: where NAME.png and NAME.mp4 go, which must not be inputs. tell:
    called with what is being done and the share done. Raises FileExistsError before anything is done, ImportError,
    naming the package, for videos without OpenCV.
    Example: `predict(load(Path('converted')), [Path('photos')], Path('found'), Settings(), print)`.
    """
    finder = Finder(detector, settings)
    chosen = found(paths, (*PICTURES, *video.ENDINGS))
    films = [path for path in chosen if path.suffix.lower() in video.ENDINGS]
    if films:
        video.opencv()
    stills = [path for path in chosen if path not in films]
    places = targets(stills, out, settings.overwrite) | targets(films, out, settings.overwrite, video.ENDING)

    def row(path: Path, number: int) -> dict[str, Any]:
        if path not in films:
            return _still(finder, path, places[path])
        return _film(finder, path, places[path], lambda what, part: tell(what, (number + part) / len(chosen)))

    return one_by_one(chosen, row, settings.skip, tell)


def _still(finder: Finder, path: Path, place: Path) -> dict[str, Any]:
    from PIL import Image

    image = opened(path)
    boxes = finder(image)
    picture = Image.fromarray(finder.drawn(image, boxes).movedim(0, -1).numpy())
    files.write(place, picture.save)
    return {'picture': str(place), 'boxes': finder.rows(boxes, image.width, image.height)}


def _film(finder: Finder, path: Path, place: Path, tell: Tell) -> dict[str, Any]:
    """Frames are read, drawn and written one by one."""
    from PIL import Image

    frames: list[dict[str, Any]] = []

    def save(temporary: Path) -> None:
        boxes: Detections | None = None
        with video.Reader(path) as reader, video.Writer(temporary, reader) as writer:
            for number, frame in enumerate(reader):
                image = Image.fromarray(frame)
                if boxes is None or number % finder.settings.every == 0:
                    boxes = finder(image)
                    seen = finder.rows(boxes, image.width, image.height)
                    frames.append({'frame': number, 'seconds': round(number / reader.rate, 3), 'boxes': seen})
                    tell(f'{path.name}, frame {number}', min(1.0, number / max(1, reader.count)))
                writer.add(finder.drawn(image, boxes).movedim(0, -1).numpy())

    files.write(place, save)
    return {'video': str(place), 'frames': frames}


def table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """File and what was found in it, as text."""
    return [(Path(row['file']).name, _said(row)) for row in rows]


def _said(row: dict[str, Any]) -> str:
    if 'error' in row:
        return f'skipped: {row["error"]}'
    seen = row['boxes'] if 'boxes' in row else [box for frame in row['frames'] for box in frame['boxes']]
    counts: dict[str, int] = {}
    for box in seen:
        counts[box['class']] = counts.get(box['class'], 0) + 1
    said = (
        ', '.join(f'{count} {name}' for name, count in sorted(counts.items(), key=lambda item: -item[1])) or 'nothing'
    )
    return f'{said} in {len(row["frames"])} frames' if 'frames' in row else said
