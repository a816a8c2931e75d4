"""The network that a program converts: built by name or by a factory, its weights loaded or trained first."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from snnkern._checks import whole
from snnkern.data import ImageSet, dataset
from snnkern.models import MODELS, WeightsError, build, load_trained, load_weights, read_metadata
from snnkern.recipes import files
from snnkern.recipes.fitting import seeded
from snnkern.recipes.training import Settings as Training
from snnkern.recipes.training import default_fit, train, train_net

Progress = Callable[[str, float], None]
DIGITS = ('lenet5', 'lenet-classic')
CLASSIC = tuple(name for name, entry in MODELS.items() if entry.task != 'detect')


@dataclass(frozen=True)
class Source:
    """Which network, and from where.

    name: a key of `snnkern.models.MODELS` that is no detector's, or None with factory: 'package.module:function',
    called without arguments. weights: a file (see `snnkern.models.read_weights`); None trains the network first. data:
    as `snnkern.data.dataset` takes it; None: the shipped digits, for the LeNets. epochs: of training, None: the
    network's own; 0 leaves the network as it is built. width: of a network that has several. size: pixels of a side
    of an image folder's pictures. Raises ValueError for a choice that does not fit together.
    Example: `Source('resnet20', weights=Path('pretrained_weights.zip'), data='cifar10:data')`.
    """

    name: str | None
    factory: str | None = None
    weights: Path | None = None
    data: str | None = None
    epochs: int | None = None
    width: int | None = None
    size: int | None = None
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if (self.name is None) == (self.factory is None):
            raise ValueError(f'name one network, or a factory by --model package.module:function, got {self.name}')
        if self.name in MODELS and self.name not in CLASSIC:
            raise ValueError(f'{self.name} is a detector: `snnkern detect` trains and converts it')
        if self.name is not None and self.name not in MODELS:
            raise ValueError(f'no network {self.name!r}, expected one of {", ".join(CLASSIC)}')
        if self.factory is not None and not all(self.factory.partition(':')):
            raise ValueError(f'--model must be package.module:function, got {self.factory!r}')
        if self.data is None and self.name not in DIGITS:
            forms = 'mnist, mnist:DIR, cifar10:DIR, lucchi:DIR or imagefolder:DIR'
            raise ValueError(f'--data is missing: {self.label} needs one of {forms}')
        if self.width is not None and (self.name is None or MODELS[self.name].width is None):
            raise ValueError(f'--width: {self.label} has one width only, got {self.width}')
        for key, least in (('epochs', 0), ('width', 1), ('size', 1), ('threads', 1), ('seed', 0)):
            if (value := getattr(self, key)) is not None:
                whole(key, value, at_least=least)

    @property
    def label(self) -> str:
        """What the network is called in reports."""
        return self.name or str(self.factory)


@dataclass(frozen=True)
class Ann:
    """A network in eval mode, its data, and what is known of both, as JSON."""

    net: nn.Module
    data: ImageSet
    facts: dict[str, Any]


def read(source: Source) -> ImageSet:
    """The data of a source. Raises DataError if they are missing or broken."""
    return dataset(source.data or 'mnist', source.size or (MODELS[source.name].size if source.name else None))


def obtain(source: Source, progress: Progress, data: ImageSet | None = None) -> Ann:
    """The network with its weights, loaded or trained, and its data; see Source.

    data: the source's, where they have been read already. progress: called with what is being done and the share
    done of it. Raises DataError, WeightsError, ImportError where something is missing or broken, ValueError where
    network, weights and data do not fit.
    """
    progress('reading the data', 0.0)
    data = read(source) if data is None else data
    facts: dict[str, Any] = {'network': source.label, 'data': data.source, 'classes': len(data.classes)}
    if source.weights is not None:
        net = _loaded(source, data, source.weights)
        facts['weights'] = {'file': str(source.weights), 'sha256': files.sha256(source.weights.expanduser())}
        facts['training'] = _known(source.weights)
    elif source.epochs == 0:
        net, facts['training'] = _built(source, data), 'none: the weights are those that the network was built with'
    else:
        net, facts['training'] = _trained(source, data, progress)
    check(net.eval(), data, source.label)
    return Ann(net, data, facts)


def check(net: nn.Module, data: ImageSet, name: str) -> None:
    """Raises ValueError unless the network takes the pictures and answers with the right number of classes."""
    shape = tuple(data.x_train.shape[1:])
    try:
        with torch.no_grad():
            out = net(data.normalise(data.x_train[:1]))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(f'{name} does not take the pictures of {data.name}, {shape}: {error}') from error
    classes, masks = len(data.classes), data.y_train.ndim == 4
    if not isinstance(out, torch.Tensor) or out.ndim != (4 if masks else 2):
        wanted = 'maps [B, 1, H, W] for masks' if masks else 'logits [B, classes] for labels'
        got = list(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise ValueError(f'{name} must give {wanted} of {data.name}, got {got}')
    if out.shape[1] != classes:
        raise ValueError(f'{name} has {out.shape[1]} classes, {data.name} has {classes}')


def _built(source: Source, data: ImageSet) -> nn.Module:
    with seeded(source.seed):
        if source.name is None:
            return _factory(str(source.factory))
        sizes = {'in_channels': data.x_train.shape[1], 'num_classes': len(data.classes), 'width': source.width}
        return build(source.name, **sizes)


def _factory(line: str) -> nn.Module:
    module, _, function = line.partition(':')
    sys.path.insert(0, '')  # as `python -m` does: factories in the current folder are found
    try:
        net = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f'--model {line}: {error}') from error
    finally:
        sys.path.remove('')
    if not isinstance(net, nn.Module):
        raise ValueError(f'--model {line} must return a torch.nn.Module, got {type(net).__name__}')
    return net


def _loaded(source: Source, data: ImageSet, path: Path) -> nn.Module:
    known = _known(path)
    if known is None or source.name is None:
        return load_weights(_built(source, data), path, source.name)
    if known['model'] != source.name:
        raise WeightsError(f'{path} is of {known["model"]}, not of {source.name}')
    if known['num_classes'] != len(data.classes):
        raise WeightsError(f'{path} is for {known["num_classes"]} classes, {data.name} has {len(data.classes)}')
    if source.width not in (None, known['width']):
        raise WeightsError(f'{path} is {known["width"]} wide, not {source.width}')
    return load_trained(path)[0]


def _known(path: Path) -> dict[str, Any] | None:
    """What snnkern's training wrote beside the weights, or None if something else wrote them."""
    try:
        return read_metadata(path)
    except WeightsError:
        return None


def _trained(source: Source, data: ImageSet, progress: Progress) -> tuple[nn.Module, dict[str, Any]]:
    fit = replace(default_fit(source.label, data), seed=source.seed, threads=source.threads)
    fit = fit if source.epochs is None else replace(fit, epochs=source.epochs)
    settings, start = Training(fit, source.width), perf_counter()
    show = epochs_told(settings, f'training {source.label}', progress)
    if source.name is not None:
        net = train(source.name, data, settings, show)
    else:
        net = _built(source, data)
        check(net.eval(), data, source.label)
        train_net(net, data, settings, show)
    return net, {'settings': asdict(settings), 'seconds': round(perf_counter() - start, 1)}


def epochs_told(settings: Training, what: str, progress: Progress) -> Callable[[float], None]:
    """What to call after each epoch of such a training with its loss: it tells `progress`."""
    done = iter(range(1, settings.epochs + 1))
    progress(what, 0.0)
    return lambda loss: progress(f'{what}, loss {loss:.3f}', next(done) / settings.epochs)
