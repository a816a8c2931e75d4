"""Training of any network of the registry: `python -m snnkern.recipes.training --model resnet18 ...`."""

import argparse
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
from snnkern.data import ImageSet, dataset
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
    fit = settings.fit
    with seeded(fit.seed):
        net = build(name, in_channels=data.x_train.shape[1], num_classes=len(data.classes), width=settings.width)
    _check(name, net, data, settings)
    x, y, normalise = data.x_train, data.y_train, data.normalise
    if MODELS[name].task == 'segment':
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

    test_score: accuracy in percent, or the mean soft Dice of whole test slices for a segmenter. seconds: that
    training took.
    """
    return {
        'model': name,
        'in_channels': data.x_train.shape[1],
        'num_classes': len(data.classes),
        'width': settings.width or MODELS[name].width,
        'data': data.source,
        'settings': dataclasses.asdict(settings),
        'test_score': score(net, data.x_test, data.y_test, data.normalise),
        'seconds': round(seconds, 1),
        'snnkern': snnkern.__version__,
        'torch': torch.__version__,
    }


def save(net: nn.Module, path: Path, facts: dict[str, Any]) -> None:
    """Write the weights as safetensors with `facts` (see about) as JSON in the metadata, under 'snnkern'.

    `snnkern.models.load_trained` reads both back. Raises ImportError, naming the package, without safetensors.
    """
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise ImportError('saving weights needs safetensors: pip install safetensors') from None
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    files.write(path, lambda p: save_file(tensors, p, {'snnkern': json.dumps(facts)}))


def main(arguments: list[str] | None = None) -> None:
    """Train one network, print a line an epoch, write its weights."""
    parser = argparse.ArgumentParser('snnkern.recipes.training', description=__doc__)
    parser.add_argument('--model', required=True, choices=MODELS)
    parser.add_argument('--data', required=True, help='mnist, mnist:DIR, cifar10:DIR, lucchi:DIR, imagefolder:DIR')
    parser.add_argument('--out', required=True, type=Path, help='the safetensors file')
    parser.add_argument('--width', type=int)
    parser.add_argument('--method', default='supervised', choices=METHODS)
    parser.add_argument('--probe-epochs', type=int, default=5)
    for field in dataclasses.fields(Fit):
        parser.add_argument(f'--{field.name.replace("_", "-")}', type=type(field.default))
    options = vars(parser.parse_args(arguments))
    data = dataset(options['data'], MODELS[options['model']].size)
    given = {f.name: options[f.name] for f in dataclasses.fields(Fit) if options[f.name] is not None}
    fit = dataclasses.replace(default_fit(options['model'], data), **given)
    settings = Settings(fit, options['width'], options['method'], options['probe_epochs'])
    start = time.perf_counter()
    losses: list[float] = []

    def show(loss: float) -> None:
        losses.append(loss)
        print(f'epoch {len(losses)}: loss {loss:.4f}, {time.perf_counter() - start:.0f} s', flush=True)

    net = train(options['model'], data, settings, show)
    facts = about(options['model'], net, data, settings, time.perf_counter() - start)
    save(net, options['out'], facts)
    digest = hashlib.sha256(options['out'].read_bytes()).hexdigest()
    print(f'{json.dumps(facts)}\n{options["out"]}: test {facts["test_score"]}, sha256 {digest}', flush=True)


if __name__ == '__main__':
    main()
