"""The folder of a converted detector: the ANN, the SNN, and what is to be known of both."""

import json
from pathlib import Path
from typing import Any

import snnkern
from snnkern.convert import SNN
from snnkern.models import WeightsError, read_weights
from snnkern.models.boxes import head_of
from snnkern.recipes import files, training
from snnkern.recipes.detect.detector import Detector, built, known_of, width_of
from snnkern.recipes.direct import saved

ABOUT, ANN_FILE, SNN_FILE = 'detector.json', 'ann.safetensors', 'snn.safetensors'


def check(out: Path, overwrite: bool = True) -> None:
    """Raise FileExistsError for the folder of a training and, without overwrite, for that of a conversion."""
    if (out / saved.FILE).exists():
        raise FileExistsError(f'{out} is the folder of a training: name another by --out')
    if not overwrite and any((out / name).exists() for name in (ABOUT, ANN_FILE, SNN_FILE)):
        raise FileExistsError(f'{out} holds a converted detector: --overwrite, or another --out')


def kept(facts: dict[str, Any]) -> dict[str, Any]:
    """What reports say of the weights that a detector is from."""
    known = {key: facts[key] for key in ('file', 'sha256', 'training') if key in facts}
    earlier = facts.get('weights', {})
    return known | ({'training': earlier['training']} if 'training' in earlier and 'training' not in known else {})


def save(out: Path, detector: Detector, snn: SNN, facts: dict[str, Any]) -> dict[str, Any]:
    """Write a detector and its spiking twin into an existing folder; returns what detector.json says.

    facts: more of it, as JSON. detector.json is written last, with the hashes of the others, so that no folder passes
    for one which was written in part.
    """
    named = {'classes': list(detector.classes), 'size': list(detector.size)}
    (out / ABOUT).unlink(missing_ok=True)
    training.save(detector.ann, out / ANN_FILE, {'model': detector.name, **named})
    files.write(out / SNN_FILE, snn.save)
    head: Any = detector.head
    about = {
        'network': detector.name,
        **named,
        'width': width_of(detector.ann),
        'channels': head.channels,
        'anchors': head.anchors.tolist() if hasattr(head, 'anchors') else None,
        'recipe': snn.recipe,
        'timesteps': snn.timesteps,
        **facts,
        'sha256': {name: files.sha256(out / name) for name in (ANN_FILE, SNN_FILE)},
        'versions': {'snnkern': snnkern.__version__},
    }
    files.write_json(out / ABOUT, about)
    return about


def load(folder: Path) -> Detector:
    """What `save` wrote. Raises WeightsError for files that are missing, broken, or not of one conversion."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding='utf-8'))
        name, (classes, size) = about['network'], known_of(about)
        hashes = {file: about['sha256'][file] for file in (ANN_FILE, SNN_FILE)}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise WeightsError(f'{path} is broken, or not of `snnkern detect convert` ({error!r})') from error
    for file, told in hashes.items():
        if not (folder / file).is_file():
            raise WeightsError(f'no file {folder / file}')
        if files.sha256(folder / file) != told:
            raise WeightsError(f'{folder / file} is not the file that {ABOUT} is of')
    net = built(name, read_weights(folder / ANN_FILE), folder / ANN_FILE)
    head = head_of(net)
    if head.num_classes != len(classes):
        raise WeightsError(f'{path} names {len(classes)} classes, {ANN_FILE} is for {head.num_classes}')
    try:
        snn = SNN.load(folder / SNN_FILE, net)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    return Detector(name, net, head, classes, size, snn, {**about, 'file': str(folder)})
