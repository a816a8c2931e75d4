"""No archive takes more memory than it may, whatever sizes it gives itself."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from corrupt import yolo_folder, zipped

from snnkern import _archives
from snnkern._archives import archive
from snnkern.data import DataError, mnist
from snnkern.data.segmentation import File
from snnkern.models import WeightsError
from snnkern.models.weights import read_weights

MANY = 1 << 25
LITTLE = 1 << 23


def bomb(path, name, method=zipfile.ZIP_DEFLATED, size=None):
    """A member of many zeros, which says that it is as large as `size`."""
    content = io.BytesIO()
    np.save(content, np.zeros(MANY, np.uint8))
    with zipfile.ZipFile(path, 'w', method) as members:
        members.writestr(name, content.getvalue())
    if size is not None:
        packed = bytearray(path.read_bytes())
        struct.pack_into('<I', packed, packed.rindex(b'PK\x01\x02') + 24, size)
        path.write_bytes(packed)
    return path


def peak(use):
    """Bytes that Python had at most while it ran, and what it raised."""
    tracemalloc.start()
    try:
        with pytest.raises((DataError, WeightsError, zipfile.BadZipFile)) as raised:
            use()
        return tracemalloc.get_traced_memory()[1], str(raised.value)
    finally:
        tracemalloc.stop()


def test_archives_that_unpack_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(_archives, 'SMALL', MANY)
    bomb(tmp_path / 'b.zip', 'w.pt')
    with pytest.raises(WeightsError, match=r'unpacks to more than allowed, from .* to 33,554,560 bytes: store it'):
        read_weights(tmp_path / 'b.zip')
    bomb(tmp_path / 'b.npz', 'x_train.npy')
    with pytest.raises(DataError, match=r'b\.npz .*unpacks to more than allowed'):
        mnist(tmp_path / 'b.npz')


@pytest.mark.parametrize('method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_lie_about_their_sizes(tmp_path, method):
    weights = bomb(tmp_path / 'b.zip', 'w.pt', method, 100)
    arrays = bomb(tmp_path / 'b.npz', 'x_train.npy', method, 100)
    for use in (lambda: read_weights(weights), File(weights, 'w.pt').read, lambda: mnist(arrays)):
        most, said = peak(use)
        assert most < LITTLE
        assert method == zipfile.ZIP_DEFLATED or 'is neither stored nor deflated' in said


def test_archives_of_zeros_are_read(tmp_path):
    """Their ratio is that of a bomb, their size is not."""
    x, y = np.zeros((2000, 28, 28), np.uint8), np.zeros(2000, np.uint8)
    np.savez_compressed(tmp_path / 'm.npz', x_train=x, y_train=y, x_test=x, y_test=y)
    assert (tmp_path / 'm.npz').stat().st_size * _archives.RATIO < x.nbytes
    assert len(mnist(tmp_path / 'm.npz').x_train) == 2000


def test_encrypted_archives(tmp_path):
    content = bytearray(zipped(tmp_path / 'e.zip', yolo_folder(tmp_path / 'y')).read_bytes())
    content[content.rindex(b'PK\x01\x02') + 8] |= 1
    (tmp_path / 'e.zip').write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match='encrypted'):
        archive(tmp_path / 'e.zip')


def test_a_checkpoint_is_an_archive_too(tmp_path, monkeypatch):
    torch.save({'a': torch.zeros(100)}, tmp_path / 'w.pt')
    with (
        zipfile.ZipFile(tmp_path / 'w.pt') as given,
        zipfile.ZipFile(tmp_path / 'b.pt', 'w', zipfile.ZIP_DEFLATED) as members,
    ):
        for name in given.namelist():
            members.writestr(name, given.read(name) + bytes(1 << 16))
    monkeypatch.setattr(_archives, 'SMALL', 1 << 10)
    with pytest.raises(WeightsError, match='unpacks to more than allowed'):
        read_weights(tmp_path / 'b.pt')
