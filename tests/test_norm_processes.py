"""BatchNorm fused with its neuron over two processes: as one process with the whole batch. CPU tensors, gloo."""

import torch
from processes import found_by

import snnkern
from snnkern.nn import BatchNormNeuron
from snnkern.testing import assert_grads_close

T, B, C = 5, 6, 4
SPLIT = (2, 4)  # samples of each process: not the same number


def data():
    g = torch.Generator().manual_seed(3)
    shape = T, B, C, 6, 6
    return torch.randn(shape, generator=g) * 2 + 1, torch.randn(shape, generator=g)


def run(layer, x, upstream):
    x = x.clone().requires_grad_()
    s = layer(x)
    s.backward(upstream)
    return {'s': s.detach(), 'x': x.grad, **{f'grad {n}': p.grad for n, p in layer.named_parameters()},
            **dict(layer.named_buffers())}  # fmt: skip


def part(rank):
    layer = BatchNormNeuron(C, snnkern.Neuron(snnkern.LIF(2.0)), 'tebn', T=T, process_group='world')
    return run(layer, *(whole.split(SPLIT, 1)[rank] for whole in data()))


def test_two_processes_are_one(tmp_path):
    whole = run(BatchNormNeuron(C, snnkern.Neuron(snnkern.LIF(2.0)), 'tebn', T=T), *data())
    parts = found_by(part, len(SPLIT), tmp_path)
    for name in ('s', 'x'):
        joined = torch.cat([part[name] for part in parts], 1)
        assert_grads_close(joined, whole[name], 'sums')
    for name in ('grad weight', 'grad bias', 'grad scale'):  # of a process' own samples: DDP adds them up
        assert_grads_close(parts[0][name] + parts[1][name], whole[name], 'sums')
    for name in ('running_mean', 'running_var', 'num_batches_tracked'):
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], whole[name])
