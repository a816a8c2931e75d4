"""Networks that the recipes train and convert, and readers of their weights."""

from snnkern.models.boxes import Detections, detect
from snnkern.models.cifar import CifarResNet
from snnkern.models.fastestdet import CellHead, FastestDet
from snnkern.models.foreign import clip_rn50, torchvision_resnet
from snnkern.models.lenet import LeNet5, LeNetClassic
from snnkern.models.registry import MODELS, ModelEntry, build
from snnkern.models.resnet import ResNet
from snnkern.models.tiny_yolo import TinyYolo
from snnkern.models.unet import UNet
from snnkern.models.vgg import VGG
from snnkern.models.weights import WeightsError, load_trained, load_weights, read_metadata, read_weights

__all__ = [
    'MODELS',
    'VGG',
    'CellHead',
    'CifarResNet',
    'Detections',
    'FastestDet',
    'LeNet5',
    'LeNetClassic',
    'ModelEntry',
    'ResNet',
    'TinyYolo',
    'UNet',
    'WeightsError',
    'build',
    'clip_rn50',
    'detect',
    'load_trained',
    'load_weights',
    'read_metadata',
    'read_weights',
    'torchvision_resnet',
]
