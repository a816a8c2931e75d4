"""What the tests of detectors share: pictures with coloured squares as a data set, and runs of a tiny network on it."""

import numpy as np
import torch
from PIL import Image

from snnkern.data import samples
from snnkern.recipes import training
from snnkern.recipes.direct import saved
from snnkern.recipes.direct.config import Config
from snnkern.recipes.fitting import seeded

CLASSES = ('red', 'blue')
SIZE = 64


def squares(root, train=6, val=4, width=96, height=64):
    """A YOLO folder of grey pictures, in each of which is a red square on the left or a blue one on the right."""
    draw = np.random.default_rng(0)
    for part, count in (('train', train), ('val', val)):
        for folder in ('images', 'labels'):
            (root / folder / part).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(90, 110, (height, width, 3), np.uint8)
            left, top = (
                (8 if i % 2 == 0 else 60) + int(draw.integers(4)),
                4 + int(draw.integers(6) + 28 * draw.integers(2)),
            )
            pixels[top : top + 24, left : left + 24] = (230, 30, 30) if i % 2 == 0 else (30, 30, 230)
            Image.fromarray(pixels).save(root / 'images' / part / f'{part}{i}.png')
            box = (left + 12) / width, (top + 12) / height, 24 / width, 24 / height
            line = ' '.join(map(str, (i % 2, *box)))
            (root / 'labels' / part / f'{part}{i}.txt').write_text(line + '\n')
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    return root


def run_of(folder, root, **changes):
    """A run's folder with an untrained network of width 2, whose two anchors fit so that it finds something."""
    data = samples(f'yolo:{root}', size=(SIZE, SIZE), augment='none')
    options = {'width': 2, 'anchors': 2, **changes}
    config = Config('tiny-yolo', f'yolo:{root}', loss='head', options=options, T=1, data_options={'size': [SIZE, SIZE]})
    with seeded(0):
        net = saved.make(config, len(data.classes), data.shape)
        with torch.no_grad():
            rows = torch.cat([data.train.boxes(n) for n in range(len(data.train))])
            net.head.fit(rows[:, 3:5] - rows[:, 1:3])
            net.maps.weight.normal_(0, 0.1)
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.bias.normal_(0, 0.3)
    folder.mkdir(parents=True)
    training.save(net, folder / saved.FILE, saved.facts_of(config, data))
    return folder
