"""What the programs leave behind, and other libraries' networks: small whole files, as corrupt.FORMATS has them."""

import numpy as np
import pytest
import torch
from detectors import run_of, squares
from torch import nn

from snnkern.recipes.detect import folders, video
from snnkern.recipes.detect.conversion import Conversion
from snnkern.recipes.detect.data import read
from snnkern.recipes.detect.networks import Asked, load
from snnkern.recipes.direct import checkpoint, saved


def checkpointed(root):
    lightning = pytest.importorskip('lightning')
    fabric, net = lightning.Fabric(accelerator='cpu', devices=1), nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(fabric, root, net, optimizer, checkpoint.State(3, [1.0], [{'epoch': 1.0}]), {'seed': 0})
    return root / checkpoint.FILE, lambda: checkpoint.load(fabric, root, net, optimizer, {'seed': 0})


def run(root):
    folder = run_of(root / 'run', squares(root / 'squares', 2, 2))
    return folder / saved.FILE, lambda: (saved.load(folder), load(folder, Asked()))


def detector(name):
    """A file of what `snnkern detect convert` writes; the hashes of the others stand in convert.json."""

    def make(root):
        found, out = load(run(root)[0].parent, Asked()), root / 'converted'
        out.mkdir()
        data = read(f'yolo:{root / "squares"}', found, {})
        folders.save(out, found, Conversion(timesteps=2).run(found, data), {})
        return out / name, lambda: folders.load(out)

    return make


def nir_graph(root):
    pytest.importorskip('nir')
    from snnkern import nn as spiking
    from snnkern.adapters.nir import from_nir, to_nir, write

    net = nn.Sequential(nn.Linear(4, 3), spiking.LIF(), nn.Linear(3, 2), spiking.IF())
    write(to_nir(net, torch.rand(2, 1, 4)), root / 'n.nir')
    return root / 'n.nir', lambda: from_nir(root / 'n.nir')


def film(suffix, code):
    def make(root):
        cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
        path, rng = root / f'f{suffix}', np.random.default_rng(0)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 5.0, (64, 48))
        for _ in range(8):
            writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
        writer.release()

        def use():
            with video.Reader(path) as frames:
                assert {frame.shape for frame in frames} == {(48, 64, 3)} or frames.size != (64, 48)

        return path, use

    return make


RUNS = {
    'checkpoint': checkpointed,
    'weights of a run': run,
    'convert.json': detector(folders.ABOUT),
    'film, mp4': film('.mp4', 'mp4v'),
    'film, avi': film('.avi', 'MJPG'),
}
