"""Boxes in YOLO's text files: a line a box, its class, centre, width and height as shares of the image's."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from snnkern.data.box_augmentation import BoxChange
from snnkern.data.boxes import BoxPicture, Labels, box_set, numbers, rows_of, texts
from snnkern.data.common import DataError, folder
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import File, listed

NAMES = 'classes.txt'
LAYOUT = f'images/{{train,val}}/NAME.jpg, labels/{{train,val}}/NAME.txt and {NAMES}'


def yolo(
    root: str | Path,
    size: Sequence[int] = (416, 416),
    augment: str | BoxChange = 'light',
    classes: Sequence[str] | None = None,
    corrupt: str = 'stop',
    cache: bool = True,
) -> SampleSet:
    """Boxes in YOLO's layout, of own images.

    root: a folder, or a zip archive of what is in it, with images/{train,val}/NAME.jpg (or .png, .webp, .bmp) and
    labels/{train,val}/NAME.txt; val is to test. An image without a text file has no boxes. classes: their names, the
    labels' order; None: the lines of classes.txt in root. size, augment, corrupt, cache: as of
    `snnkern.data.voc_boxes.bccd`.

    A line is "class cx cy width height", class counting from 0, the others shares 0..1 of the image. Corners up to half
    a percent outside are moved to the border, boxes without area dropped, with a warning.

    Raises DataError, naming the file and line, if files are missing or broken or a box is not in its image or of
    another class, and ValueError for bad options.

    Source: the layout of Darknet and Ultralytics.
    Example: `x, y = yolo('data', classes=('cat', 'dog')).train.batch([0, 1], seed=0)`.
    """
    place = folder(root, 'YOLO images')
    labels = _listed_classes(place) if classes is None else Labels(classes)
    parts = [yolo_part(place, f'images/{part}', f'labels/{part}', labels) for part in ('train', 'val')]
    for part, pictures in zip(('train', 'val'), parts, strict=True):
        if not pictures:
            raise DataError(f'no YOLO images in {place}: no pictures in images/{part}, expected {LAYOUT}')
    return box_set('yolo', parts, labels, f'YOLO boxes ({place.name})', size, augment, corrupt, cache)


def _listed_classes(place: Path) -> Labels:
    # An archive's top folder is '.', whose files are next to images.
    files = listed(place, '.', ('.txt',))
    if Path(NAMES).stem not in files:
        raise DataError(f'{place}: there is no {NAMES}, and no option classes names the classes')
    lines = texts([files[Path(NAMES).stem]])[0].decode('utf-8-sig', 'replace').splitlines()
    try:
        return Labels([line.strip() for line in lines if line.strip()], str(files[Path(NAMES).stem]))
    except ValueError as error:
        raise DataError(str(error)) from error


def yolo_part(place: Path, images: str, texts_in: str, labels: Labels) -> list[BoxPicture]:
    """The pictures of a folder `images` of a folder or archive, by name, with boxes of the text files in another.

    Example: `yolo_part(Path('data'), 'images/train', 'labels/train', Labels(('cat',)))`.
    """
    pictures, files = listed(place, images), listed(place, texts_in, ('.txt',))
    labelled = [stem for stem in pictures if stem in files]
    if len(labelled) < len(files.keys() - {Path(NAMES).stem}):
        alone = [str(file) for stem, file in files.items() if stem not in pictures and file.path.name != NAMES]
        warnings.warn(f'{len(alone)} files of labels have no picture in {images}: {alone[0]}, ...', stacklevel=2)
    found = dict(zip(labelled, texts([files[stem] for stem in labelled]), strict=True))
    return [
        BoxPicture(image, rows_of(_rows(files[stem], found[stem], labels) if stem in found else ()))
        for stem, image in pictures.items()
    ]


def _rows(file: File, content: bytes, labels: Labels) -> list[list[float]]:
    rows = []
    for i, line in enumerate(content.decode('utf-8-sig', 'replace').splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f'{file}, line {i}'
        if len(words) != 5:
            raise DataError(f'{where}: expected "class cx cy width height", got {line.strip()[:60]!r}')
        label, x, y, w, h = numbers(where, words)
        if label != int(label):
            raise DataError(f'{where}: class {words[0]}, expected a whole number')
        rows += labels.row(where, int(label), (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return rows
