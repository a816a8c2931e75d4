"""How an op enters torch: schema, implementation and fake in one call, and when to go around the dispatcher.

On plain tensors the caller runs the implementation directly (about 4 us less than through the dispatcher);
under torch.compile, fake tensors, make_fx or torch.func it calls the registered op.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library('snnkern', 'DEF')
_PLAIN = (Tensor, torch.nn.Parameter)


def plain(x: Tensor) -> bool:
    """Whether x is a real tensor and nothing is watching: only then may memory be touched directly."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in _PLAIN
        and (x.is_cpu or x.is_cuda)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def define(name: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register the op `snnkern::name` and return it. It has no autograd: a Function outside calls it."""
    _LIBRARY.define(name + schema)
    _LIBRARY.impl(name, run, 'CompositeExplicitAutograd')
    torch.library.register_fake(f'snnkern::{name}', fake, lib=_LIBRARY)
    op: Callable[..., Any] = getattr(torch.ops.snnkern, name).default
    return op
