"""Training of detectors: Tiny-YOLO learns drawn things, is converted, and is trained on as a spiking network."""

import dataclasses

import drawn
import pytest
import torch

from snnkern.models import TinyYolo, detect, load_weights
from snnkern.recipes.direct import config, program, runtime, saved
from snnkern.recipes.direct.config import Config

for library in ('lightning', 'torchvision', 'faster_coco_eval'):
    pytest.importorskip(library)
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::matplotlib.MatplotlibDeprecationWarning')
QUIET = runtime.Settings(device='cpu')
OPTIONS = {'size': [drawn.SIDE, drawn.SIDE]}
WIDTH = 6


def silent(what, share):
    pass


def recipe(place, **changes) -> Config:
    known = {'learning_rate': 5e-3, 'warmup': 0.1, 'clip': 10.0, 'epochs': 20, 'batch': 8, 'loss': 'head', 'T': 1}
    own = {'data_options': {**OPTIONS, 'augment': 'none'}, 'options': {'width': WIDTH}}
    return Config(**{'model': 'tiny-yolo', 'data': f'yolo:{place}', **known, **own, **changes})


@pytest.fixture(scope='module')
def learned(tmp_path_factory):
    """The folder of drawn things and of a run that learned them, with its report."""
    root = tmp_path_factory.mktemp('detector')
    place = drawn.folder(root / 'data')
    return place, root / 'run', program.train(recipe(place), root / 'run', QUIET, silent)


def test_it_learns_to_find_drawn_things(learned):
    _, _, report = learned
    assert report['score']['ap50'] > 0.4
    assert report['score']['ap50'] > report['history'][0]['ap50'] + 0.3
    assert set(report['score']['ap50_by_class']) == set(drawn.CLASSES)
    assert report['task'] == 'detect'


def test_a_run_is_the_network_to_convert(learned):
    place, run, _ = learned
    data = program.read(recipe(place))
    trained = saved.load(run)
    net = load_weights(TinyYolo(num_classes=2, width=WIDTH), run / saved.FILE)
    x, y = data.test.batch([0, 1])
    assert torch.equal(trained.net(x[None])[0], net(x))
    sizes = torch.cat([data.train.boxes(n) for n in range(len(data.train))])
    assert sizes[:, 3].sub(sizes[:, 1]).min() <= net.head.anchors.min()
    for found, rows in zip(detect(net.head, net(x), score=0.03), y, strict=True):
        assert set(found.labels.tolist()) == set(rows[:, 0].tolist())


def test_a_converted_detector_is_trained_on(learned, tmp_path):
    """With distillation from its ANN; the anchors stay those that the ANN learned with."""
    place, run, _ = learned
    options = {'network': 'tiny-yolo', 'width': WIDTH, 'weights': str(run / saved.FILE), 'recipe': 'channelwise'}
    changes = {'options': options, 'T': 2, 'epochs': 2, 'learning_rate': 1e-3, 'distill': 0.5}
    tuned = recipe(place, model='converted', **changes)
    data = program.read(tuned)
    net = program.network(tuned, data, program.Inputs(tuned, data.mean, data.std))
    anchors = load_weights(TinyYolo(num_classes=2, width=WIDTH), run / saved.FILE).head.anchors
    assert torch.equal(net.head.anchors, anchors)
    report = program.train(tuned, tmp_path / 'tuned', QUIET, silent)
    losses = [row['loss'] for row in report['history']]
    assert losses[1] < losses[0]
    trained = saved.load(tmp_path / 'tuned')
    assert torch.equal(trained.net.head.anchors, anchors)
    x, _ = data.test.batch([0])
    assert trained.net(x.expand(2, *x.shape)).shape == (2, 1, 35, 2, 2)


def test_anchors_that_were_given_stay(learned):
    given = [[0.11, 0.22], [0.33, 0.44]]
    chosen = recipe(learned[0], options={'width': 2, 'anchors': given})
    data = program.read(chosen)
    net = program.network(chosen, data, program.Inputs(chosen, data.mean, data.std))
    assert net.head.anchors.tolist() == [pytest.approx(row) for row in given]
    counted = recipe(
        learned[0], model='converted', options={'network': 'tiny-yolo', 'width': 2, 'network_options': {'anchors': 2}}
    )
    assert len(program.network(counted, data, program.Inputs(counted, (), ())).head.anchors) == 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'loss': 'cross-entropy'}, "loss: of boxes expected one of head, got 'cross-entropy'"),
        ({'loss': 'head', 'dice': 0.5}, 'dice: boxes have none, got 0.5'),
        (
            {'model': 'converted', 'options': {'network': 'fastestdet', 'recipe': 'layerwise'}},
            'model: converted cannot be trained on boxes, its head has no loss',
        ),
        ({'model': 'conv', 'options': {}}, 'model: ConvNet has no head that finds the boxes of yolo'),
        ({'data_options': {'size': [60, 64]}}, r'size: expected multiples of 32, got \(60, 64\)'),
    ],
)
def test_what_does_not_fit_is_named(learned, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        program.train(recipe(learned[0], **changes), tmp_path / 'run', QUIET, silent)


def test_labels_have_no_head_loss(tmp_path):
    digits = dataclasses.replace(config.read('mnist-mlp'), loss='head')
    with pytest.raises(ValueError, match='loss: of labels expected one of cross-entropy, tet, count, one-hot'):
        program.train(digits, tmp_path / 'run', QUIET, silent)
