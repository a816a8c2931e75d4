"""Data sets by name, as the programs call them."""

from snnkern.data.cifar import cifar10
from snnkern.data.common import DataError, ImageSet
from snnkern.data.digits import mnist_images
from snnkern.data.folders import imagefolder
from snnkern.data.lucchi import lucchi

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
