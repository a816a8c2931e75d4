"""`snnkern train`: a spiking network from a configuration, or a network to convert."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from snnkern.cli import common, direct
from snnkern.data import dataset
from snnkern.models import MODELS
from snnkern.recipes import training
from snnkern.recipes.ann import CLASSIC, Source, epochs_told
from snnkern.recipes.direct import runtime
from snnkern.recipes.files import as_json
from snnkern.recipes.fitting import Fit

NETWORKS = 'Networks to convert'

RunFolder = Annotated[
    Path | None, typer.Option(help="The run's folder (runs/CONFIG); for networks to convert a .safetensors file.")
]
Data = Annotated[
    str | None,
    typer.Option(
        '--data',
        help='name:DIR, as mnist:DIR; mnist and nmnist alone are shipped. Without: the configuration says.',
        metavar='SPEC',
    ),
]
Epochs = Annotated[int | None, typer.Option(help='Passes over the training data.')]
Batch = Annotated[int | None, typer.Option(help='Samples a step.')]
LearningRate = Annotated[float | None, typer.Option(help='The highest.')]
Width = Annotated[int | None, typer.Option(help='Of a network that has several.')]
Seed = Annotated[int | None, typer.Option(help='One seed gives the same figures again.')]
Changes = Annotated[
    list[str] | None,
    typer.Option('--set', help='Another value of a key, as T=8 or options.hidden=100.', metavar='KEY=VALUE'),
]
Compile = Annotated[bool, typer.Option('--compile', help='Run the network under torch.compile.')]
Precision = Annotated[str, typer.Option(help='32, bf16 or 16 (autocast).')]
Device = Annotated[str, typer.Option(help='auto, cpu or cuda.')]
Workers = Annotated[int, typer.Option(help='Processes that read data.')]
CheckpointEvery = Annotated[int, typer.Option(help='Steps between checkpoints.')]
Resume = Annotated[bool, typer.Option('--resume', help="Go on from the folder's checkpoint.")]
Overwrite = Annotated[bool, typer.Option('--overwrite', help="Delete the folder's run first.")]


def train(
    name: Annotated[
        str | None,
        typer.Argument(
            help='A configuration (see --list), a .toml file, or a network to convert: ' + ', '.join(CLASSIC) + '.',
            metavar='CONFIG|NAME',
        ),
    ] = None,
    out: RunFolder = None,
    data: Data = None,
    epochs: Epochs = None,
    batch: Batch = None,
    learning_rate: LearningRate = None,
    width: Width = None,
    seed: Seed = None,
    threads: common.Threads = 1,
    json: common.Json = False,
    changes: Changes = None,
    backend: common.Backend = None,
    compile: Compile = False,
    precision: Precision = '32',
    device: Device = 'auto',
    workers: Workers = 0,
    checkpoint_every: CheckpointEvery = 100,
    resume: Resume = False,
    overwrite: Overwrite = False,
    method: Annotated[
        str, typer.Option(help='supervised, or rotation: the backbone without labels.', rich_help_panel=NETWORKS)
    ] = 'supervised',
    probe_epochs: Annotated[int, typer.Option(help='Of the last layer, after rotation.', rich_help_panel=NETWORKS)] = 5,
    listed: Annotated[bool, typer.Option('--list', help='Show the configurations and exit.')] = False,
) -> None:
    """Train a spiking network by a configuration, or a network that is to be converted.

    Under torchrun the processes share each batch: `torchrun --nproc-per-node 2 -m snnkern train mnist-conv`.
    """
    if listed:
        direct.show_names()
        raise typer.Exit
    if name is None:
        raise typer.BadParameter('CONFIG|NAME is missing: --list shows the configurations')
    given = chosen(data=data, epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed)
    how: dict[str, Any] = {'backend': backend, 'compile': compile, 'precision': precision, 'device': device,
                           'workers': workers, 'checkpoint_every': checkpoint_every}  # fmt: skip
    if name in MODELS and name not in CLASSIC:
        raise typer.BadParameter(f'{name} finds boxes: see `snnkern detect train`')
    if name in MODELS:
        own = dataclasses.asdict(runtime.Settings())
        odd = [key for key, value in how.items() if value != own[key]]
        if odd or changes or resume:
            wrong = odd[0] if odd else 'set' if changes else 'resume'
            raise typer.BadParameter(
                f'--{wrong.replace("_", "-")} is for configurations, {name} is a network to convert'
            )
        _network(name, out, given, width, threads, json, (method, probe_epochs), overwrite)
        return
    given |= chosen(**{'options.width': width}) | direct.parsed(changes or [])
    direct.train(name, out, given, how | {'threads': threads, 'existing': existing(resume, overwrite)}, json)


def chosen(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def existing(resume: bool, overwrite: bool) -> str:
    """What is to be done about a folder with a run in it."""
    if resume and overwrite:
        raise typer.BadParameter('--resume and --overwrite exclude each other')
    return 'resume' if resume else 'overwrite' if overwrite else 'stop'


def _network(
    name: str,
    out: Path | None,
    given: dict[str, Any],
    width: int | None,
    threads: int,
    json: bool,
    method: tuple[str, int],
    overwrite: bool,
) -> None:
    """Train a network of the registry and write its weights, with what is to be known of them."""
    if out is None or 'data' not in given:
        raise typer.BadParameter(f'{name} needs {"--out" if out is None else "--data"}')
    data, seed = given.pop('data'), given.get('seed', 0)
    changes = {**given, 'threads': threads}

    def make() -> training.Settings:
        Source(name, None, None, data, None, width, None, seed, threads)
        if out.suffix != '.safetensors':
            raise ValueError(f'--out must end in .safetensors, got {out}')
        if out.exists() and not overwrite:
            raise ValueError(f'--out: {out} is there already: --overwrite, or another name')
        return training.Settings(dataclasses.replace(Fit(), **changes), width, *method)

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
