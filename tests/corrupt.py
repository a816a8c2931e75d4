"""Small whole files of every format that the library reads."""

import io
import json
import zipfile

import numpy as np
import torch
from test_data_boxes_voc import CATS, H, W, annotation, picture, thing, write
from test_data_es_imagenet import es_folder
from test_data_images import mosaic, slices
from test_event_files import words
from torch import nn

from snnkern import data, models
from snnkern.convert import SNN, convert
from snnkern.data.coco import coco
from snnkern.data.coco_boxes import coco_boxes
from snnkern.data.es_imagenet import es_imagenet
from snnkern.data.event_files import event_array, read_events
from snnkern.data.event_sets import dvs_gesture
from snnkern.data.nmnist import SHIPPED, nmnist
from snnkern.data.voc_boxes import voc_boxes
from snnkern.data.yolo_boxes import yolo
from snnkern.models.darknet import load_darknet, save_darknet
from snnkern.models.weights import load_trained, read_weights
from snnkern.recipes.direct import config

BOXES = {'size': (H, W), 'augment': 'none'}


def chain():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


def zipped(path, folder, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, 'w', method) as archive:
        for file in sorted(f for f in folder.rglob('*') if f.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


def recorded():
    rng = np.random.default_rng(0)
    return event_array(*rng.integers(0, 10, (2, 60)), np.sort(rng.integers(0, 200_000, 60)), rng.integers(0, 2, 60))


def digits(root):
    x, y = np.zeros((3, 28, 28), np.uint8), np.arange(3, dtype=np.uint8)
    np.savez_compressed(root / 'm.npz', x_train=x, y_train=y, x_test=x, y_test=y)
    return root / 'm.npz', lambda: data.mnist(root / 'm.npz')


def idx(root):
    from test_data import _idx

    raw = root / 'MNIST' / 'raw'
    raw.mkdir(parents=True)
    for part in ('train', 't10k'):
        _idx(raw / f'{part}-images-idx3-ubyte', np.zeros((3, 28, 28), np.uint8))
        _idx(raw / f'{part}-labels-idx1-ubyte', np.arange(3, dtype=np.uint8))
    return raw / 'train-images-idx3-ubyte', lambda: data.mnist(root)


def cifar(root):
    for name in ('cifar10_data_batch_1.zip', 'cifar10_test_a.zip'):
        mosaic(root / name, 1)
    return root / 'cifar10_test_a.zip', lambda: data.cifar10(root)


def events(suffix):
    def make(root):
        path = root / f'e{suffix}'
        path.write_bytes(words(recorded(), suffix))
        return path, lambda: read_events(path)

    return make


def neuromorphic(root):
    (root / 'n.npz').write_bytes(SHIPPED.read_bytes())
    return root / 'n.npz', lambda: nmnist(root / 'n.npz').train.batch([0])


def es(root):
    es_folder(root)
    return next(root.rglob('*.npz')), lambda: [part.batch([0]) for part in es_imagenet(root)[1:3]]


def es_list(root):
    es_folder(root)
    return root / 'trainlabel.txt', lambda: es_imagenet(root)


def gesture(root):
    found = recorded()
    rows = np.stack([found['x'], found['y'], found['p'], found['t'] // 1000], 1).astype(np.float64)
    for part in ('Train', 'Test'):
        (root / f'ibmGesture{part}' / 'user01_led').mkdir(parents=True)
        np.save(root / f'ibmGesture{part}' / 'user01_led' / '1.npy', rows)
    return root / 'ibmGestureTrain/user01_led/1.npy', lambda: dvs_gesture(root, size=32).train.batch([0])


def voc(name):
    def make(root):
        for stem in 'ab':
            picture(root / 'JPEGImages' / f'{stem}.jpg')
            write(root / 'Annotations' / f'{stem}.xml', annotation(thing('cat', (1, 11, 40, 20))))
        for part, stem in (('train', 'a'), ('val', 'b')):
            write(root / 'ImageSets' / 'Main' / f'{part}.txt', f'{stem} 1\n')
        return root / name, lambda: voc_boxes(root, **CATS).train.batch([0])

    return make


def yolo_folder(root):
    for part in ('train', 'val'):
        picture(root / 'images' / part / 'a.png')
        write(root / 'labels' / part / 'a.txt', '0 0.5 0.5 0.2 0.3\n1 0.25 0.25 0.1 0.1\n')
    write(root / 'classes.txt', 'cat\ndog\n')
    return root


def yolo_file(name):
    return lambda root: (yolo_folder(root) / name, lambda: yolo(root, **BOXES).train.batch([0]))


def yolo_zip(root):
    path = zipped(root / 'y.zip', yolo_folder(root / 'y'))
    return path, lambda: yolo(path, **BOXES).train.batch([0])


def coco_folder(root):
    thing = {'id': 1, 'image_id': 1, 'category_id': 7, 'bbox': [3, 4, 20, 20], 'iscrowd': 0, 'area': 400}
    content = {
        'images': [{'id': 1, 'file_name': '1.jpg', 'width': W, 'height': H}],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 7, 'name': 'dog'}],
        'annotations': [{**thing, 'segmentation': [[3, 4, 23, 4, 23, 24, 3, 24]]}],
    }
    for part in ('train2017', 'val2017'):
        picture(root / part / '1.jpg')
        write(root / 'annotations' / f'instances_{part}.json', json.dumps(content))
    return root / 'annotations' / 'instances_train2017.json'


def coco_of(read, **options):
    return lambda root: (coco_folder(root), lambda: read(root, **BOXES, **options).train.batch([0]))


def lucchi_zip(root):
    for part in ('train', 'test'):
        slices(root / 'slices', part, 2)
    path = zipped(root / 'lucchi.zip', root / 'slices', zipfile.ZIP_STORED)
    return path, lambda: data.lucchi(path)


def weights(suffix, **options):
    def make(root):
        small = {'a.weight': torch.rand(3, 4), 'n': torch.tensor(3)}
        path = root / f'w{suffix}'
        if suffix == '.zip':
            torch.save(small, file := io.BytesIO())
            with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
                archive.writestr('w.pt', file.getvalue())
        else:
            torch.save(small, path, **options)
        return path, lambda: read_weights(path)

    return make


def trained(root):
    from safetensors.torch import save_file

    facts = {'model': 'lenet5', 'in_channels': 1, 'num_classes': 10, 'width': None}
    path = root / 't.safetensors'
    save_file(models.build('lenet5').state_dict(), path, metadata={'snnkern': json.dumps(facts)})
    return path, lambda: load_trained(path)


def darknet(root):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    save_darknet(net, root / 'd.weights')
    return root / 'd.weights', lambda: load_darknet(net, root / 'd.weights')


def converted(root):
    path = root / 'c.safetensors'
    convert(chain(), torch.rand(8, 1, 8, 8), timesteps=4).save(path)
    return path, lambda: SNN.load(path, chain())


def toml(root):
    (root / 'k.toml').write_text((config.CONFIGS / 'mnist-mlp.toml').read_text())
    return root / 'k.toml', lambda: config.read(root / 'k.toml')


FORMATS = {
    'mnist.npz': digits,
    'mnist idx': idx,
    'cifar mosaic': cifar,
    **{f'events {suffix}': events(suffix) for suffix in ('.bin', '.dat', '.raw', '.mat')},
    'n-mnist.npz': neuromorphic,
    'es-imagenet.npz': es,
    'es-imagenet list': es_list,
    'dvs-gesture.npy': gesture,
    'voc xml': voc('Annotations/a.xml'),
    'voc list': voc('ImageSets/Main/train.txt'),
    'voc jpg': voc('JPEGImages/a.jpg'),
    'yolo txt': yolo_file('labels/train/a.txt'),
    'yolo classes': yolo_file('classes.txt'),
    'yolo png': yolo_file('images/train/a.png'),
    'yolo zip': yolo_zip,
    'coco boxes': coco_of(coco_boxes),
    'coco masks': coco_of(coco, min_pixels=0),
    'lucchi zip': lucchi_zip,
    '.pt': weights('.pt'),
    '.th, old': weights('.th', _use_new_zipfile_serialization=False),
    '.pt in a zip': weights('.zip'),
    'trained': trained,
    'darknet': darknet,
    'converted': converted,
    'toml': toml,
}
