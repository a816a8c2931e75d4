"""`snnkern train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from snnkern.cli import common
from snnkern.data import dataset
from snnkern.models import MODELS
from snnkern.recipes import training
from snnkern.recipes.ann import Source, epochs_told
from snnkern.recipes.files import as_json
from snnkern.recipes.fitting import Fit


def train(
    name: Annotated[str, typer.Argument(help=f'One of {", ".join(MODELS)}.', metavar='NAME')],
    out: Annotated[Path, typer.Option(help='The .safetensors file.')],
    data: Annotated[
        str,
        typer.Option('--data', help='mnist, mnist:DIR, cifar10:DIR, lucchi:DIR or imagefolder:DIR.', metavar='SPEC'),
    ],
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; without: the network's.")] = None,
    width: Annotated[int | None, typer.Option(help='Of a network that has several.')] = None,
    method: Annotated[str, typer.Option(help='supervised, or rotation: the backbone without labels.')] = 'supervised',
    probe_epochs: Annotated[int, typer.Option(help='Of the last layer, after rotation.')] = 5,
    batch: Annotated[int | None, typer.Option(help="Images a step; without: the network's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest; without: the network's.")] = None,
    threads: common.Threads = 1,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Train a network and write its weights, with what is to be known of them."""
    given = {'epochs': epochs, 'batch': batch, 'learning_rate': learning_rate, 'threads': threads, 'seed': seed}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}

    def make() -> training.Settings:
        Source(name, None, None, data, None, width, None, seed, threads)
        if out.suffix != '.safetensors':
            raise ValueError(f'--out must end in .safetensors, got {out}')
        return training.Settings(dataclasses.replace(Fit(), **changes), width, method, probe_epochs)

    settings = common.settings(make)
    common.make_folder(out.parent)
    with common.working() as progress:
        progress('reading the data', 0.0)
        images = dataset(data, MODELS[name].size)
        fit = dataclasses.replace(training.default_fit(name, images), **changes)
        settings = dataclasses.replace(settings, fit=fit)
        facts = training.train_to(out, name, images, settings, epochs_told(settings, f'training {name}', progress))
    if json:
        typer.echo(as_json(facts))
    else:
        kind = 'soft Dice' if MODELS[name].task == 'segment' else 'accuracy %'
        typer.echo(
            f'{name}: test {kind} {facts["test_score"]}, {facts["seconds"]:.0f} s of training on {facts["data"]}.'
        )
        typer.echo(f'Written: {out}. Sha256 of the weights: {facts["weights"]}')
