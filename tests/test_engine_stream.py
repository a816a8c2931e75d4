"""Input that comes step by step."""

import pytest
import torch
from planned import T, images, made, near, plan

from snnkern.engine.engine import Engine


@pytest.fixture(scope='module', params=['dense', 'events'])
def engine(request: pytest.FixtureRequest) -> Engine:
    return made(plan(timed=True), request.param)


def test_stream_is_the_sequence(engine: Engine) -> None:
    x = images(3, timed=True)
    stream = engine.stream()
    wanted = engine.sequence(x)
    for _ in range(2):
        found = []
        for frame in x:
            found.append(stream.step(frame))
            engine(x + 1)  # disturbs nothing
        near(torch.stack(found), wanted)
        near(stream.mean, wanted.mean(0))
        assert stream.done == T
        stream.reset()


def test_constant_input_is_given_once() -> None:
    engine = made(plan(), 'events')
    x = images(2)
    stream = engine.stream()
    found = [stream.step(x if t == 0 else None) for t in range(T)]
    near(torch.stack(found), engine.sequence(x))
    stream.reset()
    with pytest.raises(ValueError, match='frame must be given at the first step'):
        stream.step()


def test_streams_end_nowhere(engine: Engine) -> None:
    """More steps than T, and two streams side by side."""
    x = images(1, 2 * T, True)
    one, other = engine.stream(), engine.stream()
    first = [one.step(frame) for frame in x]
    for frame in x[:T]:
        other.step(frame)
    second = [other.step(frame) for frame in x[T:]]
    near(torch.stack(second), torch.stack(first[T:]))


def test_tail_of_steps() -> None:
    engine = made(plan(timed=True, tail=torch.nn.Softmax(1)))
    x = images(2, timed=True)
    stream = engine.stream()
    steps = torch.stack([stream.step(frame) for frame in x])
    near(steps.mean(0), engine(x))
    near(stream.mean, engine(x))


def test_bad_frames(engine: Engine) -> None:
    stream = engine.stream()
    with pytest.raises(ValueError, match='there is no mean before the first step'):
        print(stream.mean)
    with pytest.raises(ValueError, match='frame must be given at every step'):
        stream.step()
    with pytest.raises(ValueError, match='as planned'):
        stream.step(images(2)[:, :1])
    stream.step(images(2))
    with pytest.raises(ValueError, match='frame must hold 2 images, as before, got 3'):
        stream.step(images(3))
    stream.reset()
    assert stream.step(images(3)).shape == (3, 5)
