"""What a trained spiking network says of pictures and recordings: `snnkern predict`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern.data import DataError, read_events
from snnkern.data.common import first_line
from snnkern.nn import reset
from snnkern.recipes import files
from snnkern.recipes.direct.objective import Inputs, fitted
from snnkern.recipes.direct.saved import Trained, segments

PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
RECORDINGS = ('.bin', '.aedat4', '.dat', '.mat', '.raw')
Tell = Callable[[str, float], None]


def framed(path: Path, facts: dict[str, Any], denoise: int) -> Tensor:
    """A recording as frames [T, 2, H, W], as its data set makes them, whose sensor it must fit."""
    from snnkern.data.events import EventSplit, Framing, Packed, recording

    sensor = tuple(facts['sensor'])
    try:
        packed = Packed.of([recording(read_events(path), sensor, denoise)])
    except ValueError as error:
        raise DataError(f'{path}: {error}') from error
    split = EventSplit(packed, torch.zeros(1, dtype=torch.int64), sensor, Framing(**facts['framing']))
    return split.batch([0])[0][0]


def found(paths: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """The files of these kinds among paths and directly in folders, by name; raises DataError where there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(item for item in path.iterdir() if item.suffix.lower() in suffixes)
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f'no file or folder {path}')
    if not files:
        raise DataError(f'no files in {", ".join(map(str, paths))} that end in {", ".join(suffixes)}')
    return list({path.resolve(): path for path in files}.values())


def opened(path: Path) -> Any:
    """A picture of PIL, decoded. Raises DataError where it is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image.convert('RGB')
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f'{path} is broken or no picture ({first_line(error)})') from error


def scaled(image: Any, shape: Sequence[int], whole: bool) -> Tensor:
    """A picture as [C, H, W] in 0..1; grey where C is 1. whole: all of it is scaled; else its middle, as of folders."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    image = image.convert('L') if channels == 1 else image
    how = Image.Resampling.BILINEAR
    fitting = image.resize((width, height), how) if whole else ImageOps.fit(image, (width, height), how)
    return torch.from_numpy(np.array(fitting)).view(height, width, channels).permute(2, 0, 1).float() / 255


def targets(files: Sequence[Path], out: Path, overwrite: bool, ending: str = '.png') -> dict[Path, Path]:
    """Where the overlay of each file goes; raises FileExistsError rather than write over anything."""
    stems = [path.stem for path in files]
    names = {path: path.stem if stems.count(path.stem) == 1 else path.name for path in files}
    places = {path: out / f'{name}{ending}' for path, name in names.items()}
    inputs = {path.resolve() for path in files}
    for path, place in places.items():
        if list(places.values()).count(place) > 1:
            raise FileExistsError(f'{path}: another file has the same name; predict folder by folder')
        if place.resolve() in inputs:
            raise FileExistsError(f'{place} is a file to predict: name another folder by --out')
        if place.exists() and not overwrite:
            raise FileExistsError(f'{place} is there already: --overwrite, or another --out')
    return places


def predict(
    trained: Trained, paths: Sequence[Path], out: Path | None, skip: bool, tell: Tell, overwrite: bool = False
) -> list[dict[str, Any]]:
    """A row for each file: its class and probability, or the share of each class in its mask.

    trained: see `saved.load`. paths: files or folders: pictures, of which classifiers see the middle, cut to their
    shape, and segmenters all, or recordings that `read_events` opens. out: where overlays of masks go, as NAME.png of
    the picture's own size; needed by segmenters. skip: leave out files that are broken, with their error in their row,
    instead of raising DataError. overwrite: overlays that are there. Raises FileExistsError before anything is done,
    ValueError for a detector.
    Example: `predict(load('runs/segment'), [Path('photos')], Path('overlays'), False, print)`.
    """
    if trained.facts['task'] == 'detect':
        raise ValueError(f'{trained.config.model} finds boxes: see `snnkern detect predict`')
    masks = segments(trained)
    chosen = found(paths, PICTURES if len(trained.facts['shape']) == 3 else RECORDINGS)
    if masks and out is None:
        raise ValueError('out: a segmenter draws overlays and needs a folder, got none')
    places = targets(chosen, out, overwrite) if masks and out is not None else {}

    def row(path: Path, number: int) -> dict[str, Any]:
        return drawn(trained, path, places[path]) if masks else named(trained, path, number)

    return one_by_one(chosen, row, skip, tell)


def one_by_one(
    files: Sequence[Path], row: Callable[[Path, int], dict[str, Any]], skip: bool, tell: Tell
) -> list[dict[str, Any]]:
    """What `row` says of each file and its number; skip: the error of those that are broken in its place."""
    rows = []
    for i, path in enumerate(files):
        tell(path.name, i / len(files))
        try:
            rows.append({'file': str(path), **row(path, i)})
        except DataError as error:
            if not skip:
                raise
            rows.append({'file': str(path), 'error': str(error)})
    return rows


@torch.no_grad()
def answer(trained: Trained, x: Tensor, offset: int = 0) -> Tensor:
    """The mean output over time, [B, K, ...], of samples as their data set gives them."""
    facts, net = trained.facts, trained.net
    reset(net)
    seq = Inputs(trained.config, tuple(facts['mean']), tuple(facts['std']))(x, offset, test=True)
    try:
        return net(seq).float().mean(0)
    finally:
        reset(net)


def sample(path: Path, trained: Trained) -> Tensor:
    """A file as one x of the network's data set: a picture, or the frames of a recording."""
    facts = trained.facts
    if len(facts['shape']) == 3:
        return scaled(opened(path), facts['shape'], whole=segments(trained))
    return framed(path, facts, trained.config.data_options.get('denoise', 0))


def named(trained: Trained, path: Path, number: int) -> dict[str, Any]:
    """The class of a file, as JSON; with its probability where the network was trained to give one."""
    (logits,) = answer(trained, sample(path, trained).unsqueeze(0), number)
    best = int(logits.argmax())
    if trained.config.loss in ('cross-entropy', 'tet'):
        told = {'probability': float(logits.softmax(0)[best])}
    else:
        told = {'output': float(logits[best])}
    return {'class': trained.facts['classes'][best], **{name: round(value, 4) for name, value in told.items()}}


def drawn(trained: Trained, path: Path, place: Path) -> dict[str, Any]:
    """The mask of a picture, drawn over it, and the share of each class, as JSON."""
    from PIL import Image

    from snnkern.recipes.direct import overlays

    image, facts = opened(path), trained.facts
    x = scaled(image, (3, image.height, image.width), whole=True)
    logits = answer(trained, scaled(image, facts['shape'], whole=True).unsqueeze(0))
    mask = fitted(logits, torch.empty(1, *x.shape[1:]))[0].argmax(0)
    picture = Image.fromarray(overlays.overlay(x, mask, facts['classes']).permute(1, 2, 0).numpy())
    files.write(place, picture.save)
    shares = {name: round(float((mask == k).float().mean()), 4) for k, name in enumerate(facts['classes'])}
    return {'overlay': str(place), 'shares': {name: share for name, share in shares.items() if share}}


def table(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """File and answer of each row, as text."""
    for row in rows:
        if 'error' in row:
            said = f'skipped: {row["error"]}'
        elif 'class' in row:
            sure = f' ({100 * row["probability"]:.1f} %)' if 'probability' in row else ''
            said = f'{row["class"]}{sure}'
        else:
            shares = sorted(row['shares'].items(), key=lambda item: -item[1])
            said = ', '.join(f'{name} {100 * share:.0f} %' for name, share in shares[:5])
        yield Path(row['file']).name, said
