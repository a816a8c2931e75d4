"""In what order a plan runs: how many steps at a time, and how many images.

Layer by layer, all steps of a layer at once, reads weights once, but its spikes and currents may not fit the cache; in
chunks of a few steps they do, but weights that do not fit are read once a chunk. What is moved is counted, and the
order that moves least is taken.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from snnkern.backends.events import STEPS
from snnkern.engine.memory import slot_bytes, state_bytes
from snnkern.engine.plan import Plan

CACHE = 2**20  # where the machine does not say
LEAST = 2 * STEPS  # steps of a chunk: an event may stand for as many
CALL = 32 * 2**10  # bytes that are moved in the time that it takes to begin a chunk
TOGETHER = (1, 2, 4, 8)


@dataclass(frozen=True)
class Schedule:
    """chunk: steps at a time. together: images that a thread takes through a layer before the next. images: of a call
    of the program; larger batches are cut. places: for how many of them there is memory between the layers. moved:
    bytes to and from memory beyond the cache, of an image, as counted.
    """

    chunk: int
    together: int
    images: int
    places: int
    moved: float


@cache
def cache_bytes() -> int:
    """Of the cache of one core (its second level)."""
    found = Path('/sys/devices/system/cpu/cpu0/cache/index2/size')
    try:
        text = found.read_text().strip()
        return int(text.removesuffix('K')) * 2**10
    except (OSError, ValueError):
        return CACHE


def moved(plan: Plan, weights: int, steps: int, chunk: int, together: int, cache: int) -> float:
    """Bytes that an image moves beyond the cache. weights: their bytes; steps: of a call."""
    chunks = -(-steps // chunk)
    held = together * (slot_bytes(plan, 1, chunk) + state_bytes(plan, 1))
    total = float(CALL * (chunks - 1))
    if held > cache:  # written, and read by the next layer
        total += 2 * (slot_bytes(plan, 1, steps) + state_bytes(plan, 1) * chunks)
    if held + weights > cache:
        total += weights * chunks / together
    return total


def choose(
    plan: Plan,
    weights: int,
    steps: int,
    images: int,
    threads: int,
    limit: int,
    given: int | None = None,
    alone: bool = False,
) -> Schedule:
    """The order for a batch. limit: bytes that slots and states may take, but for one image and the shortest chunk.

    given: the chunk, if it is not to be chosen. alone: native code runs all layers, one behind the other: if all steps
    run at once, memory between the layers is used again for the next images.
    """
    room = cache_bytes()
    chunks = [min(given, steps)] if given else [steps, *(n for n in (64, 32, 16, LEAST) if n < steps)]
    fitting = [n for n in chunks if slot_bytes(plan, 1, n) + state_bytes(plan, 1) <= limit] or chunks[-1:]
    most = max(1, images // threads)
    each = {
        (chunk, together): moved(plan, weights, steps, chunk, together, room)
        for chunk in fitting
        for together in TOGETHER
        if together <= most
    }
    chunk, together = min(each, key=lambda way: each[way])
    if alone and chunk >= steps and images > threads * together:
        places = threads * together
        inner = slot_bytes(plan, 0, chunk, places) + state_bytes(plan, places)
        fit = max(1, (limit - inner) // max(1, slot_bytes(plan, 1, chunk, 0)))
        if fit > places:
            fit = min(images, fit)
            return Schedule(chunk, together, fit, places, each[chunk, together])
    fit = min(images, max(1, limit // (slot_bytes(plan, 1, chunk) + state_bytes(plan, 1))))
    return Schedule(chunk, together, fit, fit, each[chunk, together])
