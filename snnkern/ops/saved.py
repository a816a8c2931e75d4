"""Spikes that autograd saves, kept as bits: hooks on saved tensors, and tags on the memory that neurons write.

A spike tensor is saved by the layer that reads it (a convolution, a pool), often as a view: tags and packed data belong
to its storage. A storage is known by the address of its C++ object, which a weak reference keeps from being used anew.
"""

import threading
from contextlib import ContextDecorator, ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import Parameter

from snnkern._checks import whole
from snnkern.backends import layout
from snnkern.backends.native.device import frugal
from snnkern.fires import Fire
from snnkern.neurons import Program
from snnkern.ops._library import plain
from snnkern.ops.pack import PackedSpikes, smallest, try_pack, unpack

SMALLEST = 4096  # bytes; below, a packed tensor saves less than its bookkeeping takes


class Tag(NamedTuple):
    """That a storage held spikes at this version of its tensor."""

    storage: StorageWeakRef
    version: int
    kind: str
    scale: float


class _Tags(threading.local):
    """The tags of a thread, while a context is open there (hooks are a thread's own, too)."""

    def __init__(self) -> None:
        self.depth = 0
        self.of: dict[int, Tag] = {}
        self.limit = 64
        self.memory = ExitStack()

    def put(self, t: Tensor, kind: str, scale: float) -> None:
        if len(self.of) >= self.limit:
            self.of = {key: tag for key, tag in self.of.items() if not tag.storage.expired()}
            self.limit = 64 + 2 * len(self.of)
        storage = StorageWeakRef(t.untyped_storage())
        self.of[storage.cdata] = Tag(storage, t._version, kind, scale)

    def get(self, t: Tensor) -> Tag | None:
        """The tag of the storage of t, unless it was changed since."""
        tag = self.of.get(t.untyped_storage()._cdata)
        return tag if tag is not None and tag.version == t._version else None


_tags = _Tags()


def mark(s: Tensor, spec: str) -> None:
    """Tag spikes if a context is open. spec: of the neuron that emitted them."""
    if not torch.compiler.is_compiling() and _tags.depth and plain(s) and not s.is_inference():
        found = _kind(spec)
        if found is not None:
            _tags.put(s, *found)


def tag(out: Tensor, like: Tensor, scale: float | None = None) -> Tensor:
    """out, tagged as `like` is: for ops whose outputs are values of their input, as those of a maximum are.

    scale: what the op takes one spike to be worth; where that is not what it is worth, out is left alone.
    """
    if not torch.compiler.is_compiling() and _tags.depth and plain(out, like) and not out.is_inference():
        found = _tags.get(like)
        if found is not None and scale in (None, found.scale):
            _tags.put(out, found.kind, found.scale)
    return out


def _kind(spec: str) -> tuple[str, float] | None:
    """How the spikes of a neuron are packed, and what one is worth; None: not at all."""
    program = Program.parse(spec)
    fire: Fire = program.neuron.fire
    if program.connect == 'sew':  # what was added may be anything
        return None
    scale = 1.0
    if fire.real_units:
        if 'v_threshold' in program.names or fire.v_threshold <= 0:
            return None
        scale = float(fire.v_threshold)
    up, down = fire.most, fire.negative.count if fire.negative else 0
    if down:
        return ('signed', scale) if max(up, down) <= 127 else None
    return ('bits', scale) if up == 1 else ('counts', scale) if up <= 255 else None


@dataclass(frozen=True)
class SavedReport:
    """What a `compress_saved_spikes` has seen: distinct pieces of memory that autograd saved within it."""

    tensors: int = 0
    compressed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __str__(self) -> str:
        before, after = self.bytes_before / 2**20, self.bytes_after / 2**20
        return f'{self.compressed} of {self.tensors} saved tensors as bits or bytes: {before:.1f} -> {after:.1f} MiB'


