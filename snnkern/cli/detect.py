"""`snnkern detect`: detectors from training to boxes in pictures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common, detect_text, direct
from snnkern.cli import train as training
from snnkern.recipes import machine
from snnkern.recipes.detect import conversion, evaluation, networks
from snnkern.recipes.direct import config as configs
from snnkern.recipes.files import as_json

CONFIG = 'detect-bccd'
STEPS = ','.join(map(str, evaluation.TIMESTEPS))
app = typer.Typer(no_args_is_help=True, help='Detectors of things in images: train, convert, evaluate, predict.')

Weights = Annotated[
    Path,
    typer.Argument(
        help='A folder or .safetensors of `detect train`, a folder of `detect convert`, a checkpoint of FastestDet or '
        "Tiny-YOLO (.pth, .pt, .safetensors, .zip), or Darknet's .weights of Tiny-YOLO."
    ),
]
Network = Annotated[str | None, typer.Option(help='tiny-yolo or fastestdet; without: as the file says.')]
Classes = Annotated[
    str | None, typer.Option(help='voc, coco, or a file with a name on each line; without: as the file says.')
]
Anchors = Annotated[
    str | None,
    typer.Option(help="voc, coco, or widths and heights with commas between, in cells, as in Darknet's .cfg."),
]
Width = Annotated[
    int | None, typer.Option(help='Channels of the first layer; without: as the file says, of .weights 16.')
]
Size = Annotated[int | None, typer.Option(help="Pixels of an image's side; without: as in training.")]
Data = Annotated[
    str, typer.Option('--data', help='bccd:DIR, voc-boxes:DIR, coco-boxes:DIR or yolo:DIR.', metavar='SPEC')
]
DataOption = Annotated[
    list[str] | None,
    typer.Option('--data-option', help='An option of the data set, as corrupt=skip.', metavar='KEY=VALUE'),
]
Coding = Annotated[str, typer.Option(help='Of the input: direct (a constant current) or poisson (spikes).')]
Calibration = Annotated[int, typer.Option(help='Training images that thresholds are chosen on.')]
Iou = Annotated[float, typer.Option(help='Overlap above which a box repeats a surer one.')]
Score = Annotated[float, typer.Option(help='Of the least sure box.')]


@app.callback()
def main() -> None:
    """Detectors of things in images."""


@app.command()
def train(
    config: Annotated[str, typer.Argument(help='A configuration of a detector, or a .toml file.')] = CONFIG,
    out: training.RunFolder = None,
    data: training.Data = None,
    epochs: training.Epochs = None,
    batch: training.Batch = None,
    learning_rate: training.LearningRate = None,
    width: training.Width = None,
    seed: training.Seed = None,
    threads: common.Threads = 1,
    json: common.Json = False,
    changes: training.Changes = None,
    backend: common.Backend = None,
    compile: training.Compile = False,
    precision: training.Precision = '32',
    device: training.Device = 'auto',
    workers: training.Workers = 0,
    checkpoint_every: training.CheckpointEvery = 100,
    resume: training.Resume = False,
    overwrite: training.Overwrite = False,
) -> None:
    """Train a detector that is to be converted, as `snnkern train` does."""
    chosen = common.settings(lambda: configs.read(config, direct.parsed(changes or [])))
    if chosen.loss != 'head':
        raise typer.BadParameter(f'{config} trains {chosen.model}, which finds no boxes: see `snnkern train`')
    given = training.chosen(data=data, epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed)
    training.train(
        config,
        out,
        **given,
        width=width,
        threads=threads,
        json=json,
        changes=changes,
        backend=backend,
        compile=compile,
        precision=precision,
        device=device,
        workers=workers,
        checkpoint_every=checkpoint_every,
        resume=resume,
        overwrite=overwrite,
    )


@app.command()
def convert(
    weights: Weights,
    data: Data,
    out: Annotated[Path, typer.Option(help='The folder of the converted detector.')],
    recipe: Annotated[str, typer.Option(help='How to choose neurons and thresholds.')] = 'default',
    timesteps: Annotated[
        int, typer.Option('--for', help='Steps that thresholds are chosen for.', metavar='T')
    ] = conversion.TIMESTEPS,
    coding: Coding = 'direct',
    calibration: Calibration = conversion.CALIBRATION,
    network: Network = None,
    classes: Classes = None,
    anchors: Anchors = None,
    width: Width = None,
    size: Size = None,
    data_option: DataOption = None,
    threads: common.Threads = 1,
    seed: common.Seed = 0,
    backend: common.Backend = None,
    json: common.Json = False,
) -> None:
    """Make a spiking twin of a detector, and write it with all that is needed to use it."""
    settings = common.settings(lambda: conversion.Conversion(recipe, timesteps, coding, calibration, seed), backend)
    asked = common.settings(lambda: networks.Asked(network, classes, anchors, width, size))
    options = direct.parsed(data_option or [], '--data-option')
    with common.working() as progress:
        progress('reading the network', 0.0)
        detector = networks.load(weights, asked)
        common.make_folder(out)
        report = conversion.run(detector, data, options, settings, out, threads, backend, progress)
    typer.echo(as_json(report)) if json else detect_text.show_conversion(report)


@app.command()
def evaluate(
    weights: Weights,
    data: Data,
    recipe: Annotated[
        str | None,
        typer.Option(
            help='Recipes to convert by, with commas between, as default@32,spiking_yolo@128: @T says the steps that '
            'thresholds are chosen for. Without: the SNN in the folder.'
        ),
    ] = None,
    timesteps: common.Timesteps = STEPS,
    chosen_for: Annotated[
        int, typer.Option('--for', help='T of recipes without an @T.', metavar='T')
    ] = conversion.TIMESTEPS,
    coding: Coding = 'direct',
    calibration: Calibration = conversion.CALIBRATION,
    limit: Annotated[int | None, typer.Option(help='Test images, evenly spread; without: all.')] = None,
    score: Score = 0.01,
    iou: Iou = 0.45,
    network: Network = None,
    classes: Classes = None,
    anchors: Anchors = None,
    width: Width = None,
    size: Size = None,
    data_option: DataOption = None,
    threads: common.Threads = 1,
    seed: common.Seed = 0,
    backend: common.Backend = None,
    out: Annotated[Path, typer.Option(help='Where report and pictures go.')] = Path('detection'),
    json: common.Json = False,
) -> None:
    """Measure average precision of ANN and SNN against T, and spikes and energy; draw curves and boxes."""
    steps, options = common.steps(timesteps), direct.parsed(data_option or [], '--data-option')

    def make() -> evaluation.Settings:
        wanted = conversion.several(recipe, chosen_for, coding, calibration, seed)
        return evaluation.Settings(data, options, wanted, steps, limit, score, iou, threads, backend)

    settings = common.settings(make, backend)
    asked = common.settings(lambda: networks.Asked(network, classes, anchors, width, size))
    common.make_folder(out)
    with common.working() as progress:
        progress('reading the network', 0.0)
        report = evaluation.run(networks.load(weights, asked), settings, out, progress)
    typer.echo(as_json(report)) if json else detect_text.show_evaluation(report)


@app.command()
def predict(
    weights: Weights,
    inputs: Annotated[list[Path], typer.Argument(help='Pictures, videos, or folders of them.')],
    timesteps: Annotated[
        int | None, typer.Option('--T', help='Steps of the SNN; without: those it was converted for.', metavar='T')
    ] = None,
    score: Score = 0.3,
    iou: Iou = 0.45,
    ann: Annotated[bool, typer.Option('--ann', help='Use the ANN in place of the SNN.')] = False,
    every: Annotated[int, typer.Option(help='Look at one of so many frames of a video.')] = 1,
    out: Annotated[Path, typer.Option(help='Where pictures with boxes go.')] = Path('predictions'),
    skip_broken: Annotated[
        bool, typer.Option('--skip-broken', help='Leave out files that are broken instead of stopping.')
    ] = False,
    overwrite: Annotated[bool, typer.Option('--overwrite', help='Write over pictures that are there.')] = False,
    network: Network = None,
    classes: Classes = None,
    anchors: Anchors = None,
    width: Width = None,
    size: Size = None,
    threads: common.Threads = 1,
    backend: common.Backend = None,
    json: common.Json = False,
) -> None:
    """Find things in pictures and videos: draw boxes, list them in pixels."""
    from snnkern.recipes.detect import predict as program  # matplotlib takes a second

    settings = common.settings(
        lambda: program.Settings(timesteps, ann, score, iou, every, skip_broken, overwrite), backend
    )
    asked = common.settings(lambda: networks.Asked(network, classes, anchors, width, size))
    with common.working() as progress:
        progress('reading the network', 0.0)
        detector = networks.load(weights, asked)
        common.make_folder(out)
        with machine.running(threads, backend):
            rows = program.predict(detector, inputs, out, settings, progress)
    if json:
        typer.echo(as_json({'network': str(weights), 'T': settings.steps(detector), 'predictions': rows}))
        return
    table = Table(box=None, show_header=False)
    for line in program.table(rows):
        table.add_row(*line)
    Console(soft_wrap=True).print(table)
    typer.echo(f'Written: {out}/')
