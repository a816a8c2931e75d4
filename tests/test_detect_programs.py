"""`snnkern detect train`, `convert` and `evaluate`: from pictures to a folder with all files, and errors."""

import json

import pytest
import torch
from detectors import CLASSES, SIZE, run_of, squares
from programs import PNG, invoke, words

from snnkern.models.boxes import detect
from snnkern.recipes.detect import evaluation
from snnkern.recipes.detect.conversion import Conversion, several
from snnkern.recipes.detect.data import Batches, drawn, read, spread
from snnkern.recipes.detect.networks import load
from snnkern.recipes.detect.scores import Scores

for package in ('torchvision', 'torchmetrics', 'faster_coco_eval'):
    pytest.importorskip(package)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The data set."""
    return squares(tmp_path_factory.mktemp('squares'))


@pytest.fixture(scope='module')
def run(tmp_path_factory, root):
    """A run's folder with an untrained network."""
    return run_of(tmp_path_factory.mktemp('runs') / 'ann', root)


@pytest.fixture(scope='module')
def converted(tmp_path_factory, root, run):
    """What `snnkern detect convert` writes, and what it prints."""
    out = tmp_path_factory.mktemp('converted') / 'snn'
    data = ('--data', f'yolo:{root}', '--calibration', 5)
    result = invoke('detect', 'convert', run, *data, '--for', 4, '--coding', 'poisson', '--out', out)
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_a_detector_is_trained(root, tmp_path):
    pytest.importorskip('lightning')
    size = f'data_options.size=[{SIZE}, {SIZE}]'
    options = ('--data', f'yolo:{root}', '--epochs', 2, '--width', 2, '--batch', 3, '--seed', 4, '--json')
    changes = ('--set', size, '--set', 'data_options.augment=none', '--set', 'options.anchors=2')
    result = invoke('detect', 'train', *options, *changes, '--out', tmp_path / 'run')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report['task'] == 'detect'
    assert report['direct']['options'] == {'width': 2, 'anchors': 2}
    assert (report['direct']['seed'], report['direct']['batch'], len(report['history'])) == (4, 3, 2)
    assert list(report['history'][-1])[:3] == ['ap50', 'ap', 'ap50_by_class']
    detector = load(tmp_path / 'run')
    assert detector.classes == CLASSES
    data = read(f'yolo:{root}', detector, {})
    scores = Scores(detector.head, data.classes)
    x, y = data.test.batch(range(4))
    scores.update(detector.ann(x), y)
    assert scores.compute()['ap50'] == pytest.approx(report['score']['ap50'], abs=1e-4)


def test_conversion_says_what_it_did(converted, run):
    out, printed = converted
    about = json.loads((out / 'detector.json').read_text())
    assert {path.name for path in out.iterdir()} == {'ann.safetensors', 'snn.safetensors', 'detector.json'}
    assert (about['coding'], about['timesteps'], about['calibration']) == ('poisson', 4, 5)
    assert about['weights']['file'].startswith(str(run))
    assert len(about['neurons']) == 8
    for text in (
        'tiny-yolo, 2 classes, 64 x 64: recipe default, input coded as poisson',
        'Replaced:',
        '8 neuron',
        'ann.saf',
    ):
        assert text in words(printed)


def test_the_converted_network_is_evaluated(converted, root, tmp_path):
    """The SNN in the folder, at two T, against its own outputs."""
    out, _ = converted
    options = ('--data', f'yolo:{root}', '--timesteps', '1,4', '--limit', 3)
    result = invoke('detect', 'evaluate', out, *options, '--out', tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / 'report.json').read_text())
    names = {'report.json', 'curves.png', 'boxes.png'}
    assert {path.name for path in tmp_path.iterdir()} == names == report['files'].keys()
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in names - {'report.json'})
    (conversion,) = report['conversions']
    assert conversion['label'] == 'default, for T = 4, poisson'
    assert [row['timesteps'] for row in conversion['rows']] == [1, 4]
    assert report['test_images'] == 3
    detector = load(out)
    x, y = read(f'yolo:{root}', detector, {}).test.batch([0, 2, 3])
    for maps, score in ((detector.ann(x), report['ann']), (detector.snn.predict(x, 4), conversion['rows'][1]['score'])):
        scores = Scores(detector.head, CLASSES)
        scores.update(maps, y)
        expected = scores.compute()
        assert [score[key] for key in ('ap50', 'ap')] == pytest.approx(
            [expected[key] for key in ('ap50', 'ap')], abs=1e-6
        )
        assert 0.02 < score['ap50'] < 1
    for row in conversion['rows']:
        assert row['synops'] > 0
        assert row['energy_pj'] == pytest.approx(4.6 * row['macs'] + 0.9 * row['synops'])
    for text in ('AP50:95', 'ANN', '3 test images, boxes of score > 0.01, NMS 0.45', 'curves.png'):
        assert text in words(result.stdout)


