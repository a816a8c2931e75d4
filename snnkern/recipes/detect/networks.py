"""Detectors from all files that a user may have: trained here, converted here, or published elsewhere."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from snnkern.data import DataError
from snnkern.models import MODELS, WeightsError, read_metadata, read_weights
from snnkern.models.boxes import head_of
from snnkern.models.tiny_yolo import TinyYolo
from snnkern.models.weights import CHECKPOINTS
from snnkern.recipes import files
from snnkern.recipes.detect import folders, published
from snnkern.recipes.detect.detector import LAST, NETWORKS, Detector, built, known_of, width_of
from snnkern.recipes.direct import saved

CONVERTED = 'converted'  # of the spiking networks, the one that is trained on after its conversion
ENDINGS = (*CHECKPOINTS, '.safetensors')


@dataclass(frozen=True)
class Asked:
    """What a user says of weights that do not say it themselves; None: as the file says, or as usual.

    network: 'tiny-yolo' or 'fastestdet'. classes: 'coco', 'voc' or a file with a name on each line. anchors: 'voc',
    'coco', or widths and heights with commas between, in cells of a 13 x 13 map as in Darknet's .cfg files. width: of
    Tiny-YOLO, needed by Darknet files (16). size: pixels of a side of the images. Raises ValueError for what is not
    such, also for a file without names. Example: `Asked('tiny-yolo', classes='voc')`.
    """

    network: str | None = None
    classes: str | None = None
    anchors: str | None = None
    width: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.network not in (None, *NETWORKS):
            raise ValueError(f'network: expected one of {", ".join(NETWORKS)}, got {self.network!r}')
        if self.width is not None and self.width < 1:
            raise ValueError(f'width: expected at least 1, got {self.width}')
        if self.size is not None and (self.size < 1 or self.size % TinyYolo.stride):
            raise ValueError(f'size: expected a multiple of {TinyYolo.stride}, got {self.size}')
        if self.anchors is not None:
            published.anchors_of(self.anchors)
        try:
            published.names_of(self.classes or 'voc')
        except DataError as error:
            raise ValueError(str(error)) from error


def load(path: Path, asked: Asked | None = None) -> Detector:
    """The detector in a file or folder.

    path: the folder of a run of `snnkern detect train` or its .safetensors; a folder of `snnkern detect convert`; a
    checkpoint (.pth, .pt, .safetensors, or a .zip that holds one) of TinyYolo or FastestDet; or Darknet's .weights of a
    Tiny-YOLO. asked: what is known of it. Raises WeightsError for files that are missing, broken, of something else, or
    of other classes or anchors than asked for; ValueError for classes whose names are not known.
    Example: `load(Path('pretrained_weights.zip'), Asked('fastestdet')).classes`.
    """
    asked, path = asked or Asked(), path.expanduser()
    if path.is_dir() and (path / folders.ABOUT).exists():
        found = folders.load(path)
    elif path.is_dir() and not (path / saved.FILE).exists():
        raise WeightsError(f'{path} holds neither {saved.FILE} of a training nor {folders.ABOUT} of a conversion')
    else:
        found = _of_file(path / saved.FILE if path.is_dir() else path, asked)
    return _as_asked(found, asked)


def _of_file(path: Path, asked: Asked) -> Detector:
    if not path.is_file():
        raise WeightsError(f'no file {path}')
    about = {'file': str(path), 'sha256': files.sha256(path)}
    if path.suffix == '.weights':
        return _darknet(path, asked, about)
    try:
        facts = read_metadata(path)
    except WeightsError:
        facts = {}  # a bare checkpoint
    return _trained(path, about) if saved.KEY in facts else _checkpoint(path, asked, facts, about)


def _trained(path: Path, about: dict[str, Any]) -> Detector:
    """What `snnkern train` made: a network to convert, or one that was trained on after its conversion."""
    net, config, facts = saved.load(path)
    if facts['task'] != 'detect':
        raise WeightsError(f'{path} holds {config.model}, which is to {facts["task"]}, expected a detector')
    training = {key: facts[key] for key in ('data', 'score', 'seconds') if key in facts}
    known = tuple(facts['classes']), tuple(facts['shape'][-2:])
    about = {**about, 'training': training}
    if config.model == CONVERTED:
        twin: Any = net
        twin.snn.timesteps = config.T
        about['width'] = config.options.get('width')
        return Detector(config.options['network'], None, twin.head, *known, twin.snn, about)
    ann = built(config.model, net.state_dict(), path)
    return Detector(config.model, ann, head_of(ann), *known, None, about)


def _checkpoint(path: Path, asked: Asked, facts: dict[str, Any], about: dict[str, Any]) -> Detector:
    """Tensors, whose names and shapes say which network they are of."""
    tensors = read_weights(path, _member(path, asked.network))
    name = next((name for name, key in LAST.items() if key in tensors), None)
    if name is None:
        raise WeightsError(f'{path} is not of {" or ".join(LAST)}: it holds {", ".join(list(tensors)[:3])}, ...')
    ann = built(name, tensors, path)
    head, size = head_of(ann), (MODELS[name].size,) * 2
    if 'classes' in facts:
        try:
            classes, size = known_of({'size': list(size), **facts})
        except TypeError as error:
            raise WeightsError(f'{path}: {error}') from error
        _of_number(classes, head, path)
    elif asked.classes is not None:
        classes = _of_number(published.names_of(asked.classes), head, path)
    else:
        classes = published.usual_names(head.num_classes, path)
    return Detector(name, ann, head, classes, size, None, about)


def _darknet(path: Path, asked: Asked, about: dict[str, Any]) -> Detector:
    for key, why in (('classes', 'its classes: voc, coco, or a file with their names'), ('anchors', 'its anchors')):
        if getattr(asked, key) is None and asked.classes not in published.ANCHORS:
            raise ValueError(f'{key}: {path} does not say {why}')
    classes = published.names_of(str(asked.classes))
    anchors = published.anchors_of(str(asked.anchors or asked.classes))
    ann = published.darknet(path, len(classes), anchors, asked.width)
    size = MODELS['tiny-yolo'].size
    return Detector('tiny-yolo', ann, head_of(ann), classes, (size, size), None, about)


def _member(path: Path, network: str | None) -> str | None:
    """The checkpoint of an archive; of several the one whose path has the network's name, or that of any detector."""
    if path.suffix != '.zip':
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.namelist() if Path(m).suffix in ENDINGS]
    except (OSError, zipfile.BadZipFile):
        return None  # read_weights says what is wrong with it
    if len(members) == 1:
        return members[0]
    names = NETWORKS if network is None else (network,)
    found = [m for m in members if any(name in m.lower().replace('_', '-') for name in names)]
    if len(found) != 1:
        count, listed = len(found) or 'no', ', '.join(members) or 'no checkpoint'
        raise WeightsError(f'{path}: {count} members for {" or ".join(names)}, expected one; it holds {listed}')
    return found[0]


