"""What a detector is to the programs: a network, its head, and what its maps mean."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from snnkern.convert import SNN
from snnkern.models import MODELS, WeightsError
from snnkern.models.boxes import Head
from snnkern.models.fastestdet import FastestDet
from snnkern.models.tiny_yolo import TinyYolo

NETWORKS = tuple(name for name, entry in MODELS.items() if entry.task == 'detect')
# The convolution of a network whose output channels say how many classes there are.
LAST = {'tiny-yolo': 'maps.weight', 'fastestdet': 'detect_head.cls_layers.conv5x5.3.weight'}


class Detector(NamedTuple):
    """A detector and what is to be known of it.

    name: a key of `snnkern.models.MODELS`. net: the ANN in eval mode; None: there is only the SNN, which was trained
    on. head: reads the maps of both. classes: names of the labels. size: (H, W) of the images that it takes. snn: the
    converted network, where there is one. facts: file and sha256 of the weights, and what was saved with them, as JSON.
    """

    name: str
    net: nn.Module | None
    head: Head
    classes: tuple[str, ...]
    size: tuple[int, int]
    snn: SNN | None
    facts: dict[str, Any]

    def check(self) -> None:
        """Raise ValueError where there is no ANN."""
        if self.net is None:
            raise ValueError(f'{self.facts["file"]} holds a spiking network that was trained on, and no ANN')

    @property
    def ann(self) -> nn.Module:
        """The ANN. Raises what `check` raises."""
        self.check()
        assert self.net is not None
        return self.net


def width_of(net: nn.Module) -> int | None:
    """Channels of the first convolution, of a network that has several widths."""
    return net.state_dict()['stages.0.0.weight'].shape[0] if isinstance(net, TinyYolo) else None


def known_of(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The classes and the size that a file tells. Raises LookupError or TypeError for what is none."""
    classes, size = facts['classes'], facts['size']
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f'classes: expected a list of names, got {classes!r}')
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise TypeError(f'size: expected height and width, got {size!r}')
    return tuple(classes), (size[0], size[1])


def built(name: str, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of that name with these tensors in eval mode; shapes say its width, classes and anchors.

    Raises WeightsError, naming the file, for another name and tensors that are of no such network.
    """
    makers: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
        'tiny-yolo': _tiny_yolo,
        'fastestdet': _fastestdet,
    }
    if name not in makers:
        raise WeightsError(f'{path}: no detector {name!r}, expected one of {", ".join(makers)}')
    try:
        net = makers[name](tensors)
        uncounted = {key: t for key, t in net.state_dict().items() if key.endswith('num_batches_tracked')}
        net.load_state_dict({**uncounted, **tensors})
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        reason = ' '.join(' '.join(str(error).splitlines()[:2]).split()) or type(error).__name__
        raise WeightsError(f'{path} is not of {name} ({reason})') from error
    return net.eval()


def _tiny_yolo(tensors: Mapping[str, Tensor]) -> TinyYolo:
    width, channels = tensors['stages.0.0.weight'].shape[:2]
    last, maps, anchors = (len(tensors[key]) for key in ('stages.7.0.weight', LAST['tiny-yolo'], 'head.anchors'))
    if maps % anchors or maps // anchors <= 5:
        raise ValueError(f'{maps} channels are not those of {anchors} anchors')
    return TinyYolo(channels, maps // anchors - 5, width, last // width, anchors)


def _fastestdet(tensors: Mapping[str, Tensor]) -> FastestDet:
    return FastestDet(num_classes=len(tensors[LAST['fastestdet']]))
