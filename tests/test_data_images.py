"""Loaders of pictures: their files as they are published, tiny ones made here, and their errors."""

import builtins
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnkern.data import DataError, cifar10, dataset, imagefolder, lucchi, mnist

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, 'png')
    return file.getvalue()


@needs_shared
def test_published_mnist():
    digits = mnist(SHARED)
    assert digits.x_train.shape == (60000, 28, 28)
    assert digits.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    images = dataset(f'mnist:{SHARED / "mnist.npz"}')
    assert images.x_test.shape == (10000, 1, 32, 32)
    assert images.x_test[:, :, :2].max() == 0
    np.testing.assert_array_equal(images.x_test[:9, 0, 2:-2, 2:-2], digits.x_test[:9])


@needs_shared
def test_published_cifar():
    data = dataset(f'cifar10:{SHARED}')
    assert data.x_train.shape == (20000, 3, 32, 32)
    assert data.y_train[:10000].bincount().tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert [data.classes[i] for i in data.y_test[:5]] == ['cat', 'ship', 'ship', 'airplane', 'frog']
    assert data.source == 'CIFAR-10 (lossless mosaics), 20,000 / 1,000'
    # Means of the 50,000 are .491 .482 .447: rows, columns and channels are where they belong.
    torch.testing.assert_close(
        data.x_train.float().mean((0, 2, 3)) / 255, torch.tensor([0.491, 0.482, 0.447]), atol=0.01, rtol=0
    )


@needs_shared
def test_published_lucchi():
    data = dataset(f'lucchi:{SHARED}')
    assert data.x_train.shape == data.y_test.shape == (21, 1, 768, 1024)
    assert data.y_train.unique().tolist() == [0, 1]
    assert round(100 * float(data.y_train.float().mean()), 1) == 7.1
    assert round(100 * float(data.y_test.float().mean()), 1) == 6.7


def test_normalise_and_loader():
    data = dataset('mnist')._replace(mean=(0.5,), std=(0.25,))
    batches = data.loader('test', batch=64, count=130)
    for _ in range(2):
        sizes = [len(y) for _, y in batches]
        assert sizes == [64, 64, 2]
    assert len(batches) == 3
    x, y = next(iter(batches))
    torch.testing.assert_close(x, (data.x_test[:64].float() / 255 - 0.5) / 0.25)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, data.y_test[:64])
    with pytest.raises(ValueError, match=r"split: expected 'train' or 'test', got 'val'"):
        data.loader('val')
    with pytest.raises(ValueError, match='batch: expected at least 1, got 0'):
        data.loader(batch=0)


def test_archive_of_digits_that_is_broken(tmp_path):
    (tmp_path / 'mnist.npz').write_bytes(b'no archive')
    with pytest.raises(DataError, match=r'mnist\.npz is broken or no MNIST archive'):
        mnist(tmp_path)
    with pytest.raises(DataError, match=r'gone\.npz'):
        mnist(tmp_path / 'gone.npz')


def mosaic(path, count, labels=None):
    tiles = pixels(count, 1000, 32, 32, 3)
    with zipfile.ZipFile(path, 'w') as archive:
        for i, part in enumerate(tiles):
            picture = part.reshape(25, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(800, 1280, 3)
            archive.writestr(f'images_{i}.png', png(picture))
        file = io.BytesIO()
        np.save(file, np.arange(count * 1000, dtype=np.uint8) % 10 if labels is None else labels)
        archive.writestr('labels.npy', file.getvalue())
    return tiles.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def test_mosaics_keep_their_order(tmp_path):
    first, second = (mosaic(tmp_path / f'cifar10_data_batch_{i}.zip', 11 if i == 1 else 1) for i in (1, 2))
    test = mosaic(tmp_path / 'cifar10_test_some.zip', 1)
    data = cifar10(tmp_path)
    np.testing.assert_array_equal(data.x_train[:11000], first)  # image_10 comes after image_9
    np.testing.assert_array_equal(data.x_train[11000:], second)
    np.testing.assert_array_equal(data.x_test, test)
    assert data.y_test[:12].tolist() == [*range(10), 0, 1]


def test_broken_mosaics(tmp_path):
    mosaic(tmp_path / 'cifar10_data_batch_1.zip', 1)
    mosaic(tmp_path / 'cifar10_test_a.zip', 1, labels=np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r'test_a\.zip holds no CIFAR-10 images: 1000 images, labels uint8 \(3,\)'):
        cifar10(tmp_path)
    (tmp_path / 'cifar10_test_a.zip').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'test_a\.zip is broken or no CIFAR-10 mosaic'):
        cifar10(tmp_path)


