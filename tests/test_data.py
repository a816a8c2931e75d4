"""The digits that come with the package, and the errors of the loader."""

import builtins

import numpy as np
import pytest

from snnkern import data
from snnkern.data import digits as shipped


def test_shipped_digits_are_whole_and_disjoint():
    digits = data.mnist()
    assert digits.x_train.shape == (8000, 28, 28)
    assert digits.x_test.shape == (2000, 28, 28)
    assert digits.y_train.shape == (8000,)
    assert digits.y_test.shape == (2000,)
    counts = np.bincount(np.concatenate([digits.y_train, digits.y_test]))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # MNIST's test set
    train = {image.tobytes() for image in digits.x_train}
    assert len(train) == 8000
    assert not any(image.tobytes() in train for image in digits.x_test)


def test_shipped_file_is_small_and_its_licence_stands_beside_it():
    assert shipped.SHIPPED.stat().st_size <= 2_000_000
    notice = shipped.SHIPPED.with_name('NOTICE').read_text()
    for word in ('LeCun', 'Cortes', 'rasbt/mnist-pngs', 'ShareAlike 3.0', shipped.SHIPPED.name):
        assert word in notice


def test_missing_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, 'SHIPPED', tmp_path / 'gone.npz')
    with pytest.raises(data.DataError, match=r'digits are missing: no file .*gone\.npz'):
        data.mnist()


@pytest.mark.parametrize('content', [b'', b'no archive', None], ids=['empty', 'text', 'half'])
def test_broken_file_is_one_sentence(tmp_path, monkeypatch, content):
    path = tmp_path / 'broken.npz'
    path.write_bytes(shipped.SHIPPED.read_bytes()[:800_000] if content is None else content)
    monkeypatch.setattr(shipped, 'SHIPPED', path)
    with pytest.raises(data.DataError, match='digits are broken'):
        data.mnist()


def test_wrong_content_is_refused(tmp_path, monkeypatch):
    path = tmp_path / 'other.npz'
    pixels, labels = np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.uint8)
    np.savez(path, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    monkeypatch.setattr(shipped, 'SHIPPED', path)
    with pytest.raises(data.DataError, match='holds no MNIST digits'):
        data.mnist()


def test_damaged_pixels_are_noticed(tmp_path, monkeypatch):
    blob = bytearray(shipped.SHIPPED.read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    path = tmp_path / 'flipped.npz'
    path.write_bytes(blob)
    monkeypatch.setattr(shipped, 'SHIPPED', path)
    with pytest.raises(data.DataError, match='digits are broken'):
        data.mnist()


def test_missing_torchvision_names_the_extra(tmp_path, monkeypatch):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith('torchvision'):
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(data.DataError, match=r'snnkern\[vision\]'):
        data.mnist(tmp_path)


def test_torchvision_folder(tmp_path):
    pytest.importorskip('torchvision')
    with pytest.raises(data.DataError, match='--download fetches it'):
        data.mnist(tmp_path)
    raw = tmp_path / 'MNIST' / 'raw'
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (('train', 6), ('t10k', 4)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        _idx(raw / f'{part}-images-idx3-ubyte', pixels)
        _idx(raw / f'{part}-labels-idx1-ubyte', labels)
    digits = data.mnist(tmp_path)
    assert digits.x_train.shape == (6, 28, 28)
    np.testing.assert_array_equal(digits.x_test, pixels)
    np.testing.assert_array_equal(digits.y_test, labels)


def _idx(path, array):
    """Write MNIST's own file format."""
    sizes = np.array(array.shape, '>i4').tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def test_fashion_mnist_is_read_as_digits_are(tmp_path):
    """An archive with MNIST's arrays; a folder without it is an error that says what to fetch."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (6, 28, 28), np.uint8), np.arange(6, dtype=np.uint8)
    np.savez(tmp_path / 'fashion.npz', x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    found = data.samples(f'fashion-mnist:{tmp_path}/fashion.npz')
    assert found.classes[5] == 'sandal'
    assert np.array_equal((255 * found.train.batch([3])[0][0, 0]).round().numpy(), x[3])
    with pytest.raises(data.DataError, match=r'no full FashionMNIST in .*; torchvision.datasets.FashionMNIST'):
        data.samples(f'fashion-mnist:{tmp_path}')


def test_noise_is_in_test_images_only_and_always_the_same():
    clean, noisy = data.samples('mnist'), data.samples('mnist', noise=6)
    assert (clean.train.batch([4])[0] == noisy.train.batch([4])[0]).all()
    one, again = noisy.test.batch([4])[0], noisy.test.batch([9, 4])[0][1:]
    assert (one == again).all()
    assert (one - clean.test.batch([4])[0]).std() > 0.1
    with pytest.raises(ValueError, match='noise: expected a number >= 0, got -1'):
        data.samples('mnist', noise=-1)
