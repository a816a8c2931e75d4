"""Files from others run no code, nor does what the programs leave behind; and whatever that holds, reading it ends."""

import json
import os

import numpy as np
import pytest
import torch
from broken import ends, soon, trees
from corrupt_runs import RUNS, detector, nir_graph

from snnkern.data import DataError, mnist
from snnkern.data.coco_boxes import coco_boxes
from snnkern.data.event_sets import dvs_gesture
from snnkern.models import WeightsError
from snnkern.models.weights import read_metadata, read_weights
from snnkern.recipes.detect import folders, networks
from snnkern.recipes.direct import checkpoint, config, saved

DEEP = 100_000


class Harm:
    """An object whose reading makes a folder, if a reader runs code."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def harmful(root, harm):
    """Files of everything that may be a pickle, and what reads them."""
    torch.save({'a': torch.ones(2), 'b': harm}, root / 'w.pt')
    torch.save({'a': torch.ones(2), 'b': harm}, root / 'w.th', _use_new_zipfile_serialization=False)
    array = np.array([harm], dtype=object)
    np.savez(root / 'm.npz', x_train=array, y_train=array, x_test=array, y_test=array)
    for part in ('Train', 'Test'):
        folder = root / f'ibmGesture{part}' / 'user01_led'
        folder.mkdir(parents=True)
        np.save(folder / '1.npy', array)
    return [
        lambda: read_weights(root / 'w.pt'),
        lambda: read_weights(root / 'w.th'),
        lambda: mnist(root / 'm.npz'),
        lambda: dvs_gesture(root, size=32).train.batch([0]),
    ]


def test_pickles_of_others_do_not_run(tmp_path):
    harm = tmp_path / 'harm'
    for read in harmful(tmp_path, Harm(harm)):
        with pytest.raises((DataError, WeightsError)):
            read()
        assert not harm.exists()
    np.load(tmp_path / 'm.npz', allow_pickle=True)['x_train']
    assert harm.exists()


def test_a_checkpoint_with_code_in_it(tmp_path):
    path, use = RUNS['checkpoint'](tmp_path)
    torch.save({**torch.load(path, weights_only=True), 'about': Harm(tmp_path / 'harm')}, path)
    with pytest.raises(checkpoint.CheckpointError, match='is broken or no checkpoint'):
        use()
    assert not (tmp_path / 'harm').exists()


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', RUNS)
def test_any_broken_file_of_a_run(name, tmp_path):
    # Films are played as far as they can be.
    ends(*RUNS[name](tmp_path), 40, least=0.02 if name.startswith('film') else 0.1)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', RUNS)
def test_many_broken_files_of_a_run(name, tmp_path):
    ends(*RUNS[name](tmp_path), 2000, least=0.02)


def test_graphs_that_are_cut_off(tmp_path):
    """Only so: HDF5 itself ends the process on some files with other faults (SECURITY.md)."""
    path, use = nir_graph(tmp_path)
    content = path.read_bytes()
    use()
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r'n\.nir is no NIR graph'):
            use()


def test_any_description_of_a_detector(tmp_path):
    path, use = detector(folders.ABOUT)(tmp_path)
    said = json.loads(path.read_text(encoding='utf-8'))
    with soon(60):
        for tree in trees(said, 25):
            path.write_text(json.dumps(tree))
            try:
                use()
            except WeightsError:
                continue


def metadata(path, facts):
    """Put other metadata into a network that snnkern wrote."""
    from safetensors.torch import load_file, save_file

    save_file(load_file(path), path, metadata={'snnkern': json.dumps(facts)})


def test_any_metadata_of_a_run(tmp_path):
    path, use = RUNS['weights of a run'](tmp_path)
    said = read_metadata(path)
    with soon(60):
        for tree in trees(said, 100):
            metadata(path, tree)
            try:
                use()
            except WeightsError as error:
                assert str(error).count(str(path)) == 1  # noqa: PT017


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('direct', []),
        ('direct', None),
        ('direct', {'model': 'tiny-yolo'}),
        ('task', None),
        ('task', 'x'),
        ('classes', 'ab'),
        ('classes', [1, 2]),
        ('shape', [64, 64]),
        ('shape', [3, 64, True]),
        ('mean', 'x'),
        ('std', [0.0]),
    ],
)
def test_wrong_metadata_of_a_run_are_named(tmp_path, key, value):
    path, _ = RUNS['weights of a run'](tmp_path)
    metadata(path, {**read_metadata(path), key: value})
    for read in (saved.load, networks.load):
        with pytest.raises(WeightsError, match=key) as raised:
            read(path)
        assert str(raised.value).count(str(path)) == 1


def test_a_run_of_a_network_that_no_memory_holds(tmp_path):
    path, _ = RUNS['weights of a run'](tmp_path)
    facts = read_metadata(path)
    facts['direct']['options']['width'] = 2**30
    metadata(path, facts)
    with pytest.raises(WeightsError, match='weights'):
        saved.load(path)


@pytest.mark.parametrize('facts', [{'classes': 'ab'}, {'classes': ['a']}, {'size': [64, None]}])
def test_wrong_metadata_of_a_converted_detector_are_named(tmp_path, facts):
    _, use = detector(folders.ABOUT)(tmp_path)
    path = tmp_path / 'converted' / folders.ANN_FILE
    use()
    metadata(path, {**read_metadata(path), **facts})
    with pytest.raises(WeightsError, match=r'ann\.safetensors'):
        networks.load(path)


def test_what_nests_without_end(tmp_path):
    """Parsers that call themselves give up before the stack does; the error is ours."""
    (tmp_path / 'c.toml').write_text('model = ' + '[' * DEEP)
    with pytest.raises(ValueError, match=r'c\.toml'):
        config.read(tmp_path / 'c.toml')
    (tmp_path / folders.ABOUT).write_text('[' * DEEP)
    with pytest.raises(WeightsError, match=folders.ABOUT):
        folders.load(tmp_path)
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train2017.json').write_text('[' * DEEP)
    with pytest.raises(DataError, match='holds no COCO annotations'):
        coco_boxes(tmp_path, size=(32, 32))
