"""NIR, the Neuromorphic Intermediate Representation: networks as its graphs, and graphs of any library as networks.

Needs nir (`pip install 'snnkern[adapters]'`). What fits into it, and how libraries read it: docs/exchange.md.
"""

import contextlib
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from snnkern import _files
from snnkern._checks import finite, positive
from snnkern.adapters.nir.export import Exporting, Signal, graphs
from snnkern.adapters.nir.fold import fold_scales
from snnkern.adapters.nir.neurons import READINGS
from snnkern.adapters.nir.reading import Importing, flattened
from snnkern.convert import SNN
from snnkern.convert.layers import Spiking
from snnkern.nn import Neuron
from snnkern.surrogates import Surrogate

__all__ = ['from_nir', 'read', 'to_nir', 'write']


def to_nir(model: nn.Module, sample: Tensor, dt: float = 1e-4, portable: bool = False) -> Any:
    """A network as a `nir.NIRGraph`; `model` stays as it is, and is taken in eval mode.

    model: modules of torch and neurons of snnkern.nn in any forward that torch.fx traces, shortcuts included, or a
    converted `SNN` whose neurons emit 0 or 1 (recipe "plain_if" and the like). sample: an input, for the shapes:
    [T, B, ...], or [B, ...] of an SNN and of neurons with step_mode "s". dt: seconds that a step stands for; what NIR
    writes in seconds is in proportion to it (snnTorch and SpikingJelly read 1e-4, Norse 1e-3, sinabs 1).

    What NIR cannot say (soft reset, strictness, surrogate, potential before the first step, real units) stands in
    metadata, so that `from_nir` gives the same spikes to the bit; others read the rest. portable: everything must
    stand in what others read: thresholds of real units go into the weights behind, in place of a Scale node that few
    readers know, and what only metadata can say raises. Weights become float32, those of a float64 model too.

    Raises ImportError without nir; ValueError, naming the layer, for what NIR cannot say, for numbers that are not
    finite, and for a sample that the model does not take. Example: `graph = to_nir(net, x)`, `write(graph, 'net.nir')`.
    Source: Pedersen et al., Nature Communications 2024.
    """
    nir = library()
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module, got {type(model).__name__}')
    if not isinstance(sample, Tensor):
        raise TypeError(f'sample must be a tensor, got {type(sample).__name__}')
    positive('dt', dt)
    lead = _lead(model)
    if sample.dim() <= lead:
        wanted = '[T, B, ...]' if lead == 2 else '[B, ...]'
        raise ValueError(f'sample must be {wanted}, got shape {tuple(sample.shape)}')
    work = Exporting(nir, dt, portable)
    shape = tuple(sample.shape[lead:])
    values: Any = (Signal((work.add('input', nir.Input(np.array(shape)), (), shape),), lead),)
    for net in graphs(model, sample):
        values = work.run(net, values)
    if not isinstance(values, Signal):
        raise ValueError('model must return one tensor that depends on its input')
    shape = work.shapes[values.terms[0]]
    work.add('output', nir.Output(np.array(shape)), values.terms, shape)
    if portable:
        fold_scales(work)
    # NIR's own check of shapes, which came with 1.0.5, takes groups for a mistake.
    return nir.NIRGraph(work.nodes, work.edges, **_unchecked(nir.NIRGraph, any(map(_grouped, work.nodes.values()))))