def test_torchvision_folder(tmp_path, monkeypatch):
    pytest.importorskip('torchvision')
    # The folder is made here, so its hashes cannot be the published ones.
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda path, md5=None: True)
    root = tmp_path / 'cifar-10-batches-py'
    root.mkdir()
    parts = {}
    for name in [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']:
        parts[name] = pixels(4, 3, 32, 32)
        entry = {'data': parts[name].reshape(4, -1), 'labels': [1, 2, 3, 9]}
        (root / name).write_bytes(pickle.dumps(entry))
    (root / 'batches.meta').write_bytes(pickle.dumps({'label_names': list('abcdefghij')}))
    for folder in (tmp_path, root):
        data = cifar10(folder)
        np.testing.assert_array_equal(data.x_train[4:8], parts['data_batch_2'])
        np.testing.assert_array_equal(data.x_test, parts['test_batch'])
        assert data.y_test.tolist() == [1, 2, 3, 9]


def test_no_cifar(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r'no CIFAR-10 in .*gone: there is no such file or folder'):
        cifar10(tmp_path / 'gone')
    pytest.importorskip('torchvision')
    with pytest.raises(DataError, match=r"expected torchvision's cifar-10-batches-py or mosaics cifar10_data_batch"):
        cifar10(tmp_path)
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith('torchvision'):
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    for load in (cifar10, imagefolder):
        with pytest.raises(DataError, match=r'snnkern\[vision\]'):
            load(tmp_path)


def volume(path, slices):
    pages = [Image.fromarray(page) for page in slices]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def masks(count, height, width):
    return (pixels(count, height, width) > 200).astype(np.uint8) * 255


def test_tiff_volumes(tmp_path):
    images, truths = pixels(3, 16, 24), masks(3, 16, 24)
    for split, count in (('training', 3), ('testing', 2)):
        volume(tmp_path / f'{split}.tif', images[:count])
        volume(tmp_path / f'{split}_groundtruth.tif', truths[:count])
    data = lucchi(tmp_path)
    np.testing.assert_array_equal(data.x_train[:, 0], images)
    np.testing.assert_array_equal(data.y_test[:, 0], truths[:2] // 255)
    assert data.classes == ('mitochondria',)
    volume(tmp_path / 'testing_groundtruth.tif', truths)
    with pytest.raises(DataError, match='test: 2 images and 3 masks'):
        lucchi(tmp_path)
    (tmp_path / 'testing.tif').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'no Lucchi slices in .*, test \(cannot identify'):
        lucchi(tmp_path)


def slices(root, split, count):
    images, truths = pixels(count, 16, 24), masks(count, 16, 24)
    (root / split).mkdir(parents=True)
    for i in range(count):
        (root / split / f'image_{8 * i:03}.png').write_bytes(png(images[i]))
        (root / split / f'mask_{8 * i:03}.png').write_bytes(png(truths[i]))
    return images, truths


def test_png_slices_in_a_folder_or_an_archive(tmp_path):
    folder = tmp_path / 'slices'
    images, truths = slices(folder, 'train', 3)
    slices(folder, 'test', 2)
    archive = tmp_path / 'lucchi_some.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(folder.rglob('*.png')):
            file.write(path, path.relative_to(folder))
    for root in (folder, archive, tmp_path):
        data = dataset(f'lucchi:{root}')
        np.testing.assert_array_equal(data.x_train[:, 0], images)
        np.testing.assert_array_equal(data.y_train[:, 0], truths // 255)
        assert data.x_test.shape == (2, 1, 16, 24)
    (folder / 'test' / 'mask_008.png').write_bytes(png(pixels(16, 24)))
    with pytest.raises(DataError, match='a mask is 0 and one other value'):
        lucchi(folder)
    (folder / 'test' / 'mask_008.png').unlink()
    with pytest.raises(DataError, match=r'no Lucchi slices in .*mask_008\.png'):
        lucchi(folder)


def test_no_lucchi(tmp_path):
    with pytest.raises(DataError, match=r'expected train/image_III\.png or training\.tif'):
        lucchi(tmp_path)
    (tmp_path / 'lucchi.zip').write_bytes(b'nothing')
    with pytest.raises(DataError, match='no Lucchi slices'):
        lucchi(tmp_path)
    (tmp_path / 'lucchi2.zip').write_bytes(b'nothing')
    with pytest.raises(DataError, match='2 archives, name the one to read'):
        lucchi(tmp_path)


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(array))


def test_folders_of_pictures_are_read_when_asked_for(tmp_path):
    pytest.importorskip('torchvision')
    square = pixels(16, 16, 3)
    for split, count in (('train', 3), ('val', 1)):
        for label in ('cat', 'dog'):
            for i in range(count):
                picture(tmp_path / split / label / f'{i}.png', square if i == 0 else pixels(20, 30, 3))
    data = dataset(f'imagefolder:{tmp_path}', 16)
    assert data.classes == ('cat', 'dog')
    assert data.x_train.shape == (6, 3, 16, 16)
    assert data.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.x_test[1:][0], square.transpose(2, 0, 1))
    chosen = data.x_train[torch.tensor([3, 1])]
    assert chosen.dtype == torch.uint8
    assert torch.equal(chosen[0], data.x_train[:4][3])
    assert [len(x) for x, _ in data.loader('train', 4)] == [4, 2]
    (tmp_path / 'val' / 'dog' / '0.png').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'0\.png is broken or no picture'):
        data.x_test[:2]
    picture(tmp_path / 'val' / 'emu' / '0.png', square)
    with pytest.raises(DataError, match=r"train has the classes .*'dog'.*, val has .*'emu'"):
        imagefolder(tmp_path)
    with pytest.raises(DataError, match='no pictures in'):
        imagefolder(tmp_path / 'train')


@pytest.mark.parametrize('spec', ['', 'cifar10', 'lucchi:', 'imagenet:/data'])
def test_unknown_sets_are_named(spec):
    with pytest.raises(DataError, match=f"no data set '{spec}', expected one of mnist, mnist:DIR, cifar10:DIR"):
        dataset(spec)
