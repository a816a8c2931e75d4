"""What cannot be converted is refused, by name and with its place."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, convert


def net_of(*layers):
    return nn.Sequential(*layers)


class Branches(nn.Module):
    def forward(self, x):
        return F.relu(x) if x.sum() > 0 else x


class Behind(nn.Module):
    """What a test does with spikes."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, F.relu(x))


@torch.fx.wrap
def helper(y):
    return y * 2


def write(x, y):
    y[0] = 0
    return y


HERE = r'at .*test_convert_errors\.py, line \d+'
REFUSED = {
    'branches': (Branches(), rf"cannot trace Branches {HERE}: `return F.relu.*modules='auto'.*leaves="),
    'assignment': (Behind(write), rf'cannot trace Behind {HERE}: `y\[0\] = 0`'),
    'no relu': (net_of(nn.Conv2d(1, 1, 3)), 'no ReLU'),
    'relu is no output': (Behind(lambda x, y: x), 'must return something that depends on a ReLU'),
    'unknown module': (net_of(nn.ReLU(), nn.LSTM(6, 6)), r'LSTM'),
    'unknown call': (
        Behind(lambda x, y: torch.cumprod(y, 1)),
        rf'cannot convert call cumprod \(node cumprod\) {HERE}: between neurons snnkern keeps',
    ),
    'indices': (net_of(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)), 'returns indices'),
    'statistics': (net_of(nn.ReLU(), nn.BatchNorm2d(1, track_running_stats=False)), 'no running statistics'),
    'cat': (Behind(lambda x, y: torch.cat([y, y])), rf'call cat \(node cat\) {HERE} works on dimension 0'),
    'mean': (Behind(lambda x, y: y.mean()), 'call mean .* dimension 0'),
    'mean over 0': (Behind(lambda x, y: y.mean(0)), 'call mean .* dimension 0'),
    'mean over 0, kept': (Behind(lambda x, y: y - y.mean(0, keepdim=True)), 'call mean .* dimension 0'),
    'permute': (Behind(lambda x, y: y.permute(1, 0, 2, 3)), 'call permute .* dimension 0'),
    'transpose': (Behind(lambda x, y: y.flatten(1).t()), r'cannot convert call t \('),
    'property': (Behind(lambda x, y: y.flatten(1).T), r'cannot convert call getattr \('),
    'one input': (Behind(lambda x, y: y[0]), 'call getitem .* dimension 0'),
    'last input': (Behind(lambda x, y: y[-1] + y), 'call getitem .* dimension 0'),
    'some inputs': (Behind(lambda x, y: y[:1] + y), 'call getitem .* dimension 0'),
    'flip': (Behind(lambda x, y: y.flip(0)), 'call flip .* dimension 0'),
    'unsqueeze': (Behind(lambda x, y: y.unsqueeze(0)), 'call unsqueeze .* dimension 0'),
    'stack': (Behind(lambda x, y: torch.stack([y, y])), 'call stack .* dimension 0'),
    'softmax': (Behind(lambda x, y: y.softmax(0)), 'call softmax .* dimension 0'),
    'roll': (Behind(lambda x, y: y.roll(1, 0)), 'call roll .* dimension 0'),
    'repeat': (Behind(lambda x, y: y.repeat(2, 1, 1, 1)), 'call repeat .* dimension 0'),
    'fixed batch': (Behind(lambda x, y: y.view(4, -1)), r'call view .* dimension 0'),
    'fixed batch that does not fit': (
        Behind(lambda x, y: y.view(5, -1)),
        r'view .* fails for \[1, 1, 6, 6\] torch.float32',
    ),
    'one more': (
        Behind(lambda x, y: y.new_zeros(x.shape[0] + 1, 2).sum() + y),
        'computes with the batch size|dimension 0',
    ),
    'none': (Behind(lambda x, y: (y, None)), 'must return tensors, got also NoneType'),
    'size': (Behind(lambda x, y: (y, y.shape[1])), 'must return tensors, got also int'),
    'random': (Behind(lambda x, y: y + torch.rand_like(y)), 'cannot convert call rand_like|is random'),
    'own function': (Behind(lambda x, y: helper(y)), r'cannot convert call helper \('),
    'nan': (Behind(lambda x, y: (y - 1).log()), 'call log .* gives NaN'),
    'out': (Behind(lambda x, y: torch.add(y, y, out=x)), 'writes into out='),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_converted_is_named(name):
    net, words = REFUSED[name]
    with pytest.raises(ConversionError, match=words):
        convert(net, torch.rand(4, 1, 6, 6))


def test_nan_activations_name_the_call():
    net = net_of(nn.Linear(3, 3), nn.ReLU())
    nn.init.constant_(net[0].weight, torch.nan)
    with pytest.raises(ConversionError, match=r'module 0 \(Linear\) gives NaN in calibration'):
        convert(net, torch.rand(4, 3))
    logarithm = Behind(lambda x, y: F.relu(x.log()) + y)
    with pytest.raises(ConversionError, match=rf'call relu \(node relu_1\) {HERE} has NaN or infinite values'):
        convert(logarithm, [torch.rand(4, 3) + 1, -torch.rand(4, 3)])


def test_bad_arguments():
    net, x = net_of(nn.Linear(3, 4), nn.ReLU()), torch.rand(4, 3)
    with pytest.raises(ConversionError, match='no positive finite output'):
        convert(nn.ReLU(), -x)
    with pytest.raises(ValueError, match='timesteps must be'):
        convert(net, x, timesteps=0)
    with pytest.raises(ValueError, match=r"recipe must be a Recipe or one of .*, got 'best'"):
        convert(net, x, 'best')
    with pytest.raises(TypeError, match=r'model must be a torch.nn.Module, got function'):
        convert(F.relu, x)
    for empty in ([], x[:0], [x[:0]]):
        with pytest.raises(ValueError, match='at least one input'):
            convert(net, empty)
    with pytest.raises(ValueError, match='calibration must be finite'):
        convert(net, [x, x * torch.nan])
    with pytest.raises(ValueError, match=r"calibration must give 1 tensors a batch, got \['str'\]"):
        convert(net, ['x'])
    with pytest.raises(ValueError, match='one row per input'):
        convert(net, torch.tensor(1.0))
    with pytest.raises(
        ConversionError, match=r'module 0 \(Linear\) .*float64 on cpu \(the model is torch.float32 on cpu'
    ):
        convert(net, x.double())
    with pytest.raises(ConversionError, match=r'module 0 \(Linear\) .*on cpu \(the model is torch.float32 on meta'):
        convert(copy.deepcopy(net).to('meta'), x)
    snn = convert(net, x)
    for run in (snn, snn.simulator()):
        with pytest.raises(ValueError, match='T must be >= 1'):
            run(x, 0)


def test_scripts_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        script = torch.jit.script(nn.ReLU())
    for modules in (None, 'auto'):
        with pytest.raises(ConversionError, match='TorchScript module; give the module that it was made from'):
            convert(script, torch.rand(4, 3), modules=modules)