def from_nir(
    graph: Any,
    *,
    like: str | None = None,
    dt: float | None = None,
    reset: str | None = None,
    v_min: float | None = None,
    surrogate: Surrogate | None = None,
) -> fx.GraphModule:
    """The network of a NIR graph, or of a file of one; it maps [T, B, ...] to [T, B, ...].

    graph: a `nir.NIRGraph` or a path. like: the library whose reading of NIR to follow, "spikingjelly", "snntorch",
    "norse" or "sinabs" (docs/exchange.md compares them), or "nir": its equations as they are written, one Euler step
    of dt. None: our own metadata where `to_nir` has left them and the numbers still fit, "nir" elsewhere. dt: seconds
    of a step; None: as in the reading, and 1 for an IF with r = 1. reset: "soft" or "hard" (to v_reset, 0 where there
    is none); None: as in the reading; NIR itself resets by subtraction before 1.0.5, and to v_reset since. v_min: a
    lower bound of the potential (with a soft reset), -inf for none; None: as in the reading. surrogate: for training;
    None: that of the metadata, else ATan(2).

    The network is in eval mode; its layers have the names of the nodes. `snnkern.nn.reset(net)` before another input.
    An input that repeats one step (`x.expand(T, ...)`) is computed once up to the first neuron.

    Raises ImportError without nir; FileNotFoundError; ValueError, naming the node, for a file that is no NIR graph,
    nodes that are not supported, recurrence, parameters that are not finite, and a tau below dt.
    Example: `net = from_nir('scnn_mnist.nir', like='sinabs')`, then `net(x).sum(0)`.
    """
    library()
    if like is not None and like not in READINGS:
        raise ValueError(f'like must be one of {", ".join(READINGS)} or None, got {like!r}')
    if reset not in (None, 'soft', 'hard'):
        raise ValueError(f"reset must be 'soft', 'hard' or None, got {reset!r}")
    if dt is not None:
        positive('dt', dt)
    if v_min is not None and v_min != -math.inf:
        finite('v_min', v_min)
    soft = False
    if isinstance(graph, str | Path):
        graph, soft = read(graph), not _says(Path(graph), 'v_reset')
    if type(graph).__name__ != 'NIRGraph':
        raise TypeError(f'graph must be a nir.NIRGraph or a path, got {type(graph).__name__}')
    nodes, edges = flattened(graph.nodes, graph.edges)
    return Importing(nodes, edges, like, dt, reset, v_min, surrogate, soft).build()


def write(graph: Any, path: str | Path) -> None:
    """Write a graph into a file (HDF5) that every NIR library reads; it is whole or not there.

    Raises FileNotFoundError if the folder is missing, IsADirectoryError if the path is one.
    Example: `write(to_nir(net, x), 'net.nir')`.
    """
    nir, path = library(), Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'path must be a file, got the folder {path}')
    if not path.parent.is_dir():
        raise FileNotFoundError(f'path must be in a folder that exists, got {path}')
    _files.write(path, lambda p: nir.write(p, graph))


def read(path: str | Path) -> Any:
    """The `nir.NIRGraph` of a file. Raises FileNotFoundError, and ValueError for a file that is no NIR graph."""
    nir, path = library(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'path must be a NIR file, got {path}')
    with _reading(path):
        return nir.read(path, **_unchecked(nir.read))


def library() -> Any:
    """nir. Raises ImportError, naming what to install, without it."""
    try:
        import nir
    except ImportError:
        raise ImportError("NIR exchange needs nir: pip install 'snnkern[adapters]'") from None
    return nir


def _unchecked(function: Any, wanted: bool = True) -> dict[str, bool]:
    """The argument of nir that leaves out its check of shapes, where it has one."""
    return {'type_check': False} if wanted and 'type_check' in inspect.signature(function).parameters else {}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """ValueError, naming the file, in place of what h5py and nir raise for broken ones, which is of many kinds."""
    try:
        yield
    except Exception as error:
        # nir before 1.0.5 knows no v_reset, and says so by a TypeError.
        raise ValueError(f'{path} is no NIR graph that nir {library().version} reads: {error}') from error


def _grouped(node: Any) -> bool:
    return getattr(node, 'groups', 1) != 1


def _says(path: Path, field: str) -> bool:
    """Whether any node of a file has a field."""
    import h5py

    with _reading(path), h5py.File(path) as file:
        return file.visit(lambda name: True if name.rpartition('/')[2] == field else None) is True


def _lead(model: nn.Module) -> int:
    """How many dimensions of an input are time and batch."""
    if isinstance(model, SNN):
        return 1
    modes = {m.step_mode for m in model.modules() if isinstance(m, Neuron)}
    if any(isinstance(m, Spiking) for m in model.modules()):
        raise ValueError('model must be a whole SNN, got a part of one')
    if len(modes) > 1:
        raise ValueError('model must have neurons of one step_mode, got both "m" and "s"')
    return 1 if modes == {'s'} else 2
