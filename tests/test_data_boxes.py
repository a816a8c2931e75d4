"""Detection sets: the published BCCD, what all sets share, and augmentation that keeps boxes on their things."""

import importlib.util
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from snnkern.data import DataError
from snnkern.data.box_augmentation import Zoom, augmentation, finished, inside
from snnkern.data.boxes import BoxPicture, BoxSplit, Labels, box_set, rows_of
from snnkern.data.segmentation import File
from snnkern.data.sets import samples
from snnkern.data.voc_boxes import bccd

pytest.importorskip('torchvision')
from torchvision.transforms import v2

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
H, W = 48, 64
COUNTS = {'train': [2381, 214, 209], 'val': [967, 87, 83], 'test': [805, 71, 69]}


def counts(split):
    return torch.cat([split.boxes(n) for n in range(len(split))])[:, 0].long().bincount().tolist()


@needs_shared
def test_published_bccd():
    with pytest.warns(UserWarning, match=r'bccd: dropped 1 box without area: .*BloodImage_00343\.xml, object \d+$'):
        data = samples(f'bccd:{SHARED}')
    assert data.source == 'BCCD (bccd.zip), 205 / 72 images, 416 x 416'
    assert (data.shape, data.classes, data.mean, data.std) == ((3, 416, 416), ('RBC', 'WBC', 'Platelets'), (), ())
    assert (counts(data.train), counts(data.test)) == (COUNTS['train'], COUNTS['test'])
    with pytest.warns(UserWarning, match=r'dropped 2 boxes .*BloodImage_00338.*; .*BloodImage_00343') as warned:
        more = bccd(SHARED / 'bccd.zip', train='trainval')
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert len(more.train) == 292
    assert counts(more.train) == [a + b for a, b in zip(COUNTS['train'], COUNTS['val'], strict=True)]


@needs_shared
def test_bccd_is_what_its_reader_reads():
    spec = importlib.util.spec_from_file_location('load_data', SHARED / 'load_data.py')
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    data = bccd_of_shared(size=(480, 640))
    scale = torch.tensor([640.0, 480, 640, 480])
    for n, (name, image, boxes) in enumerate(reader.bccd('test')):
        assert data.test.name(n) == f'{name}.jpg'
        rows = data.test.boxes(n)
        assert torch.equal(rows[:, 0], torch.from_numpy(boxes[:, 0]).float())
        pixels = torch.from_numpy(boxes[:, 1:]).clamp(min=torch.zeros(4), max=scale)
        assert torch.allclose(rows[:, 1:5] * scale, pixels.float(), atol=1e-3)
        if n < 3:
            x, y = data.test.batch([n])
            assert torch.equal((255 * x[0]).round().byte(), torch.from_numpy(image).permute(2, 0, 1))
            assert torch.equal(y[0], rows)


def bccd_of_shared(**options):
    with pytest.warns(UserWarning, match='without area'):
        return bccd(SHARED, **options)


@needs_shared
def test_cells_are_where_boxes_are_after_augmentation():
    """White cells are violet: inside their boxes there is more blue, against green, than in the picture."""
    data = bccd_of_shared(size=(240, 320))
    x, y = data.train.batch(range(12), seed=1)
    assert (x.shape, x.dtype, y.dtype, y.shape[2]) == ((12, 3, 240, 320), torch.float32, torch.float32, 6)
    found = 0
    for image, rows in zip(x, y, strict=True):
        violet = image[2] - image[1]
        for _, *corners, _ in rows[rows[:, 0] == 1].tolist():
            x1, y1, x2, y2 = (round(c * side) for c, side in zip(corners, (320, 240, 320, 240), strict=True))
            found += 1
            assert violet[y1:y2, x1:x2].mean() > violet.mean() + 0.03
    assert found >= 8


def things(folder, count=3, name='{}.png'):
    """Pictures, black but for a white thing, with its box; the last has none."""
    made = []
    for i in range(count):
        image, rows = np.zeros((H, W, 3), np.uint8), []
        if i < count - 1:
            x, y = 8 + 4 * i, 10 + 2 * i
            image[y : y + 20, x : x + 24] = 255
            rows = [[i % 2, x / W, y / H, (x + 24) / W, (y + 20) / H, i]]
        path = folder / name.format(i)
        Image.fromarray(image).save(path)
        made.append(BoxPicture(File(path), rows_of(rows), (W, H)))
    return made