class _Piece:
    """A piece of memory that was saved, packed or not. storage: where it was (keeps the key from being used anew)."""

    def __init__(self, t: Tensor, packed: tuple[Tensor, str, float] | None) -> None:
        self.storage = StorageWeakRef(t.untyped_storage())
        self.n, self.dtype, self.packed = t.numel(), t.dtype, packed
        self.unpacked: StorageWeakRef | None = None

    def restore(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        """The packed values as a tensor; memory that an earlier call unpacked is used while it lives."""
        assert self.packed is not None
        data, kind, scale = self.packed
        alive = None if self.unpacked is None else torch.UntypedStorage._new_with_weak_ptr(self.unpacked.cdata)
        if alive is not None:
            return torch.empty(0, dtype=self.dtype, device=data.device).set_(alive, 0, shape, strides)
        x = unpack(PackedSpikes(data, kind, scale, shape, strides, self.dtype))
        self.unpacked = StorageWeakRef(x.untyped_storage())
        return x


class _Packed(NamedTuple):
    """What autograd keeps of a tensor whose memory is packed."""

    piece: _Piece
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def restore(self) -> Tensor:
        return self.piece.restore(self.shape, self.strides)


class _Kept(NamedTuple):
    """A tensor as it is: detached, or it would keep itself alive. Under hooks, autograd leaves its check to them."""

    piece: _Piece | None
    tensor: Tensor
    version: int

    def restore(self) -> Tensor:
        t = self.tensor
        if t._version != self.version:
            raise RuntimeError(
                f'a tensor that backward needs was changed in place: shape {tuple(t.shape)}, {t.dtype}, at version '
                f'{t._version}, expected {self.version} (saved within compress_saved_spikes)'
            )
        return t


class compress_saved_spikes(ContextDecorator):  # noqa: N801 (a context manager, read as a verb)
    """Within it, autograd keeps spikes as one bit each (one byte where they count) until backward, exactly.

    A convolution, linear layer or pool that reads spikes saves them for its backward, 4 bytes each. Here they are
    packed when they are saved, once for all layers that read them, and unpacked when backward needs them; gradients
    are equal to the bit. On CPUs every floating tensor of at least min_bytes is tried, and left alone from its first
    value that is no spike on. On GPUs, where a look would wait for the device, those are packed that snnkern's neurons
    and pools wrote and nobody changed since (changes through `.data` or raw pointers are not seen). Parameters, views
    with gaps and subclasses of Tensor are left alone, and spikes in real units of a threshold that is a tensor.

    Open it around forward; backward may run outside. It can be nested, also as a decorator, belongs to a thread as all
    hooks do, and allows double backward and `torch.utils.checkpoint`. Packed spikes are copies: changing the tensor in
    place before backward is no error then, and gradients are those of what was saved. For others it raises RuntimeError
    in backward as without the context. torch.func's transforms refuse to run under hooks. Around a function from
    torch.compile the hooks see what its graph saves: spikes are found by content on CPUs, and kept as they are on GPUs.

    min_bytes: of the smallest tensor that is packed. `report()` says what was saved. Raises ValueError for a bad
    min_bytes. Example: `with snnkern.compress_saved_spikes() as saved: loss = net(x).mean()`, then
    `loss.backward(); print(saved.report())`.
    """

    def __init__(self, min_bytes: int = SMALLEST) -> None:
        whole('min_bytes', min_bytes, at_least=0)
        self.min_bytes = min_bytes
        # Hooks run beside compiled functions, whose compiler would follow them.
        save, restore = (torch.compiler.disable(hook) for hook in (self._save, lambda saved: saved.restore()))
        self._hooks = torch.autograd.graph.saved_tensors_hooks(save, restore)
        self._pieces: WeakValueDictionary[tuple[Any, ...], _Piece] = WeakValueDictionary()
        self._report = SavedReport()

    def __enter__(self) -> 'compress_saved_spikes':
        self._hooks.__enter__()
        if not _tags.depth:
            _tags.memory.enter_context(frugal())  # spikes go once they are packed: blocks that wait would be the peak
        _tags.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
        _tags.depth -= 1
        if not _tags.depth:
            _tags.of.clear()
            _tags.memory.close()

    def report(self) -> SavedReport:
        """What was saved until now, since this object was made."""
        return self._report

    def _save(self, t: Tensor) -> _Packed | _Kept:
        if t.layout is not torch.strided or not plain(t) or t.is_neg():
            return _Kept(None, t.detach(), t._version)
        key = t.untyped_storage()._cdata, t.storage_offset(), t.numel(), t.dtype, t._version
        piece = self._pieces.get(key)
        if piece is None:
            piece = self._pieces[key] = _Piece(t, self._packed(t))
            self._count(t, piece)
        if piece.packed is None or not _is_block(t):
            return _Kept(piece, t.detach(), t._version)
        return _Packed(piece, tuple(t.shape), t.stride())

    def _packed(self, t: Tensor) -> tuple[Tensor, str, float] | None:
        """The data, kind and scale of a tensor that holds spikes, as far as it may be looked at."""
        if not t.is_floating_point() or t.nbytes < self.min_bytes or not _is_block(t):
            return None
        if isinstance(t, Parameter) or isinstance(t._base, Parameter):
            return None
        tag = _tags.get(t)
        with torch.no_grad():
            if tag is not None:
                data = try_pack(t.detach(), tag.kind, tag.scale, t.is_cpu)
                return None if data is None else (data, tag.kind, tag.scale)
            found = smallest(t.detach(), 1.0) if t.is_cpu else None
            return None if found is None else (*found, 1.0)

    def _count(self, t: Tensor, piece: _Piece) -> None:
        before = min(t.nbytes, t.untyped_storage().nbytes())
        after = before if piece.packed is None else piece.packed[0].nbytes
        r = self._report
        self._report = SavedReport(
            r.tensors + 1, r.compressed + (piece.packed is not None), r.bytes_before + before, r.bytes_after + after
        )


def _is_block(t: Tensor) -> bool:
    return t.numel() > 0 and layout.dense(t.shape, t.stride())
