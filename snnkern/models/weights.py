"""Trained weights from files: checkpoints of torch, safetensors, and members of an archive."""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnkern._archives import archive, unpacked
from snnkern.models.registry import MODELS, build

CHECKPOINTS = ('.pt', '.pth', '.th')
WRAPPERS = ('state_dict', 'model_state_dict', 'model')
METADATA = 'snnkern'
ANCHORS = 'head.anchors'


class WeightsError(RuntimeError):
    """Trained weights are missing, broken, or of another network."""


def read_weights(path: str | Path, name: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file of trained weights by their names.

    path: a checkpoint of torch (.pt, .pth, .th), a .safetensors file, or a .zip archive of such files. name: of
    the member to read from an archive; its whole path, or how its file name starts before a `-` or `.`
    ('resnet20' finds cifar10_resnet/resnet20-12fca82f.th). Checkpoints are read with weights_only=True, so
    nothing in them is run; a dictionary around them ('state_dict', 'model_state_dict', 'model') and the prefix
    `module.` of their names are taken off. Raises WeightsError for a file that is missing, broken or of
    another kind, and for a member that is not there.

    Example: `read_weights('pretrained_weights.zip', 'resnet20')['linear.bias'].shape  # [10]`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f'no file {path}')
    try:
        if path.suffix != '.zip':
            return _tensors(path.read_bytes(), path.suffix)
        with archive(path) as members:
            member = _member(members.namelist(), name)
            return _tensors(unpacked(members, member), Path(member).suffix)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error.__cause__
    except Exception as error:  # what torch, pickle and zipfile raise for broken files is of many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f'{path} is broken or holds no weights ({reason})') from error


def load_weights(net: nn.Module, path: str | Path, name: str | None = None) -> nn.Module:
    """The network with the weights of a file (see read_weights) put into it; the same object, in eval mode.

    Raises WeightsError, leaving the network as it was, if names or shapes differ; weights for another number
    of classes are named as such. Example: `load_weights(build('resnet20'), 'pretrained_weights.zip', 'resnet20')`.
    """
    tensors, own = read_weights(path, name), net.state_dict()
    # Checkpoints from before torch 0.4.1 do not count batches, and nothing in eval mode reads the count.
    missing = [key for key in own if key not in tensors and not key.endswith('num_batches_tracked')]
    extra = [key for key in tensors if key not in own]
    if missing or extra:
        kind = type(net).__name__
        raise WeightsError(f'{path} is of another network than {kind}: no {_some(missing)}; not known: {_some(extra)}')
    for key, tensor in tensors.items():
        if tensor.shape != own[key].shape:
            raise WeightsError(f'{path}: {_of_boxes(tensors, own) or _misfit(key, tensor, own)}')
    net.load_state_dict({**own, **tensors})
    return net.eval()


def load_trained(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """A network of the registry from a file that snnkern's training wrote, in eval mode, and its metadata.

    The metadata say which network it is (model, in_channels, num_classes, width), how it was trained and its
    test score. Raises WeightsError for a file that is missing, broken or has no such metadata.
    Example: `net, facts = load_trained('resnet18.safetensors'); facts['test_score']`.
    """
    facts = read_metadata(path)
    sizes = {key: facts.get(key) for key in ('in_channels', 'num_classes', 'width')}
    name = str(facts.get('model'))
    if name not in MODELS:
        raise WeightsError(f'{path}: no network {name!r}, expected one of {", ".join(MODELS)}')
    try:
        net = build(name, **sizes)
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise WeightsError(f'{path}: no {name} of {sizes}') from error
    return load_weights(net, path), facts


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What snnkern's training wrote beside the weights of a .safetensors file; WeightsError if there is none."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f'no file {path}')
    try:
        with path.open('rb') as file:
            (size,) = struct.unpack('<Q', file.read(8))
            header = json.loads(file.read(min(size, path.stat().st_size)))
        return dict(json.loads(header['__metadata__'][METADATA]))
    except Exception as error:  # of any kind: the header may be whatever JSON can say
        raise WeightsError(f'{path} has no metadata of snnkern: expected a .safetensors file that it wrote') from error


def _tensors(content: bytes, suffix: str) -> dict[str, Tensor]:
    if suffix == '.safetensors':
        state: Any = _safetensors(content)
    elif suffix in CHECKPOINTS:
        if zipfile.is_zipfile(io.BytesIO(content)):
            archive(io.BytesIO(content)).close()
        state = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    else:
        raise WeightsError(f'expected .safetensors, {", ".join(CHECKPOINTS)} or .zip, got {suffix or "no suffix"}')
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(map(_plain, state.values())):
        raise WeightsError('holds no dictionary of tensors')
    return {key.removeprefix('module.'): tensor for key, tensor in state.items()}


def _plain(value: Any) -> bool:
    """Whether it is a tensor that can be copied into a parameter."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized)


def _safetensors(content: bytes) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError:
        raise WeightsError('needs safetensors: pip install safetensors') from None
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _member(members: list[str], name: str | None) -> str:
    weights = [m for m in members if Path(m).suffix in (*CHECKPOINTS, '.safetensors')]
    starts = tuple(f'{name}{end}' for end in '-.')
    found = [m for m in weights if name is None or m == name or Path(m).name.startswith(starts)]
    if len(found) != 1:
        count = len(found) or 'no'
        raise WeightsError(f'{count} members for {name or "any network"}, expected one; it holds {", ".join(weights)}')
    return found[0]


def _some(keys: list[str]) -> str:
    return ', '.join(keys[:3]) + (f' and {len(keys) - 3} more' if len(keys) > 3 else '') if keys else '-'


def _of_boxes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """How weights of a detector with anchors differ in classes and anchors, in words; empty if in something else."""
    last = list(own)[-1]
    if ANCHORS not in own:
        return ''
    (theirs, ours) = ((len(of[last]) // len(of[ANCHORS]) - 5, len(of[ANCHORS])) for of in (tensors, own))
    words = '{} classes with {} anchors'.format
    return '' if theirs == ours else f'the weights are for {words(*theirs)}, the network has {words(*ours)}'


def _misfit(key: str, tensor: Tensor, own: Mapping[str, Tensor]) -> str:
    got, wanted = list(tensor.shape), list(own[key].shape)
    head = list(own)[-1].rpartition('.')[0]
    hint = ''
    if key.rpartition('.')[0] == head and got[1:] == wanted[1:]:
        hint = f': the weights are for {got[0]} classes, num_classes is {wanted[0]}'
    return f'{key} is {got} in the file and {wanted} in the network{hint}'
