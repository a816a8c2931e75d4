"""Real data: MNIST, CIFAR-10, Lucchi and folders of pictures; 10,000 digits come with the package (see NOTICE)."""

from snnkern.data.cifar import cifar10
from snnkern.data.common import Bytes, DataError, Images, ImageSet
from snnkern.data.digits import Mnist, mnist, mnist_images
from snnkern.data.event_files import read_events
from snnkern.data.folders import imagefolder
from snnkern.data.lucchi import lucchi
from snnkern.data.samples import ImageSplit, SampleSet, Split
from snnkern.data.sets import dataset, samples

__all__ = [
    'Bytes',
    'DataError',
    'ImageSet',
    'ImageSplit',
    'Images',
    'Mnist',
    'SampleSet',
    'Split',
    'cifar10',
    'dataset',
    'imagefolder',
    'lucchi',
    'mnist',
    'mnist_images',
    'read_events',
    'samples',
]
