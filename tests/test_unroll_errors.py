"""What `unroll` cannot do is said at the first call, before anything of the network has changed."""

import pytest
import torch
from torch import nn
from unrolled import Mlp, same

from snnkern.adapters._unroll import unroll

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed')


def small():
    return Mlp(lambda: snn.Leaky(0.9), 20, 30, 6)


class Faulty(nn.Module):
    """A forward that no order of layers can replace. fault: which."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.fc, self.back, self.drop = nn.Linear(6, 6), nn.Linear(6, 6), nn.Dropout(0.5)
        self.lif, self.hidden = snn.Leaky(0.9), snn.Leaky(0.9, init_hidden=True)
        self.kept = torch.zeros(())

    def forward(self, x):
        mem, spk, hidden = self.lif.init_leaky(), torch.zeros_like(x), x
        for _ in range(4):
            cur = self.fc(x)
            if self.fault == 'feedback':
                cur = cur + self.back(spk)
            elif self.fault == 'dropout':
                cur = self.drop(cur)
            elif self.fault == 'noise':
                cur = cur + torch.randn_like(cur)
            elif self.fault == 'values' and mem.numel() and mem.max() > 1:
                cur = cur * 0.5
            elif self.fault == 'kept':
                self.kept = cur
            elif self.fault == 'foreign':
                cur = cur + self.kept
            elif self.fault == 'autocast':
                with torch.autocast('cpu', torch.bfloat16):
                    cur = cur + self.back(cur)
            elif self.fault == 'written':
                cur[0].mul_(2)
            spk, mem = self.lif(cur, mem)
            if self.fault == 'leak':
                mem = mem * 0.9
            hidden = self.hidden(spk)
            if self.fault == 'reset between':
                self.hidden.reset_mem()
            elif self.fault == 'peek':
                hidden = hidden + self.hidden.mem
        return hidden


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('feedback', "module 'lif' does at a step depends on its own result of an earlier one"),
        ('leak', "module 'lif' does at a step depends on its own result of an earlier one, by way of call mul"),
        ('dropout', "module 'drop' draws random numbers"),
        ('autocast', 'forward switches autocast on or off'),
        ('written', 'call mul_ writes into a view'),
        ('noise', 'call randn_like draws random numbers'),
        ('values', 'reads the values of a tensor'),
        ('kept', r'forward of Faulty keeps something \(kept\)'),
        ('foreign', 'a tensor .* that is no input, parameter or buffer'),
        ('peek', "a state of 'hidden', which it did not return"),
        ('reset between', "a state of 'hidden', which it did not return"),
    ],
)
def test_what_cannot_be_unrolled(fault, message):
    net = Faulty(fault)
    fast, x = unroll(net), torch.rand(3, 6) * 4
    with pytest.raises(ValueError, match=message):
        fast(x)
    assert fast.hidden.mem.numel() == 0
    if fault == 'dropout':
        same(net.eval()(x), fast.eval()(x), [net.fc.weight])


def test_bad_arguments():
    with pytest.raises(TypeError, match=r'net must be a torch\.nn\.Module, got list'):
        unroll([])
    with pytest.raises(ValueError, match='num_steps must be an integer >= 1 or None, got 0'):
        unroll(small(), num_steps=0)
    with pytest.raises(ValueError, match='num_steps must be None where one_step=False'):
        unroll(small(), num_steps=3, one_step=False)
    with pytest.raises(ValueError, match='no neurons to accelerate'):
        unroll(nn.Linear(2, 2))


def test_the_check(monkeypatch):
    """A kernel that is wrong is found at the first call, and nothing of the attempt stays."""
    net = small()
    fast, x = unroll(net), torch.rand(3, 20) * 3
    many = type(fast.lif1).many
    monkeypatch.setattr(type(fast.lif1), 'many', lambda self, x, *args, **kwargs: many(self, x * 2, *args, **kwargs))
    with pytest.raises(RuntimeError, match='gives other results than the loop: output 0'):
        fast(x)
    assert fast.lif1.mem.numel() == 0
    unroll(net, check=False)(x)