def test_recipes_are_compared(run, root, tmp_path):
    """From the ANN alone, each for its own T."""
    options = ('--data', f'yolo:{root}', '--timesteps', '2,4', '--calibration', 4, '--for', 2, '--json')
    result = invoke('detect', 'evaluate', run, *options, '--recipe', 'default@4,layerwise', '--out', tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [c['label'] for c in report['conversions']] == ['default, for T = 4', 'layerwise, for T = 2']
    assert all(len(c['rows']) == 2 and len(c['neurons']) == 8 for c in report['conversions'])
    assert report['command'].startswith('snnkern')


def test_recipes_of_a_list():
    assert several('default@8, layerwise', 32, 'direct', 64, 1) == (
        Conversion('default', 8, 'direct', 64, 1),
        Conversion('layerwise', 32, 'direct', 64, 1),
    )
    assert several(None, 32, 'direct', 64, 0) == ()


def test_from_which_steps_on_the_spiking_network_is_near():
    rows = [{'timesteps': T, 'score': {'ap50': p}} for T, p in ((1, 0.8), (2, 0.7), (4, 0.785), (8, 0.795))]
    assert evaluation.near(rows, {'ap50': 0.8}) == {'0.02': 4, '0.01': 8}
    assert evaluation.near(rows[:2], {'ap50': 0.8}) == {'0.02': None, '0.01': None}
    assert evaluation.near(rows, None) == {}


def test_images_are_spread_and_drawn(root, run):
    assert spread(10, 3) == [0, 4, 9]
    assert spread(3, None) == spread(3, 8) == [0, 1, 2]
    assert sorted(drawn(5, 9, 0)) == [0, 1, 2, 3, 4]
    assert drawn(50, 4, 0) == drawn(50, 9, 0)[:4] != drawn(50, 4, 1)
    data = read(f'yolo:{root}', load(run), {})
    batches = Batches(data.test, [3, 1, 2], 2)
    assert [len(x) for x, _ in batches] == [len(x) for x, _ in batches] == [2, 1]
    assert len(batches) == 2


def test_a_network_that_was_trained_on_has_no_ann(run, root, tmp_path):
    """A converted detector after its own training: its SNN is evaluated, without a line of the ANN."""
    from snnkern.data import samples
    from snnkern.recipes import training
    from snnkern.recipes.direct import saved
    from snnkern.recipes.direct.config import Config

    data = samples(f'yolo:{root}', size=(SIZE, SIZE), augment='none')
    options = {'network': 'tiny-yolo', 'width': 2, 'recipe': 'channelwise'}
    net = saved.make(Config('converted', 'yolo:x', loss='head', options=options, T=3), 2, data.shape)
    config = Config('converted', f'yolo:{root}', loss='head', options=options, T=3)
    training.save(net, tmp_path / 'weights.safetensors', saved.facts_of(config, data))
    detector = load(tmp_path)
    assert (detector.name, detector.net, detector.snn.timesteps) == ('tiny-yolo', None, 3)
    x, _ = data.test.batch([0])
    assert torch.allclose(detector.snn(x, 3), net.eval()(x.expand(3, *x.shape)).mean(0), atol=1e-5)
    assert detect(detector.head, detector.snn(x, 3), 0.0)
    settings = evaluation.Settings(f'yolo:{root}', timesteps=(3,), limit=2)
    (tmp_path / 'out').mkdir()
    report = evaluation.run(detector, settings, tmp_path / 'out', lambda what, share: None)
    assert report['ann'] is None
    assert report['conversions'][0]['within_from'] == {}
    with pytest.raises(ValueError, match='holds a spiking network that was trained on, and no ANN'):
        Conversion().run(detector, data)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['train', 'mnist-mlp'], 'mnist-mlp trains mlp, which finds no boxes: see `snnkern train`'),
        (['train', 'soup'], "no configuration 'soup'"),
        (['train', '--resume', '--overwrite'], '--resume and --overwrite exclude each other'),
        (['convert', 'x', '--data', 'bccd:x', '--out', 'y', '--recipe', 'soup'], 'recipe must be a Recipe or one of'),
        (['convert', 'x', '--data', 'bccd:x', '--out', 'y', '--coding', 'morse'], 'coding: expected one of direct'),
        (['convert', 'x', '--data', 'bccd:x', '--out', 'y', '--calibration', '0'], 'calibration must be >= 1'),
        (['convert', 'x', '--data', 'bccd:x', '--out', 'y', '--network', 'v3'], 'network: expected one of tiny-yolo'),
        (['convert', 'x', '--data', 'bccd:x', '--out', 'y', '--data-option', 'a'], '--data-option must be KEY=VALUE'),
        (['evaluate', 'x', '--data', 'bccd:x', '--timesteps', '0'], 'timesteps must be >= 1'),
        (['evaluate', 'x', '--data', 'bccd:x', '--recipe', 'default@x'], "expected NAME or NAME@T, got 'default@x'"),
        (['evaluate', 'x', '--data', 'bccd:x', '--iou', '2'], 'iou: expected a number in 0..1, got 2.0'),
        (['predict', 'x', 'y', '--T', '0'], 'T must be >= 1'),
        (['predict', 'x', 'y', '--T', '4', '--ann'], 'T: an ANN has no steps, got 4'),
    ],
)
def test_bad_options(arguments, sentence):
    result = invoke('detect', *arguments)
    assert result.exit_code == 2
    assert sentence in words(result.stderr)


