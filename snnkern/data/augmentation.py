"""Changes of an image and its mask together, made of torchvision's transforms."""

from collections.abc import Callable
from typing import Any, NamedTuple

from snnkern.data.cifar import IMAGENET_MEAN
from snnkern.data.common import DataError

Change = Callable[[Any, Any], tuple[Any, Any]]
Size = tuple[int, int]


class Strength(NamedTuple):
    """scale: range of the shorter side, in units of base. base: in units of the sample's. blur: how often."""

    scale: tuple[float, float]
    base: float
    blur: float


STRENGTHS = {
    'full': Strength((0.5, 2.0), 520 / 480, 0.5),
    'light': Strength((0.75, 1.5), 1.0, 0.0),
    'flip': Strength((1.0, 1.0), 1.0, 0.0),
}


def augmentation(augment: str | Change, size: Size, ignore: int) -> Change | None:
    """What changes training samples (image, mask) to samples of `size`, drawing from torch's default generator.

    augment: "full": flip half of them, scale the shorter side to .5 to 2 times 520/480 of the sample's, cut `size` out
    at random (missing pixels are the mean colour, of label `ignore`), blur half of them by a Gaussian of deviation
    .1 to 1. "light": flip, scale by .75 to 1.5, cut. "flip": only that, for few epochs. "none": None. A transform of
    torchvision v2 is taken as it is, and must give samples of `size`. Raises ValueError for another word, DataError
    without torchvision.

    Source: "full" is that of torchvision's segmentation reference with the blur of GluonCV's, as the segmentation SNN
    that this library covers has it (520 scaled, 480 cut). Example: `augmentation('light', (180, 240), 11)`.
    """
    v2, tv_tensors = transforms()
    if not isinstance(augment, str):
        return augment
    if augment == 'none':
        return None
    if augment not in STRENGTHS:
        raise ValueError(f'augment: expected one of {", ".join(STRENGTHS)}, none, got {augment!r}')
    scale, base, blur = STRENGTHS[augment]
    low, high = (max(1, round(factor * base * min(size))) for factor in scale)
    colour = [round(255 * mean) for mean in IMAGENET_MEAN]
    steps = [
        v2.RandomHorizontalFlip(0.5),
        v2.RandomResize(low, high + 1, antialias=True),
        v2.RandomCrop(size, pad_if_needed=True, fill={tv_tensors.Image: colour, tv_tensors.Mask: ignore}),
    ]
    if blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.0))], blur))
    return v2.Compose(steps)


class Resize:
    """Image and mask in one size, whatever shape they had: bilinear with antialiasing, and nearest.

    Example: `Resize((180, 240))(image, mask)`, of torchvision's tv_tensors.
    """

    def __init__(self, size: Size) -> None:
        self.size = size

    def __call__(self, image: Any, mask: Any) -> tuple[Any, Any]:
        return transforms()[0].Resize(self.size, antialias=True)(image, mask)


class Fit:
    """The middle of image and mask, scaled so that it is just covered; of a square: shorter side, centre cut.

    Example: `Fit((480, 480))(image, mask)`, of torchvision's tv_tensors.
    """

    def __init__(self, size: Size) -> None:
        self.size = size

    def __call__(self, image: Any, mask: Any) -> tuple[Any, Any]:
        v2, _ = transforms()
        old = mask.shape[-2:]
        factor = max(new / side for new, side in zip(self.size, old, strict=True))
        scaled = [max(new, round(side * factor)) for new, side in zip(self.size, old, strict=True)]
        return v2.Compose([v2.Resize(scaled, antialias=True), v2.CenterCrop(self.size)])(image, mask)


def same(image: Any, mask: Any) -> tuple[Any, Any]:
    """Image and mask as they are."""
    return image, mask


def transforms() -> tuple[Any, Any]:
    """torchvision's transforms.v2 and tv_tensors; DataError, naming the extra, without torchvision."""
    try:
        from torchvision import tv_tensors
        from torchvision.transforms import v2
    except ImportError:
        raise DataError("pictures need torchvision: pip install 'snnkern[vision]'") from None
    return v2, tv_tensors
