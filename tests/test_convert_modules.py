"""Conversion without a trace, for models with control flow."""

import copy

import pytest
import torch
from soundness import kinds
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert
from snnkern.convert.check import deviation
from snnkern.convert.layers import Analogue, Spiking


class Branching(nn.Module):
    """Asks for the values of its input, calls one ReLU in a loop, and has a gate and a pool."""

    def __init__(self, loops=2):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)])
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.alias = self.relu
        self.pool = nn.MaxPool2d(2)
        self.softmax = nn.Softmax(1)
        self.head = nn.Linear(4, 5)
        self.loops = loops

    def forward(self, x):
        if x.shape[1] != 2 or x.sum().item() == 12345:
            raise ValueError('two channels')
        x = self.alias(self.norm(self.conv(x)))
        for conv in self.convs[: self.loops]:
            x = x + self.relu(conv(x))
        x = self.pool(x)
        return self.head(self.softmax(x).mean((2, 3)))


def images(n=8):
    return torch.randn(n, 2, 8, 8)


def network_entry(snn):
    assert snn.entries[0].kind == 'network'
    return snn.entries[0]


def test_the_trace_offers_this_mode():
    with pytest.raises(ConversionError, match=r"test_convert_modules.py, line \d+: `if x.sh.*modules='auto'"):
        convert(Branching(), images())


def test_auto():
    net, x = Branching(), images()
    before = copy.deepcopy(net.state_dict())
    snn = convert(net, x, modules='auto', timesteps=3)
    assert kinds(snn) == (3, 0, 2)
    assert network_entry(snn).warnings == []
    assert 'every step' in network_entry(snn).why
    words = ['module relu (ReLU), call 1', 'module relu (ReLU), call 2', 'module relu (ReLU), call 3']
    assert [entry.was for entry in snn.entries[1:4]] == words
    assert [type(layer) for layer in snn.layers if layer is not snn.body.over_time] == [Spiking] * 3 + [Analogue] * 2
    assert len({layer.v_threshold for layer in snn.neurons}) == 3
    assert deviation(snn, net.eval(), (x,)) < 1e-5
    wanted = net(x)
    errors = [((snn(x, T) - wanted).norm() / wanted.norm()).item() for T in (2, 64)]
    assert errors[1] < 0.05
    *_, (_, last) = snn.steps(x, 5)
    torch.testing.assert_close(last, snn(x, 5), rtol=1e-3, atol=1e-3)
    assert isinstance(net.relu, nn.ReLU)
    assert net.relu.inplace
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_copies_are_independent():
    x = images()
    snn = convert(Branching(), x, modules='auto')
    twin = copy.deepcopy(snn)
    with torch.no_grad():
        wanted = snn(x, 3)
        for layer in snn.neurons:
            layer.neuron = None
        assert torch.equal(twin(x, 3), wanted)


def test_another_number_of_calls():
    net, x = Branching(), images()
    snn = convert(net, x, modules='auto')
    for loops in (1, 3):
        snn.body.model.loops = loops
        with pytest.raises(ConversionError, match=r'module relu was called 3 times in calibration, now (2|more)'):
            snn(x, 2)
    snn.body.model.loops = 2
    snn(x, 2)

    class Fickle(Branching):
        def forward(self, x):
            self.loops = 1 + len(x) % 2
            return super().forward(x)

    with pytest.raises(ConversionError, match='not called as often'):
        convert(Fickle(), [images(2), images(3)], modules='auto')


def test_a_mapping_names_modules():
    net, x = Branching(), images()
    snn = convert(net, x, modules={'alias': 'neuron', 'pool': 'pool', 'softmax': 'analogue', 'norm': 'analogue'})
    assert kinds(snn) == (3, 0, 3)
    assert deviation(snn, net.eval(), (x,)) < 1e-5
    snn = convert(net, x, modules={'relu': 'neuron'})
    assert kinds(snn) == (3, 0, 0)
    assert "off the model's" in network_entry(snn).warnings[0]


@pytest.mark.parametrize(
    ('modules', 'words'),
    [
        ({'rely': 'neuron'}, "Branching has no module named 'rely'"),
        ({'conv': 'neuron'}, r'module conv \(Conv2d\) is no activation'),
        ({'relu': 'pool'}, r'module relu \(ReLU\) is no MaxPool2d'),
        ({'relu': 'spike'}, r"modules\['relu'\] must be one of .*, got 'spike'"),
        ({'convs': 'analogue', 'convs.0': 'analogue'}, 'module convs.0 lies within convs'),
        ({'softmax': 'analogue'}, 'calls no activation module'),
        ('all', "modules must be None, 'auto' or a mapping"),
    ],
)
def test_bad_maps(modules, words):
    with pytest.raises(ValueError, match=words):
        convert(Branching(), images(), modules=modules)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(3, 8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x, scale=1.0):
        return self.b(F.relu(self.b(self.relu(self.a(x))))) * scale


def test_functional_calls_are_noticed():
    snn = convert(Functional(), torch.randn(8, 3), modules='auto')
    assert kinds(snn) == (1, 0, 0)
    assert 'functional relu' in network_entry(snn).warnings[0]


def test_an_activation_alone_and_attention_with_options():
    assert kinds(convert(nn.ReLU(), torch.randn(4, 3), modules='auto')) == (1, 0, 0)

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.attention = nn.ReLU(), nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            y = self.relu(x)
            mask = torch.zeros(5, 5)
            return self.attention(y, key=y, value=y, attn_mask=mask, need_weights=bool(x.sum() > 1e9))[0]

    net, x = Attending().eval(), torch.randn(6, 5, 4)
    snn = convert(net, x, modules='auto')
    assert network_entry(snn).warnings == []
    assert deviation(snn, net, (x,)) < 1e-5


def test_several_inputs_and_the_simulator():
    class Two(Functional):
        def forward(self, x, y):
            return self.b(self.relu(self.a(x) + self.a(y)))

    x, y = torch.randn(8, 3), torch.randn(8, 3)
    snn = convert(Two(), (x, y), modules='auto')
    assert snn((x, y), 2).shape == (8, 8)
    with pytest.raises(ValueError, match='traced network'):
        snn.simulator()


def test_bad_calibration():
    with pytest.raises(ConversionError, match=r'Branching fails for \[3, 3, 8, 8\] .*: two channels'):
        convert(Branching(), torch.randn(4, 3, 8, 8), modules='auto')
    net = Branching()
    net.conv.weight.data[0] = torch.nan
    with pytest.raises(ConversionError, match=r'module relu \(ReLU\), call 1 has NaN or infinite values'):
        convert(net, images(), modules='auto')
    with pytest.raises(ValueError, match='at least one input'):
        convert(Branching(), [], modules='auto')
