"""Data sets of events: frames as tonic makes them, tonic's folders, the shipped recordings, and errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_event_files import words

from snnkern.data import event_files
from snnkern.data.common import DataError
from snnkern.data.event_files import event_array, read_events
from snnkern.data.event_sets import cifar10_dvs, dvs_gesture
from snnkern.data.events import EventSplit, Framing, OnDemand, Packed, denoised, frames, recording
from snnkern.data.nmnist import SHIPPED, nmnist

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
SENSOR = (34, 34)


def shipped(n):
    """Events of the n-th recording to train that comes with the package."""
    with np.load(SHIPPED) as file:
        part = slice(*file['train_offsets'][n : n + 2])
        return event_array(*(file[f'train_{key}'][part] for key in 'xytp'))


def random_events(seed, n=200, side=34, span=300_000):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span, n))
    return event_array(rng.integers(0, side, n), rng.integers(0, side, n), t, rng.integers(0, 2, n))


def test_shipped_recordings():
    found = nmnist(None, T=5)
    assert (len(found.train), len(found.test), found.shape) == (10, 10, (5, 2, 34, 34))
    for split in (found.train, found.test):
        x, y = split.batch(range(10))
        assert y.tolist() == list(range(10))
        assert x.shape == (10, 5, 2, 34, 34)
        assert x.dtype == torch.float32
        assert 2500 < x.sum() / 10 < 7000
    assert found.mean == ()
    assert '10 / 10' in found.source
    assert SHIPPED.stat().st_size < 300 * 1024
    notice = SHIPPED.with_name('NOTICE').read_text()
    assert all(word in notice for word in ('nmnist_20.npz', 'Orchard', 'ShareAlike 4.0'))


@pytest.mark.parametrize('T', [1, 8, 13])
def test_frames_are_those_of_tonic(T):
    tonic = pytest.importorskip('tonic')
    events = [shipped(0), random_events(0), shipped(7), random_events(1, n=3)]
    made = frames([recording(e, SENSOR) for e in events], T, SENSOR)
    reference = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=T)
    for one, e in zip(made, events, strict=True):
        np.testing.assert_array_equal(one, reference(e))


def test_frames_of_a_fixed_time_are_those_of_tonic():
    tonic = pytest.importorskip('tonic')
    events = shipped(3)
    reference = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), time_window=10_000, include_incomplete=True)(events)
    made = frames([recording(events, SENSOR)], 40, SENSOR, time_window=10_000)[0]
    assert 25 < len(reference) < 40
    np.testing.assert_array_equal(made[: len(reference)], reference)
    assert made[len(reference) :].sum() == 0
    few = EventSplit(Packed.of([recording(events, SENSOR)]), torch.zeros(1), SENSOR, Framing(4, time_window=10_000))
    assert torch.equal(few.batch([0])[0][0], made[:4])


@pytest.mark.parametrize('time', [1_000, 10_000])
def test_denoising_keeps_what_tonic_keeps(time):
    tonic = pytest.importorskip('tonic')
    for events in (shipped(1), random_events(2, n=400)):
        kept = denoised(events, time)
        assert 0 < len(kept) < len(events)
        np.testing.assert_array_equal(kept, tonic.transforms.Denoise(time)(events))


def test_packed_recordings_are_those_read_on_demand():
    events = [random_events(seed, n=50 + seed, side=300) for seed in range(4)]  # too many cells for 16 bits
    made = [recording(e, (300, 300)) for e in events]
    lazy = OnDemand(events, lambda e: recording(e, (300, 300)))
    splits = [EventSplit(r, torch.arange(4), (300, 300), Framing(3, size=40)) for r in (Packed.of(made), lazy)]
    (a, labels), (b, _) = (split.batch([3, 1]) for split in splits)
    assert torch.equal(a, b)
    assert labels.tolist() == [3, 1]
    assert a.shape == (2, 3, 2, 40, 40)


def test_events_out_of_order_are_sorted():
    events = random_events(3)
    mixed = events[np.random.default_rng(0).permutation(len(events))]
    expected = frames([recording(events, SENSOR)], 4, SENSOR)
    assert torch.equal(frames([recording(mixed, SENSOR)], 4, SENSOR), expected)


def test_augmentation_depends_on_seed_and_sample_only():
    split = nmnist(None, T=4, shift=3).train
    plain = split.batch(range(10))[0]
    moved = split.batch(range(10), seed=5)[0]
    assert torch.equal(split.batch([7, 2], seed=5)[0], moved[[7, 2]])
    assert not torch.equal(split.batch(range(10), seed=6)[0], moved)
    assert not torch.equal(plain, moved)
    for before, after in zip(plain, moved, strict=True):
        shifts = [(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4)]
        inner = after[..., 3:-3, 3:-3]
        rolled = [before.roll(by, (-2, -1))[..., 3:-3, 3:-3] for by in shifts]
        assert sum(torch.equal(inner, r) for r in rolled) == 1
        assert after.sum() <= before.sum()
    both = EventSplit(split.recordings, split.labels, SENSOR, Framing(4, flip=True)).batch(range(10), seed=0)[0]
    flipped = [torch.equal(after, before.flip(-1)) for before, after in zip(plain, both, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(plain, both, strict=True)]
    assert 0 < sum(flipped) < 10
    assert sum(flipped) + sum(kept) == 10


@needs_shared
def test_archive():
    found = nmnist(SHARED, T=8, size=28)
    assert (len(found.train), len(found.test), found.shape) == (1000, 100, (8, 2, 28, 28))
    assert nmnist(SHARED / 'nmnist_small.npz', T=8).shape == (8, 2, 34, 34)
    with np.load(SHARED / 'mnist.npz') as mnist:
        assert torch.equal(found.train.labels, torch.from_numpy(mnist['y_train'][:1000]).long())
    own = nmnist(None, T=8, size=28)
    with np.load(SHIPPED) as file:
        numbers = file['test_ids'] - 60_001
    assert torch.equal(found.test.batch(numbers)[0], own.test.batch(range(10))[0])


def test_tonic_folder_of_nmnist(tmp_path, monkeypatch):
    tonic = pytest.importorskip('tonic')
    for n in range(6):
        folder = tmp_path / 'NMNIST' / ('Train' if n < 4 else 'Test') / str(9 - n)
        folder.mkdir(parents=True)
        (folder / f'{n:05d}.bin').write_bytes(words(random_events(n), '.bin'))
    monkeypatch.setattr(tonic.datasets.NMNIST, '_check_exists', lambda self: True)
    transform = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=3)
    for root in (tmp_path, tmp_path / 'NMNIST'):
        found = nmnist(root, T=3)
        for split, train in ((found.train, True), (found.test, False)):
            reference = tonic.datasets.NMNIST(str(tmp_path), train=train, transform=transform)
            x, y = split.batch(range(len(split)))
            assert y.tolist() == reference.targets
            np.testing.assert_array_equal(x, np.stack([frame for frame, _ in reference]))


def test_tonic_folder_of_cifar10_dvs(tmp_path, monkeypatch):
    tonic = pytest.importorskip('tonic')
    monkeypatch.setitem(event_files.READERS, '.aedat4', lambda path: random_events(int(path.read_text()), side=128))
    for label, name in enumerate(tonic.datasets.CIFAR10DVS.classes):
        folder = tmp_path / 'CIFAR10DVS' / name
        folder.mkdir(parents=True)
        for n in range(20):
            (folder / f'cifar10_{name}_{n}.aedat4').write_text(str(100 * label + n))
    found = cifar10_dvs(tmp_path, T=2, size=None)
    assert (len(found.train), len(found.test), found.shape) == (180, 20, (2, 2, 128, 128))
    assert found.classes == tuple(tonic.datasets.CIFAR10DVS.classes)
    x, y = found.test.batch(range(20))
    assert y.tolist() == [label for label in range(10) for _ in range(2)]
    last = recording(random_events(919, side=128), (128, 128))  # truck 19, behind 9 and 18
    assert torch.equal(x[19], frames([last], 2, (128, 128))[0])
    packed = cifar10_dvs(tmp_path / 'CIFAR10DVS', T=2, memory=True, denoise=100_000)
    assert packed.train.batch([5, 0])[0].shape == (2, 2, 2, 48, 48)
    for file in (tmp_path / 'CIFAR10DVS' / 'truck').iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r'no CIFAR10-DVS in .*found 0 in truck; tonic\.datasets\.CIFAR10DVS'):
        cifar10_dvs(tmp_path)


def test_tonic_folder_of_dvs_gesture(tmp_path, monkeypatch):
    tonic = pytest.importorskip('tonic')
    for part, user in (('Train', 'user01_led'), ('Train', 'user02_lab'), ('Test', 'user24_led')):
        folder = tmp_path / 'DVSGesture' / f'ibmGesture{part}' / user
        folder.mkdir(parents=True)
        for label in (0, 2, 10):
            e = random_events(label + len(part), side=128, span=5000)
            np.save(folder / f'{label}.npy', np.stack([e[key].astype(np.int64) for key in 'xypt'], 1))
    monkeypatch.setattr(tonic.datasets.DVSGesture, '_check_exists', lambda self: True)
    transform = tonic.transforms.ToFrame(sensor_size=(128, 128, 2), n_time_bins=4)
    reference = tonic.datasets.DVSGesture(str(tmp_path), train=False, transform=transform)
    by_label = {label: frame for frame, label in reference}
    found = dvs_gesture(tmp_path, T=4)
    assert (len(found.train), len(found.test), len(found.classes)) == (6, 3, 11)
    x, y = found.test.batch([0, 1, 2])
    assert y.tolist() == [0, 2, 10]
    np.testing.assert_array_equal(x, np.stack([by_label[label] for label in y.tolist()]))
    np.save(folder / '11.npy', np.zeros((5, 4), int))
    with pytest.raises(DataError, match=r'11\.npy has the label 11, expected 0 to 10'):
        dvs_gesture(tmp_path)
    (folder / '11.npy').rename(folder / '3.npy')
    (folder / '3.npy').write_bytes(b'\x93NUMPY')
    with pytest.raises(DataError, match=r'3\.npy is broken'):
        dvs_gesture(tmp_path).test.batch([2])
    with pytest.raises(DataError, match=r'3\.npy is broken'):
        dvs_gesture(tmp_path, memory=True)
    with pytest.raises(DataError, match=r'expected ibmGestureTrain/user\*/K\.npy.*tonic\.datasets\.DVSGesture'):
        dvs_gesture(tmp_path / 'DVSGesture' / 'ibmGestureTest')


def test_missing_and_broken_nmnist(tmp_path):
    with pytest.raises(DataError, match=r'no N-MNIST in .*gone: there is no such'):
        nmnist(tmp_path / 'gone')
    with pytest.raises(DataError, match=r'expected nmnist_small\.npz, or NMNIST/Train/0.*tonic\.datasets\.NMNIST\('):
        nmnist(tmp_path)
    path = tmp_path / 'nmnist_small.npz'
    with np.load(SHIPPED) as file:
        arrays = dict(file)
    bad = {
        'test_offsets': arrays['test_offsets'][:-1],
        'train_labels': arrays['train_labels'] + 1,
        'train_p': arrays['train_p'] + 1,
        'train_x': arrays['train_x'] + 2,
        'test_t': arrays['test_t'][:-5],
    }
    for key, value in bad.items():
        np.savez(path, **(arrays | {key: value}))
        with pytest.raises(DataError, match=r'nmnist_small\.npz is broken or no N-MNIST archive'):
            nmnist(tmp_path)
    path.write_bytes(SHIPPED.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r'nmnist_small\.npz is broken'):
        nmnist(path)


def test_a_recording_of_a_larger_sensor_is_named(tmp_path):
    pytest.importorskip('tonic')
    for part in ('Train', 'Test'):
        (tmp_path / part / '3').mkdir(parents=True)
        (tmp_path / part / '3' / '00001.bin').write_bytes(words(random_events(0, side=50), '.bin'))
    assert read_events(tmp_path / 'Train' / '3' / '00001.bin')['x'].max() > 34
    with pytest.raises(
        DataError, match=r'00001\.bin is broken or of another data set \(it has events outside of the 34'
    ):
        nmnist(tmp_path)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'T': 0}, 'T must be >= 1'),
        ({'size': 2.5}, 'size must be an integer'),
        ({'time_window': 0}, 'time_window must be >= 1'),
        ({'shift': -1}, 'shift must be >= 0'),
        ({'denoise': -1}, 'denoise must be >= 0'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        nmnist(None, **options)
    with pytest.raises(TypeError, match='flip must be True or False'):
        Framing(flip=1)
