"""What the pages of the documentation take as given, and what of them cannot run here.

page: {how a block of it begins: the program that runs before it}.
"""

# A network and inputs, small enough for a second.
CONVERTED = """
import torch
import snnkern


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4 * 3 * 3, 10)

    def forward(self, x):
        return self.out(torch.nn.functional.max_pool2d(self.conv(x).relu(), 2).flatten(1))


net = Net().eval()
x_train, x, x_test = (torch.rand(count, 1, 8, 8) for count in (300, 5, 20))
y_test = torch.arange(20) % 10
loader = [(x_test, y_test)]
"""
THEIRS = """
import pytest

pytest.importorskip('spikingjelly')
from spikingjelly.activation_based import neuron as _neuron

theirs = torch.nn.Sequential(torch.nn.Linear(8, 8), _neuron.LIFNode(step_mode='m'))
"""
OTHERS = """
import torch
import pytest

pytest.importorskip('spikingjelly')
pytest.importorskip('snntorch')
pytest.importorskip('nir')
import snnkern
import snntorch
from spikingjelly.activation_based import neuron as _neuron

net = torch.nn.Sequential(torch.nn.Linear(8, 8), _neuron.LIFNode(step_mode='m'))
looping = torch.nn.Sequential(torch.nn.Linear(8, 8), snntorch.Leaky(beta=0.9, init_hidden=True))
own, x = torch.nn.Sequential(torch.nn.Linear(8, 8), snnkern.nn.LIF()), torch.rand(4, 2, 8)
"""
GIVEN: dict[str, dict[str, str]] = {
    'README.md': {'snn = snnkern.convert(': CONVERTED + THEIRS},
    'docs/tour.md': {'snn = snnkern.convert(': CONVERTED, 'from snnkern.adapters import nir': OTHERS},
    'docs/adapters.md': {
        'import snnkern\n\nnet =': OTHERS,
        'fast = snnkern.accelerate(net)': """
net, looped = looping, looping


class Loop(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = torch.nn.Linear(8, 8), snntorch.Leaky(beta=0.9)

    def forward(self, x):
        mem, rec = self.lif.init_leaky(), []
        for _ in range(4):
            rec.append(self.lif(self.fc(x), mem))
            mem = rec[-1][1]
        return torch.stack([s for s, _ in rec]), torch.stack([m for _, m in rec])


net, x = Loop(), torch.rand(2, 8)
""",
        'from braincog.base.node.node import': "pytest.importorskip('braincog')",
    },
    'docs/conversion.md': {'from snnkern.convert import SNN, convert': CONVERTED},
    'docs/engine.md': {'from snnkern import convert, engine': CONVERTED},
    'docs/detection.md': {
        'from pathlib import Path': """
import pytest
import torch

for package in ('torchvision', 'faster_coco_eval'):
    pytest.importorskip(package)
from pathlib import Path
from detectors import run_of, squares
from programs import invoke

data = squares(Path('data'))
options = ('--data', f'yolo:{data}', '--calibration', 5, '--for', 4, '--out', 'cells-snn')
assert invoke('detect', 'convert', run_of(Path('run'), data), *options).exit_code == 0
x = torch.rand(1, 3, 64, 64)
"""
    },
    'docs/encoders.md': {
        'from snnkern import encode, nn': 'import torch',
        'part = encode.poisson': 'x, B, T, rank, step = torch.rand(6, 5), 2, 4, 1, 0',
    },
    'docs/exchange.md': {
        'from snnkern.adapters.nir import': """
import torch
import snnkern
import pytest
nirs = pytest.importorskip('nir')
net, x = torch.nn.Sequential(torch.nn.Linear(8, 8), snnkern.nn.LIF()), torch.rand(4, 2, 8)
linear = nirs.NIRGraph.from_list(nirs.Linear(torch.rand(3, 8).numpy()))
nirs.write('theirs.nir', linear)
"""
    },
    'docs/memory.md': {
        'with snnkern.compress_saved_spikes() as saved': """
import torch
import snnkern
from snnkern import functional
net, criterion = torch.nn.Sequential(snnkern.nn.LIF(), torch.nn.Linear(64, 10)), torch.nn.MSELoss()
x, target = torch.rand(4, 32, 64), torch.rand(4, 32, 10)
""",
        'packed = functional.pack_spikes': 's = net[0](x).detach()',
    },
    'docs/start/deploy.md': {'from snnkern.adapters import nir': "import pytest; pytest.importorskip('nir')"},
    'docs/start/detect.md': {'import torch': "import pytest; pytest.importorskip('torchvision')"},
    'docs/start/snntorch.md': {'import snntorch': "import pytest; pytest.importorskip('snntorch')"},
    'docs/start/spikingjelly.md': {'import torch': "import pytest; pytest.importorskip('spikingjelly')"},
    'docs/neurons.md': {'from snnkern import LIF, ATan': 'import torch; x = torch.rand(4, 5)'},
    'docs/norms.md': {
        'layer = snnkern.nn.BatchNormNeuron': """
import torch
import snnkern
conv, x = torch.nn.Conv2d(3, 64, 3), torch.rand(2, 2, 3, 6, 6)
""",
        's = multistep(x, neuron, residual=r)': """
from snnkern.functional import multistep
neuron, r = snnkern.Neuron(), torch.rand_like(x)
""",
    },
    'docs/pools.md': {
        'out, state = lateral_pool2d': """
import torch
from snnkern.functional import lateral_pool2d
x = torch.rand(8, 2, 3, 6, 6).round()
"""
    },
}

# page: {how a block of it begins: why it is not run}.
NOT_RUN: dict[str, dict[str, str]] = {
    'docs/add_a_neuron.md': dict.fromkeys(
        ("    elif KIND.CHARGE == 'Forget'", '@dataclass(frozen=True)'),
        'parts of files: tests/test_new_neuron.py builds them, tests/test_docs_new_neuron.py compares',
    ),
    'docs/backend.md': {'import cupy as cp': 'needs a GPU and CuPy'},
}