def failing(*arguments):
    """The sentence of a program that ends with code 1."""
    result = invoke('detect', *arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ''
    assert result.stderr.count('\n') == 1
    return result.stderr


def test_failures_are_one_sentence(run, root, tmp_path):
    data, out = ('--data', f'yolo:{root}'), ('--out', tmp_path / 'out')
    assert f'no file {tmp_path}/no' in failing('evaluate', tmp_path / 'no', *data, *out)
    assert 'holds an ANN: name recipes' in failing('evaluate', run, *data, *out)
    assert 'holds an ANN: --ann, or convert it first' in failing('predict', run, root / 'images' / 'val', *out)
    assert 'data: mnist has no boxes, expected one of bccd' in failing('convert', run, '--data', 'mnist', *out)
    assert 'there is no such file' in failing('convert', run, '--data', f'bccd:{tmp_path}/no', *out)
    assert 'is the folder of a training' in failing('convert', run, *data, '--out', run)
    assert 'asked: 20 classes' in failing('convert', run, *data, *out, '--classes', 'voc')
    taken = ('--data-option', 'size=[32, 32]')
    assert 'data: size is what the detector asks for' in failing('convert', run, *data, *out, *taken)
    other = squares(tmp_path / 'other')
    (other / 'classes.txt').write_text('blue\nred\n')
    recipe = ('--recipe', 'default')
    said = failing('evaluate', run, '--data', f'yolo:{other}', *out, *recipe)
    assert 'class 0 is red for' in said
    assert 'blue in yolo' in said
    (other / 'classes.txt').write_text('red\nblue\ngreen\n')
    said = failing('evaluate', run, '--data', f'yolo:{other}', *out, *recipe)
    assert 'finds 2 classes, yolo has 3' in said


def test_detectors_are_not_for_the_other_programs(run, root, tmp_path):
    result = invoke('predict', run, root / 'images' / 'val', '--out', tmp_path)
    assert result.exit_code == 1
    assert 'tiny-yolo finds boxes: see `snnkern detect predict`' in words(result.stderr)
    for command in ('train', 'convert'):
        result = invoke(command, 'tiny-yolo', '--data', 'mnist', '--out', tmp_path / 'a.safetensors')
        assert result.exit_code == 2
        assert 'snnkern detect' in words(result.stderr)
