"""How a net of Norse runs, and how two are compared."""

import torch

from snnkern.testing import assert_grads_close, assert_spikes_equal


def looped(net, x, state=None):
    """A net of single steps over x [T, ...]."""
    outputs = []
    for x_t in x:
        out, state = net(x_t, state)
        outputs.append(out)
    return torch.stack(outputs), state


def tensors(state):
    """All tensors of a state, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [one for part in state or () for one in tensors(part)]


def gradients(out, *inputs):
    torch.manual_seed(1)
    total = sum((one * torch.randn_like(one)).sum() for one in tensors(out) if one.requires_grad)
    return torch.autograd.grad(total, inputs)


def same(before, after, x, run=looped, exact=True, state=None):
    """Outputs and states of two nets equal, gradients of x and of all parameters close."""
    found = []
    for net in (before, after):
        out, last = run(net, x, state)
        found.append((out, tensors(last), gradients((out, last), x, *net.parameters())))
    (out, last, grads), (out_2, last_2, grads_2) = found
    assert out.std() > 0
    compare = assert_spikes_equal if exact else torch.testing.assert_close
    for actual, expected in zip([out_2, *last_2], [out, *last], strict=True):
        compare(actual.contiguous(), expected.contiguous())
    for i, (actual, expected) in enumerate(zip(grads_2, grads, strict=True)):
        assert_grads_close(actual.contiguous(), expected.contiguous(), 'sums' if i else None)


def called(net, x, state):
    return net(x, state)
