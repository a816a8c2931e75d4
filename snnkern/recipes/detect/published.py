"""What published weights do not say: the names of classes, the sizes of anchors, and the width of a network."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from snnkern.data import DataError
from snnkern.data.coco_boxes import CLASSES as COCO
from snnkern.data.voc import CLASSES as VOC
from snnkern.models import WeightsError
from snnkern.models.darknet import CELLS, COCO_ANCHORS, VOC_ANCHORS, load_darknet
from snnkern.models.tiny_yolo import TinyYolo

CLASSES = {'voc': VOC[1:], 'coco': COCO}
ANCHORS = {'voc': VOC_ANCHORS, 'coco': COCO_ANCHORS}
LAST = (64, 32)  # channels of Tiny-YOLO's eighth convolution, in units of its first: as trained on VOC, on COCO


def names_of(text: str) -> tuple[str, ...]:
    """Names of classes: of 'voc', of 'coco', or from a file with one on each line.

    Raises DataError for a file that is missing or has no names, or one twice. Example: `names_of('voc')[0]`.
    """
    if text in CLASSES:
        return CLASSES[text]
    path = Path(text).expanduser()
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(f'classes: expected voc, coco or a file with a name on each line, got {text}') from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        raise DataError(f'classes: {path} must hold names, each once, got {len(names)}, {len(set(names))} of them new')
    return names


def usual_names(count: int, path: Path) -> tuple[str, ...]:
    """The names of so many classes: COCO's 80 or VOC's 20. Raises ValueError for another number."""
    for names in CLASSES.values():
        if len(names) == count:
            return names
    raise ValueError(f'classes: {path} has {count} classes and no names of them: name a file that has')


def anchors_of(text: str) -> Sequence[Sequence[float]]:
    """Sizes of anchors, in shares of the image: 'voc', 'coco', or numbers in cells of a 13 x 13 map, as in a .cfg file.

    Raises ValueError for what is not such. Example: `anchors_of('1.08,1.19, 3.42,4.41')`.
    """
    if text in ANCHORS:
        return ANCHORS[text]
    try:
        numbers = [float(word) / CELLS for word in text.split(',')]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % 2 or not all(0 < number < float('inf') for number in numbers):
        raise ValueError(
            f'anchors: expected voc, coco or positive widths and heights with commas between, got {text!r}'
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def darknet(path: Path, classes: int, anchors: Sequence[Sequence[float]], width: int | None = None) -> nn.Module:
    """Tiny-YOLO from a Darknet file, of either shape that was published. width: None: 16.

    Raises WeightsError for a file that is missing, broken, or of other classes or anchors.
    """
    failed: WeightsError | None = None
    for last in LAST:
        try:
            return load_darknet(TinyYolo(num_classes=classes, width=width or 16, last=last, anchors=anchors), path)
        except WeightsError as error:
            failed = failed or error
    asked = f'asked: {classes} classes with {len(anchors)} anchors, {len(anchors) * (5 + classes)} channels'
    raise WeightsError(f'{failed}; {asked}') from failed
