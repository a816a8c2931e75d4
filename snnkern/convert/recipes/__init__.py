"""Conversion recipes: one function each, which returns a `Recipe`.

`convert(model, calibration, recipe='default')` takes a name, or what one of these functions returns:
`convert(model, calibration, recipe=recipes.default(tolerance=0.2))`.
"""

from collections.abc import Callable

from snnkern.convert.recipe import Recipe
from snnkern.convert.recipes.calibration import calibration
from snnkern.convert.recipes.default import default
from snnkern.convert.recipes.ijcai22 import ijcai22
from snnkern.convert.recipes.lenet_norm import lenet_norm
from snnkern.convert.recipes.msat import msat
from snnkern.convert.recipes.offsets import cos, srp
from snnkern.convert.recipes.qcfs import qcfs
from snnkern.convert.recipes.spicalib import spicalib
from snnkern.convert.recipes.thresholds import channelwise, layerwise, mse, plain_if, spiking_yolo

ALL = (
    default,
    plain_if,
    layerwise,
    channelwise,
    mse,
    calibration,
    ijcai22,
    lenet_norm,
    spiking_yolo,
    qcfs,
    srp,
    cos,
    spicalib,
    msat,
)
RECIPES: dict[str, Callable[..., Recipe]] = {function.__name__: function for function in ALL}

__all__ = ['RECIPES', 'named', *RECIPES]


def named(recipe: str | Recipe) -> Recipe:
    """A recipe by name with its defaults, or the recipe itself. Raises ValueError for an unknown name."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f'recipe must be a Recipe or one of {", ".join(RECIPES)}, got {recipe!r}')
    return RECIPES[recipe]()
