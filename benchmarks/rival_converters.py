"""Other libraries' converters, on a network that they accept: SpikingJelly's and BrainCog's.

Both find nn.ReLU modules only and make one neuron of each, so `relu_modules` gives every call of relu a module of its
own. What they convert runs for any T.
"""

import contextlib
import copy
import io
import operator
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

Batches = list[tuple[Tensor, Tensor]]
BALANCING = 390  # batches: as many as SpikingJelly's own example of threshold balancing has (50,000 images)


class Rival(NamedTuple):
    """A converter in one of its modes. convert(net, batches) gives the network; package: what it imports."""

    name: str
    package: str
    convert: Callable[[fx.GraphModule, Batches], nn.Module]


def relu_modules(net: nn.Module) -> fx.GraphModule:
    """The same network and weights in the modules that both accept: each call of relu is an nn.ReLU of its own.

    SpikingJelly also refuses adaptive_avg_pool2d and pad as functions: the one becomes a module, the other (zeros for
    new channels, as many on each side) a concatenation with zeros. Outputs are equal to the bit.
    """
    twin = fx.symbolic_trace(copy.deepcopy(net))
    for i, node in enumerate(list(twin.graph.nodes)):
        with twin.graph.inserting_before(node):
            new = _accepted(twin, node, f'site_{i}') if node.op == 'call_function' else None
        if new is not None:
            node.replace_all_uses_with(new)
            twin.graph.erase_node(node)
    twin.recompile()
    return twin.eval()


def _accepted(twin: fx.GraphModule, node: fx.Node, name: str) -> fx.Node | None:
    """What takes the place of a call, or None if it stays."""
    make: dict[Any, Callable[[], nn.Module]] = {
        F.relu: nn.ReLU,
        torch.relu: nn.ReLU,
        F.adaptive_avg_pool2d: lambda: nn.AdaptiveAvgPool2d(node.args[1]),  # type: ignore[arg-type]
    }
    x: Any = node.args[0]
    if node.target in make:
        twin.add_submodule(name, make[node.target]())
        return twin.graph.call_module(name, (x,))
    if node.target is not F.pad:
        return None
    *others, before, after = node.args[1]  # type: ignore[misc]
    assert (any(others), before) == (False, after), node.format_node()
    some = twin.graph.call_function(operator.getitem, (x, (slice(None), slice(0, before))))
    zeros = twin.graph.call_function(operator.mul, (some, 0.0))
    return twin.graph.call_function(torch.cat, ((zeros, x, zeros), 1))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and warnings."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _rate_coding(net: fx.GraphModule, batches: Batches, **options: Any) -> nn.Module:
    from spikingjelly.activation_based import ann2snn

    return ann2snn.Converter(ann2snn.RateCodingRecipe(batches, **options)).convert(net).eval()


def _balanced(net: fx.GraphModule, batches: Batches) -> nn.Module:
    """Thresholds move a step with every batch, so the calibration images come in many batches."""
    from spikingjelly.activation_based import ann2snn

    x, g = torch.cat([x for x, _ in batches]), torch.Generator().manual_seed(0)
    drawn = [x[torch.randperm(len(x), generator=g)[:32]] for _ in range(BALANCING)]
    return ann2snn.Converter(ann2snn.LocalThresholdBalancingRecipe(drawn)).convert(net).eval()


def _braincog(net: fx.GraphModule, batches: Batches, **options: Any) -> nn.Module:
    from braincog.base.conversion import Convertor

    # It reads one batch, and calls view(-1), which channels-last activations refuse.
    whole = [tuple(torch.cat(parts).contiguous() for parts in zip(*batches, strict=True))]
    return Convertor(whole, device='cpu', lipool=True, soft_mode=True, merge=True, batch_num=1, **options)(net)


SJ, BC = 'spikingjelly', 'braincog'
ROBUST = {'mode': '99.9%', 'channel_wise': True, 'pre_spike_maxpool': True, 'half_threshold': True}
RIVALS = (
    Rival('SpikingJelly, Max (default)', SJ, _rate_coding),
    Rival('SpikingJelly, 99.9 %', SJ, partial(_rate_coding, mode='99.9%')),
    Rival('SpikingJelly, channels, theta/2', SJ, partial(_rate_coding, **ROBUST)),
    Rival('SpikingJelly, balanced (CVPR 2025)', SJ, _balanced),
    Rival('BrainCog, p .99, gamma 5', BC, partial(_braincog, p=0.99, gamma=5)),
    Rival('BrainCog, defaults (IF)', BC, _braincog),
)


def convert(rival: Rival, net: nn.Module, batches: Batches) -> nn.Module:
    """The spiking network that a rival makes of a network's twin. Raises ImportError if it is not installed."""
    with quiet(), torch.no_grad():
        return rival.convert(relu_modules(net), batches)


def reset(net: nn.Module) -> None:
    """Forget all potentials, the way that the library does it."""
    if isinstance(own := getattr(net, 'reset', None), Callable):  # type: ignore[arg-type]
        own()
        return
    from spikingjelly.activation_based.functional import reset_net

    reset_net(net)


def steps(net: nn.Module, x: Tensor, T: int) -> Iterator[Tensor]:
    """The outputs [B, classes] of T steps, from a fresh start: both libraries' examples call the network T times."""
    reset(net)
    for _ in range(T):
        yield net(x)


def mean_output(net: nn.Module, x: Tensor, T: int) -> Tensor:
    """Mean output [B, classes] of T calls."""
    found = steps(net, x, T)
    total = next(found)
    for out in found:
        total = total + out
    return total / T


def many_steps(net: nn.Module, x: Tensor, T: int) -> Tensor:
    """Mean output [B, classes] of T steps by one call, in SpikingJelly's multi-step mode."""
    from spikingjelly.activation_based.functional import set_step_mode

    set_step_mode(net, 'm')
    reset(net)
    return net(x.expand(T, *x.shape)).mean(0)