def made(pictures, **options):
    given = {'size': (H, W), 'augment': 'none', 'corrupt': 'stop', 'cache': True, **options}
    return box_set('things', [pictures, pictures], Labels(('a', 'b')), 'Things', **given)


def test_batch_is_padded(tmp_path):
    pictures = things(tmp_path)
    split = made(pictures).train
    x, y = split.batch(torch.tensor([2, 1]), seed=4)
    assert (x.shape, y.shape) == ((2, 3, H, W), (2, 1, 6))
    assert y[0, 0, 0] == -1
    assert torch.equal(y[1], pictures[1].boxes)
    assert x[1].mean() == pytest.approx(24 * 20 / (H * W))
    assert split.batch([2])[1].shape == (1, 1, 6)
    two = pictures[0]._replace(boxes=pictures[0].boxes.repeat(3, 1))
    y = BoxSplit([two, pictures[1]], (H, W)).batch([0, 1])[1]
    assert (y[..., 0] >= 0).tolist() == [[True] * 3, [True, False, False]]
    assert made(pictures, size=(24, 40)).test.batch([0])[0].shape == (1, 3, 24, 40)


def test_sample_is_the_same_in_any_batch(tmp_path):
    split = made(things(tmp_path), augment='light').train
    before = torch.random.get_rng_state()
    x, y = split.batch([0, 1], seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(77)
    again, rows = pickle.loads(pickle.dumps(split)).batch([1, 0], seed=3)
    assert torch.equal(again, x[[1, 0]])
    assert torch.equal(rows, y[[1, 0]])
    assert not torch.equal(split.batch([0], seed=4)[0], x[:1])


def test_images_are_kept_in_memory(tmp_path, monkeypatch):
    pictures = things(tmp_path)
    kept, fresh = made(pictures).train, made(pictures, cache=False).train
    x = kept.batch([0, 1])[0]
    assert torch.equal(fresh.batch([0, 1])[0], x)
    (tmp_path / '0.png').unlink()
    assert torch.equal(kept.batch([0, 1])[0], x)
    with pytest.raises(DataError, match=r'0\.png is broken or no picture'):
        fresh.batch([0])
    monkeypatch.setattr('snnkern.data.boxes.CACHED_BYTES', 6 * 3 * H * W - 1)
    assert made(pictures).train.cache is None
    with pytest.raises(ValueError, match="cache: expected true or false, got 'yes'"):
        made(pictures, cache='yes')


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='processes are not forked here')
def test_images_are_kept_for_processes(tmp_path):
    """What a process that loads has read is there when it is gone; a copy by pickle reads again."""
    split = made(things(tmp_path)).train
    loader = DataLoader(
        range(1), batch_size=None, collate_fn=lambda n: split.batch([n]), num_workers=1, multiprocessing_context='fork'
    )
    assert len(list(loader)) == 1
    (tmp_path / '0.png').unlink()
    assert split.batch([0])[0].mean() > 0.1
    with pytest.raises(DataError, match=r'0\.png is broken or no picture'):
        pickle.loads(pickle.dumps(split)).batch([0])


@pytest.mark.parametrize('augment', ['light', 'cells'])
def test_boxes_follow_their_things(tmp_path, augment):
    """Where the white thing is seen whole, its border is the box, to a pixel; it lies left and right, up and down."""
    split = made(things(tmp_path), augment=augment).train
    whole, sides, heights, areas = 0, set(), set(), []
    for seed in range(40):
        x, y = split.batch([0], seed)
        rows = y[0][y[0, :, 0] >= 0]
        white = (x[0].amin(0) > 0.55).nonzero()
        if not len(rows):
            continue
        _, x1, y1, x2, y2, _ = rows[0].tolist()
        (top, left), (lower, right) = white.amin(0).tolist(), (white.amax(0) + 1).tolist()
        assert abs(x1 * W - left) + abs(x2 * W - right) + abs(y1 * H - top) + abs(y2 * H - lower) < 4
        whole += x1 > 0 and y1 > 0 and x2 < 1 and y2 < 1
        sides.add((x1 + x2) / 2 < 0.5)
        heights.add((y1 + y2) / 2 < 0.45)
        areas.append((x2 - x1) * (y2 - y1))
    assert whole > 25
    assert sides == heights == {True, False}
    assert max(areas) > 1.5 * min(areas)