def _of_number(classes: tuple[str, ...], head: Any, path: Path | str) -> tuple[str, ...]:
    """The classes, if the head has so many."""
    if len(classes) == head.num_classes:
        return classes
    anchors = f' with {len(head.anchors)} anchors' if hasattr(head, 'anchors') else ''
    raise WeightsError(
        f'{path}: weights are for {head.channels} channels: {head.num_classes} classes{anchors}; '
        f'asked: {len(classes)} classes'
    )


@torch.no_grad()
def _as_asked(found: Detector, asked: Asked) -> Detector:
    """The detector with what was asked for in place of what it says; WeightsError where that cannot be."""
    file, head = found.facts['file'], found.head
    if asked.network not in (None, found.name):
        raise WeightsError(f'{file} is of {found.name}; asked: {asked.network}')
    width = width_of(found.net) if found.net is not None else found.facts.get('width')
    if asked.width not in (None, width):
        raise WeightsError(
            f'{file} is {"of one width only" if width is None else f"{width} wide"}; asked: {asked.width}'
        )
    if asked.classes is not None:
        found = found._replace(classes=_of_number(published.names_of(asked.classes), head, file))
    if asked.anchors is not None:
        own, sizes = getattr(head, 'anchors', None), published.anchors_of(asked.anchors)
        if own is None or len(own) != len(sizes):
            count = 'no' if own is None else len(own)
            raise WeightsError(f'{file}: weights are for {count} anchors; asked: {len(sizes)}')
        own.copy_(torch.tensor(sizes))
    return found if asked.size is None else found._replace(size=(asked.size, asked.size))
