"""Contents that are broken in drawn ways, and what reading them must come to."""

import copy
import random
import signal
from contextlib import contextmanager

from snnkern.data import DataError
from snnkern.models import WeightsError
from snnkern.recipes.direct.checkpoint import CheckpointError

OURS = (DataError, WeightsError, CheckpointError, ValueError)
ODD = (None, -1, 0, 1.5, 1e308, 'x', '', [], {}, True, 10**30, ['x'], '../../x', 2**40)


def mutants(content, count):
    """Nothing, then so many contents with bits flipped, bytes overwritten (anywhere, in the first or the last 300),
    left out, or cut off."""
    rng, size = random.Random(0), len(content)
    yield b''
    for _ in range(count):
        part, kind = bytearray(content), rng.randrange(6)
        at, many = rng.randrange(size), rng.randrange(1, 64)
        if kind == 0:
            del part[at:]
        elif kind == 1:
            del part[at : at + many]
        elif kind == 2:
            part[at : at + many] = rng.randbytes(many)
        else:
            for _ in range(rng.choice((1, 1, 2, 8))):
                near = rng.randrange(min(size, 300))
                place = (at, near, size - 1 - near)[kind - 3]
                part[place] = part[place] ^ 1 << rng.randrange(8) if kind == 3 else rng.choice((0, 255, many))
        yield bytes(part)


def trees(tree, count):
    """What JSON says with one value, anywhere in it, taken out or turned into something odd."""
    rng = random.Random(0)
    places = [place for place in _places(tree) if place]
    for _ in range(count):
        new, place = copy.deepcopy(tree), rng.choice(places)
        node = new
        for key in place[:-1]:
            node = node[key]
        if rng.random() < 0.2:
            del node[place[-1]]
        else:
            node[place[-1]] = rng.choice(ODD)
        yield new
    yield from ([], 3, None)


def _places(tree, at=()):
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _places(value, (*at, key))


@contextmanager
def soon(seconds=20):
    """Ends what takes longer."""

    def late(*_):
        raise TimeoutError(f'took more than {seconds} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ends(path, use, count, least=0.1, instead=''):
    """Assert that reading any of so many broken contents ends, with what they hold or with an error that is ours.

    The error must name the file. least: the share that must be refused. instead: what else an error may name.
    """
    content = path.read_bytes()
    use()
    refused = []
    with soon(300):
        for other in mutants(content, count):
            path.write_bytes(other)
            try:
                use()
            except OURS as error:
                refused.append(str(error))
    assert [said for said in refused if path.name not in said and not (instead and instead in said)] == []
    assert len(refused) > count * least