def test_cells_turn_upside_down(tmp_path):
    """The thing of a picture of its own size is in its upper part; only cells get below."""
    row = rows_of([[0, 0.2, 0.02, 0.6, 0.2, 0]])
    lowest = {}
    for augment in ('light', 'cells'):
        change = augmentation(augment)
        torch.manual_seed(0)
        ends = [finished(change, torch.zeros(3, H, W, dtype=torch.uint8), row)[1] for _ in range(30)]
        lowest[augment] = max(rows[0, 4].item() for rows in ends if len(rows))
    assert lowest['light'] < 0.6
    assert lowest['cells'] > 0.8


shares = st.floats(0, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(shares, shares, shares, shares, st.booleans()), max_size=5),
    scale=st.sampled_from([(0.75, 1.33), (0.2, 0.3), (3.0, 5.0)]),
    seed=st.integers(0, 2**31),
)
def test_changed_boxes_are_valid(boxes, scale, seed):
    corners = ((label, min(a, c), min(b, d), max(a, c), max(b, d)) for label, (a, b, c, d, _) in enumerate(boxes))
    rows = rows_of([[*row, crowd] for row, (*_, crowd) in zip(corners, boxes, strict=True)])
    torch.manual_seed(seed)
    for change in (Zoom(scale, 0.1), augmentation('cells')):
        image, after = finished(change, torch.full((3, 16, 24), 7, dtype=torch.uint8), rows)
        assert image.shape == (3, 16, 24)
        assert image.dtype == (torch.uint8 if isinstance(change, Zoom) else torch.float32)
        assert type(image) is type(after) is torch.Tensor
        assert after.shape[1] == 6
        assert (after[:, 1:5] >= 0).all()
        assert (after[:, 1:5] <= 1).all()
        assert (after[:, 1] < after[:, 3]).all()
        assert (after[:, 2] < after[:, 4]).all()
        for label, *_, crowd in after.tolist():
            assert crowd == boxes[int(label)][4]


def test_boxes_mostly_outside_are_dropped():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [6, 0, 16, 10], [12, 0, 14, 10], [1, 1, 2, 2]])
    assert inside(boxes, (0, 0, 11, 10), 0.3).tolist() == [True, True, False, False, True]
    assert inside(boxes, (0, 0, 11, 10), 0.7).tolist() == [True, False, False, False, True]
    assert inside(torch.zeros(0, 4), (0, 0, 1, 1), 0.3).shape == (0,)


def test_own_transform(tmp_path):
    pictures = things(tmp_path)
    x, y = made(pictures, augment=v2.RandomHorizontalFlip(1.0)).train.batch([0], seed=0)
    plain, rows = made(pictures).train.batch([0], seed=0)
    assert torch.equal(x.flip(-1), plain)
    assert torch.allclose(y[0, 0, [1, 3]], 1 - rows[0, 0, [3, 1]])
    grown = made(pictures, augment=v2.Resize((2 * H, 2 * W))).train.batch([1], seed=0)
    assert grown[0].shape == (1, 3, H, W)
    assert torch.allclose(grown[1][0], pictures[1].boxes)


def test_unreadable_image_stops_or_is_skipped(tmp_path):
    pictures = things(tmp_path)
    (tmp_path / '2.png').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'2\.png is broken or no picture'):
        made(pictures).train.batch([2])
    with pytest.warns(UserWarning, match=r'skipped 1 of 3: .*2\.png is broken'):
        assert len(made(pictures, corrupt='skip').train) == 2
    other = [pictures[0]._replace(size=(H, W))]
    with pytest.raises(DataError, match=r'0\.png: the image is 64 x 48, its labels are for 48 x 64'):
        made(other).train.batch([0])
    with pytest.raises(ValueError, match="corrupt: expected 'stop' or 'skip', got 'no'"):
        made(pictures, corrupt='no')


def test_nothing_to_read(tmp_path):
    pictures = things(tmp_path)
    with pytest.raises(DataError, match='Things: no pictures in its train part'):
        made([])
    with pytest.raises(DataError, match='Things: no boxes that count in its train part of 1 pictures'):
        made(pictures[2:])


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'size': (0, 4)}, 'size must be >= 1, got 0'),
        ({'size': 416}, r'size: expected \(height, width\), got 416'),
        ({'augment': 'full'}, "augment: expected one of light, cells, none, got 'full'"),
        ({'augment': 3}, 'augment: expected a word or a transform, got 3'),
    ],
)
def test_bad_options(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        made(things(tmp_path), **options)
