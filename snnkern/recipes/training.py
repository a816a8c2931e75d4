"""Training of any network of the registry (`snnkern train`)."""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import snnkern
from snnkern.data import ImageSet
from snnkern.models import MODELS, build
from snnkern.recipes import files
from snnkern.recipes.fitting import (
    Fit,
    OnEpoch,
    linear_probe,
    pretrain_rotation,
    score,
    seeded,
    train_classifier,
    train_segmenter,
)

METHODS = ('supervised', 'rotation')
RECIPES: dict[str, Fit] = {
    'lenet5': Fit(epochs=8, batch=64, smoothing=0.0),
    'lenet-classic': Fit(epochs=8, batch=64, smoothing=0.0),
    'vgg18': Fit(epochs=25),
    'plain18': Fit(epochs=20),
    'unet': Fit(epochs=32, batch=8, learning_rate=1e-2, weight_decay=1e-4, optimizer='adamw'),
}


@dataclass(frozen=True)
class Settings:
    """What `train` does besides the choice of network and data.

    fit: how it is fitted. width: of the network; None: the registry's. method: 'supervised', or 'rotation': the
    backbone without labels, then the last layer alone with them, for probe_epochs. Raises ValueError for
    another method or fewer than one epoch. Example: `Settings(default_fit('resnet18', data), width=16)`.
    """

    fit: Fit
    width: int | None = None
    method: str = 'supervised'
    probe_epochs: int = 5

    @property
    def epochs(self) -> int:
        """How often progress is called."""
        return self.fit.epochs + (self.probe_epochs if self.method == 'rotation' else 0)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f'method: expected one of {", ".join(METHODS)}, got {self.method!r}')
        if self.probe_epochs < 1:
            raise ValueError(f'probe_epochs: expected at least 1, got {self.probe_epochs}')


def default_fit(name: str, data: ImageSet) -> Fit:
    """The Fit of that network, augmented as the data allow: digits are turned a little, not mirrored."""
    fit = RECIPES.get(name, Fit())
    return dataclasses.replace(fit, augment='affine') if data.name == 'mnist' else fit


def train(name: str, data: ImageSet, settings: Settings | None = None, progress: OnEpoch | None = None) -> nn.Module:
    """A network of the registry trained on a data set, in eval mode.

    name: a key of `snnkern.models.MODELS`. data: from `snnkern.data.dataset`; its channels and classes size the
    network. settings: None takes the network's own Fit. progress: called after each epoch with its mean loss.
    One seed and number of threads give the same weights again on the same machine; the caller's random state
    stays as it was. Raises ValueError if the network does not take these pictures or targets.
    Example: `train('resnet18', dataset('cifar10:data'), Settings(Fit(epochs=30), width=16))`.
    """
    settings = settings or Settings(default_fit(name, data))
    with seeded(settings.fit.seed):
        net = build(name, in_channels=data.x_train.shape[1], num_classes=len(data.classes), width=settings.width)
    _check(name, net, data, settings)
    return train_net(net, data, settings, progress)


def train_net(net: nn.Module, data: ImageSet, settings: Settings, progress: OnEpoch | None = None) -> nn.Module:
    """Any network trained in place, a segmenter where the targets are masks; otherwise as `train`.

    Example: `train_net(MyNet(), data, Settings(Fit(epochs=10)))`.
    """
    x, y, normalise, fit = data.x_train, data.y_train, data.normalise, settings.fit
    if y.ndim == 4:
        return train_segmenter(net, x, y, normalise, fit, progress)
    if settings.method == 'supervised':
        return train_classifier(net, x, y, normalise, fit, progress)
    pretrain_rotation(net, x, normalise, fit, progress)
    return linear_probe(net, x, y, normalise, dataclasses.replace(fit, epochs=settings.probe_epochs), progress)


def _check(name: str, net: nn.Module, data: ImageSet, settings: Settings) -> None:
    """Raises ValueError unless the network takes the pictures and the task fits the targets and the method."""
    segments = MODELS[name].task == 'segment'
    if segments != (data.y_train.ndim == 4):
        wanted, got = ('masks', 'labels') if segments else ('labels', 'masks')
        raise ValueError(f'data: {name} learns from {wanted}, {data.name} has {got}')
    if segments and settings.method != 'supervised':
        raise ValueError(f'method: {name} learns supervised, not by {settings.method}')
    try:
        with torch.no_grad():
            net.eval()(data.normalise(data.x_train[:1]))
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = data.x_train.shape[2:]
        size = MODELS[name].size
        raise ValueError(f'data: {name} takes {size} x {size} pixels, {data.name} has {height} x {width}') from error


def about(name: str, net: nn.Module, data: ImageSet, settings: Settings, seconds: float) -> dict[str, Any]:
    """What is to be known of trained weights, as JSON: the network, its data and settings, and its test score.

    test_score: accuracy in percent, or the mean soft Dice of whole test slices for a segmenter. weights: the SHA-256
    of the tensors, the same for the same training (a file's is not: it says how long training took). seconds: that.
    """
    return {
        'model': name,
        'in_channels': data.x_train.shape[1],
        'num_classes': len(data.classes),
        'width': settings.width or MODELS[name].width,
        'data': data.source,
        'settings': dataclasses.asdict(settings),
        'test_score': score(net, data.x_test, data.y_test, data.normalise),
        'weights': digest(net),
        'seconds': round(seconds, 1),
        'snnkern': snnkern.__version__,
        'torch': torch.__version__,
    }


def digest(net: nn.Module) -> str:
    """The SHA-256 of the names and values of a network's tensors, in hexadecimal."""
    found = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def save(net: nn.Module, path: Path, facts: dict[str, Any]) -> None:
    """Write the weights as safetensors with `facts` (see about) as JSON in the metadata, under 'snnkern'.

    `snnkern.models.load_trained` reads both back. Raises ImportError, naming the package, without safetensors.
    """
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise ImportError('saving weights needs safetensors: pip install safetensors') from None
    # Copies: what modules share would share memory, which the format does not hold.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in net.state_dict().items()}
    files.write(path, lambda p: save_file(tensors, p, {'snnkern': json.dumps(facts)}))


def train_to(
    path: Path, name: str, data: ImageSet, settings: Settings, progress: OnEpoch | None = None
) -> dict[str, Any]:
    """Train as `train` does and write the weights; returns what is known of them (about), and the file.

    Example: `train_to(Path('net.safetensors'), 'lenet5', data, Settings(default_fit('lenet5', data)))`.
    """
    start = time.perf_counter()
    net = train(name, data, settings, progress)
    facts = about(name, net, data, settings, time.perf_counter() - start)
    save(net, path, facts)
    return {**facts, 'file': str(path)}
