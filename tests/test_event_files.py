"""Files of event cameras: recordings as they are published, small ones written here, and broken ones."""

import builtins
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from snnkern.data.common import DataError
from snnkern.data.event_files import EVENT, READERS, event_array, read_events

SAMPLES = Path(__file__).parents[2] / 'shared' / 'data' / 'event_samples.zip'
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason='no ../shared/data')
PACKAGES = {'.aedat4': 'aedat', '.dat': 'expelliarmus', '.raw': 'expelliarmus', '.bin': 'tonic', '.mat': 'scipy'}
# Of each recording: the number of its events, the first one and the last one (x, y, t, p).
KNOWN = {
    'tonic/sample.aedat4': (111_954, (154, 204, 1_605_537_493_718_345, 0), (88, 237, 1_605_537_494_308_262, 1)),
    'tonic/sample_ncars.dat': (2_009, (25, 8, 0, 0), (75, 28, 99_952, 1)),
    'tonic/sample_nmnist.bin': (4_325, (7, 15, 654, 1), (21, 14, 311_175, 1)),
    'tonic/sample_stmnist.mat': (2_346, (5, 4, 196_626, 0), (6, 4, 895_744, 1)),
    'expelliarmus/evt2_sample.raw': (539_481, (237, 121, 1_317_888, 1), (210, 142, 1_367_888, 1)),
    'expelliarmus/evt3_sample.raw': (219_596, (874, 200, 11_718_656, 0), (1218, 572, 11_772_513, 1)),
}
SENSORS = {
    'tonic/sample.aedat4': (320, 240),
    'tonic/sample_ncars.dat': (120, 100),
    'tonic/sample_nmnist.bin': (34, 34),
    'tonic/sample_stmnist.mat': (10, 10),
    'expelliarmus/evt2_sample.raw': (640, 480),
    'expelliarmus/evt3_sample.raw': (1280, 720),
}
SOME = event_array([3, 0, 9, 7], [1, 9, 0, 7], [5, 700, 70_000, 70_001], [1, 0, 1, 1])


def member(name):
    with zipfile.ZipFile(SAMPLES) as archive:
        return archive.read(name)


def needs(suffix):
    pytest.importorskip(PACKAGES[suffix])


def words(events, suffix):
    """A file of these events in one of the formats that are a few lines to write."""
    x, y, t, p = (events[name].astype(np.int64) for name in 'xytp')
    if suffix == '.bin':
        columns = x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255
        return np.stack(columns, 1).astype(np.uint8).tobytes()
    if suffix == '.dat':
        rows = np.stack([t, x | y << 14 | p << 28], 1).astype('<u4')
        return b'% Data file of CD events.\n% Version 2\n\x0c\x08' + rows.tobytes()
    if suffix == '.mat':
        from scipy.io import savemat

        train = np.zeros((101, len(events)))
        train[y * 10 + x, np.arange(len(events))] = 2 * p - 1
        train[100] = t / 1e6 + 1e-9
        savemat(file := io.BytesIO(), {'spiketrain': train})
        return file.getvalue()
    high = 8 << 28 | t >> 6  # EVT 2.0: the upper bits of the time in a word of their own
    rows = np.stack([high, p << 28 | (t & 63) << 22 | x << 11 | y], 1).astype('<u4')
    return b'% evt 2.0\n% integrator_name test\n' + rows.tobytes()


@needs_samples
@pytest.mark.parametrize('name', KNOWN)
def test_published_recordings_open(tmp_path, name):
    needs(Path(name).suffix)
    path = tmp_path / Path(name).name
    path.write_bytes(member(name))
    events = read_events(path)
    assert events.dtype == EVENT
    assert (len(events), tuple(events[0]), tuple(events[-1])) == KNOWN[name]
    assert (np.diff(events['t']) >= 0).all()
    width, height = SENSORS[name]
    assert events['x'].max() < width
    assert events['y'].max() < height
    assert set(np.unique(events['p'])) == {0, 1}


@needs_samples
def test_evt3_equals_its_decoded_events(tmp_path):
    needs('.raw')
    path = tmp_path / 'evt3.raw'
    path.write_bytes(member('expelliarmus/evt3_sample.raw'))
    expected = np.load(io.BytesIO(member('expelliarmus/evt3_sample_decoded.npz')))['events']
    events = read_events(str(path))
    for field in 'xytp':
        np.testing.assert_array_equal(events[field], expected[field])


@pytest.mark.parametrize('suffix', ['.bin', '.dat', '.raw', '.mat'])
def test_written_events_come_back(tmp_path, suffix):
    needs(suffix)
    path = tmp_path / f'some{suffix}'
    path.write_bytes(words(SOME, suffix))
    np.testing.assert_array_equal(read_events(path), SOME)


@pytest.mark.parametrize('suffix', ['.bin', '.dat', '.raw', '.mat', '.aedat4'])
@pytest.mark.parametrize('broken', ['empty', 'noise', 'half'])
def test_broken_files_are_named(tmp_path, suffix, broken):
    needs(suffix)
    path = tmp_path / f'broken{suffix}'
    if broken == 'noise':
        path.write_bytes(b'\x07' + np.random.default_rng(0).bytes(1001))
    else:
        content = b'#!AER-DAT4.0\r\n' + bytes(50) if suffix == '.aedat4' else words(SOME, suffix)
        path.write_bytes(content[: len(content) - 3] if broken == 'half' else b'')
    with pytest.raises(DataError, match=rf'broken\{suffix} is broken or no \{suffix} recording \('):
        read_events(path)


def test_a_long_time_in_nmnist_files(tmp_path):
    """Of longer recordings an event at y = 240 says that 8,192 microseconds are to be added from here on."""
    needs('.bin')
    path = tmp_path / 'long.bin'
    path.write_bytes(words(event_array([1, 0, 2], [1, 240, 2], [10, 0, 20], [1, 0, 0]), '.bin'))
    assert read_events(path).tolist() == [(1, 1, 10, 1), (2, 2, 20 + 8192, 0)]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r'photo\.png is of no known event format, expected one of \.aedat4, \.dat'):
        read_events(tmp_path / 'photo.png')
    with pytest.raises(DataError, match=r'no event file .*gone\.raw'):
        read_events(tmp_path / 'gone.raw')
    path = tmp_path / 'new.raw'
    path.write_bytes(b'% evt 2.1\n' + bytes(16))
    with pytest.raises(DataError, match=r'new\.raw is broken .*expected EVT 2.0 or 3.0 in its header, got evt 2.1'):
        read_events(path)
    path.write_bytes(b'% Date 2020-09-25\n' + bytes(16))
    with pytest.raises(DataError, match='got neither'):
        read_events(path)


def test_headers_of_newer_recorders(tmp_path):
    needs('.raw')
    path = tmp_path / 'new.raw'
    body = words(SOME, '.raw').split(b'test\n')[1]
    path.write_bytes(b'% camera_integrator_name Prophesee\n% format EVT2;height=720;width=1280\n% end\n' + body)
    np.testing.assert_array_equal(read_events(path), SOME)


@pytest.mark.parametrize('suffix', sorted(READERS.keys() - {'.mat'}))
def test_missing_packages_are_named(tmp_path, monkeypatch, suffix):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split('.')[0] == PACKAGES[suffix]:
            raise ImportError(name=name)
        return plain(name, *args, **kwargs)

    path = tmp_path / f'some{suffix}'
    path.write_bytes(b'' if suffix == '.aedat4' else words(SOME, suffix))
    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(DataError, match=rf'needs the package {PACKAGES[suffix]}.*snnkern\[events\]'):
        read_events(path)
