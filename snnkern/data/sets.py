"""Data sets by name, as the programs call them."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch

from snnkern.data.cifar import cifar10
from snnkern.data.common import DataError, ImageSet
from snnkern.data.digits import FASHION, Mnist, fashion_mnist, mnist, mnist_images
from snnkern.data.folders import imagefolder
from snnkern.data.lucchi import lucchi
from snnkern.data.noise import gaussian
from snnkern.data.samples import ImageSplit, SampleSet

FORMS = ('mnist', 'mnist:DIR', 'cifar10:DIR', 'lucchi:DIR', 'imagefolder:DIR')


def dataset(spec: str, size: int | None = None) -> ImageSet:
    """The data set that a line names.

    spec: 'mnist' (the shipped digits), 'mnist:DIR', 'cifar10:DIR', 'lucchi:DIR' or 'imagefolder:DIR', DIR
    being the folder or file that the loader of that name reads. size: pixels of a side for an image folder
    (224); the others have their own. Raises DataError for another line, and what the loader raises.
    Example: `dataset('cifar10:data').loader('test', 100)`.
    """
    name, _, where = spec.partition(':')
    if name == 'mnist':
        return mnist_images(where or None)
    if not where or name not in ('cifar10', 'lucchi', 'imagefolder'):
        raise DataError(f'no data set {spec!r}, expected one of {", ".join(FORMS)}')
    if name == 'imagefolder':
        return imagefolder(where, size or 224)
    return cifar10(where) if name == 'cifar10' else lucchi(where)


def labelled(data: ImageSet) -> SampleSet:
    """A set of labelled images as samples, all of them as they are."""
    train, test = (ImageSplit(x, y) for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)))
    shape = tuple(data.x_train.shape[1:])
    return SampleSet(data.name, train, test, data.classes, shape, data.source, data.mean, data.std)


def mnist_samples(root: str | None, noise: float = 0.0) -> SampleSet:
    """The digits of `mnist(root)` as samples [1, 28, 28]. noise: level of it in test images, see `noise.gaussian`."""
    return _digits(mnist(root), 'mnist', tuple('0123456789'), noise)


def fashion_samples(root: str, noise: float = 0.0) -> SampleSet:
    """The clothes of `fashion_mnist(root)` in the same way."""
    return _digits(fashion_mnist(root), 'fashion-mnist', FASHION, noise)


def _digits(data: Mnist, name: str, classes: tuple[str, ...], noise: float) -> SampleSet:
    x_train, x_test = (torch.from_numpy(x).unsqueeze(1) for x in (data.x_train, data.x_test))
    y_train, y_test = (torch.from_numpy(y).long() for y in (data.y_train, data.y_test))
    images = ImageSet(name, x_train, y_train, x_test, y_test, classes, (0.0,), (1.0,), data.source)
    made = labelled(images)
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise ValueError(f'noise: expected a number >= 0, got {noise!r}')
    if noise:
        made.test.noise = partial(gaussian, level=noise)  # type: ignore[attr-defined]
    return made


def cifar10_samples(root: str) -> SampleSet:
    """`cifar10(root)` as samples [3, 32, 32]."""
    return labelled(cifar10(root))


def imagefolder_samples(root: str, size: int = 224) -> SampleSet:
    """`imagefolder(root, size)` as samples [3, size, size]."""
    return labelled(imagefolder(root, size))


# Name: the module that reads the folder and the function in it, imported when asked for, and whether that wants T.
SAMPLES = {
    'mnist': ('sets:mnist_samples', False),
    'fashion-mnist': ('sets:fashion_samples', False),
    'cifar10': ('sets:cifar10_samples', False),
    'imagefolder': ('sets:imagefolder_samples', False),
    'nmnist': ('nmnist:nmnist', True),
    'cifar10-dvs': ('event_sets:cifar10_dvs', True),
    'dvs-gesture': ('event_sets:dvs_gesture', True),
    'es-imagenet': ('es_imagenet:es_imagenet', True),
    'camvid': ('camvid:camvid', False),
    'voc2012': ('voc:voc2012', False),
    'coco': ('coco:coco', False),
    'bccd': ('voc_boxes:bccd', False),
    'voc-boxes': ('voc_boxes:voc_boxes', False),
    'coco-boxes': ('coco_boxes:coco_boxes', False),
    'yolo': ('yolo_boxes:yolo', False),
}
SHIPPED = ('mnist', 'nmnist')


def samples(spec: str, T: int = 1, **options: Any) -> SampleSet:
    """The data set that a line names, to train on.

    spec: "name:DIR", DIR the folder or file that the loader of that name reads, or a name alone for what comes with the
    package ("mnist"). T: frames of a sample, where the data are events. options: of the loader. Raises DataError for
    another line and what the loader raises, ValueError for options that it does not take.
    Example: `samples('mnist').test.batch([0])[0].shape  # [1, 1, 28, 28]`.
    """
    name, _, where = spec.partition(':')
    if name not in SAMPLES or not (where or name in SHIPPED):
        forms = ', '.join((*SHIPPED, *(f'{known}:DIR' for known in SAMPLES)))
        raise DataError(f'no data set {spec!r}, expected one of {forms}')
    place, timed = SAMPLES[name]
    module, _, function = place.partition(':')
    read: Callable[..., SampleSet] = getattr(import_module(f'snnkern.data.{module}'), function)
    try:
        return read(where or None, **({'T': T} if timed else {}), **options)
    except TypeError as error:
        raise ValueError(f'data_options of {name}: {error}') from error
