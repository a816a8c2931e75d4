"""How an op enters torch: schema, implementation and fake in one call, and when to go around the dispatcher.

On plain tensors the caller runs the implementation directly (about 4 us less than through the dispatcher);
under torch.compile, fake tensors, make_fx or torch.func it calls the registered op.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LAYER = 'snnkern.layer'
_LIBRARY = torch.library.Library('snnkern', 'DEF')
_PLAIN = (Tensor, torch.nn.Parameter)
_batched = torch._C._functorch.is_legacy_batchedtensor  # of autograd.grad(is_grads_batched=True)


def plain(*tensors: Tensor | None) -> bool:
    """Whether all are real tensors (or None) and nothing is watching: only then may memory be touched directly."""
    if torch.compiler.is_compiling():
        return False
    for t in tensors:
        if t is not None and not (type(t) in _PLAIN and (t.is_cpu or t.is_cuda) and not _batched(t)):
            return False
    return torch._C._len_torch_dispatch_stack() == 0 and torch._C._functorch.peek_interpreter_stack() is None


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd must see this call: backward will be asked for, or forward-mode derivatives (jvp) are."""
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def define(name: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register the op `snnkern::name` and return it. It has no autograd: a Function outside calls it."""
    _LIBRARY.define(name + schema)
    _LIBRARY.impl(name, run, 'CompositeExplicitAutograd')
    torch.library.register_fake(f'snnkern::{name}', fake, lib=_LIBRARY)
    op: Callable[..., Any] = getattr(torch.ops.snnkern, name).default
    return op


def saved(ctx: Any) -> Any:
    """`ctx.saved_tensors`. Where one was changed in place since, the error names the layer, if it left its name in
    `grad_fn.metadata[LAYER]`."""
    if torch.compiler.is_compiling():
        return ctx.saved_tensors
    try:
        return ctx.saved_tensors
    except RuntimeError as error:
        if 'inplace operation' not in str(error):
            raise
        layer = ctx.metadata.get(LAYER, 'neurons')
        advice = 'backward reads it, so write x = x + y instead of x += y'
        raise RuntimeError(f'the input of {layer} was changed in place after the call; {advice} ({error})') from error
