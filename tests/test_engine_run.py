"""Engines against the same plan in torch: calls, steps, choices, the order of steps, and what is refused."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from planned import T, compiled, images, made, near, plan
from torch import Tensor, nn

import snnkern
from snnkern import engine as engines
from snnkern.backends.events import pack
from snnkern.engine import schedule
from snnkern.engine.choice import Cost
from snnkern.engine.density import share, shares
from snnkern.engine.engine import Engine
from snnkern.engine.plan import Plan
from snnkern.engine.valid import check

CHOICES = ('dense', 'events', 'auto')


@pytest.fixture(scope='module', params=CHOICES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return made(plan(), request.param)


@pytest.fixture(scope='module')
def wanted() -> Engine:
    """The specification: all of it in torch, all steps at once."""
    return made(plan(), 'dense')


def test_plan_is_one() -> None:
    check(plan())


@pytest.mark.parametrize('count', [1, 3, 4])
def test_calls(engine: Engine, wanted: Engine, count: int) -> None:
    x = images(count)
    out = engine(x)
    near(out, wanted(x))
    kept = out.clone()
    engine(images(count) + 1)
    assert torch.equal(out, kept)  # memory that is kept is none of an answer's
    near(engine.sequence(x).mean(0), out)
    assert torch.equal(engine.predict(x, T), engine(x))


@compiled
@pytest.mark.parametrize('count', [1, 5])
def test_threads_change_nothing(count: int) -> None:
    x = images(count)
    engines = [Engine(plan(), T, 'float32', threads, 'events') for threads in (1, 2, 3)]
    for engine in engines:
        engine.learn(x)
    one, *others = (engine(x) for engine in engines)
    for out in others:
        near(out, one)


@pytest.mark.parametrize('chunk', [1, 3, 8])
def test_steps_are_means_so_far(engine: Engine, chunk: int) -> None:
    x = images(3)
    steps = list(engine.steps(x, chunk=chunk))
    assert [t for t, _ in steps] == list(range(1, T + 1))
    series = engine.sequence(x)
    for t, out in steps:
        near(out, series[:t].mean(0))


def test_steps_are_not_disturbed(engine: Engine) -> None:
    x = images(2)
    found = []
    for _, out in engine.steps(x):
        found.append(out)
        engine(x + 1)
    near(found[-1], engine(x))


@pytest.mark.parametrize('chunk', [4, 5])
@pytest.mark.parametrize('timed', [False, True])
def test_chunks_and_groups_change_nothing(timed: bool, chunk: int) -> None:
    of = plan(timed)
    x = images(5, timed=timed)
    exact = made(of, 'dense')(x)
    engine = made(of, 'events')
    engine.chunk = chunk
    near(engine(x), exact)
    engine.memory_limit = 2 * engine.memory(1).total
    assert engine.order(5).images < 5
    near(engine(x), exact)
    near(engine.sequence(x).mean(0), exact)
    assert engine.memory(5).images == engine.order(5).images


def test_memory_says_what_is_held(engine: Engine) -> None:
    engine(images(4))
    found, session = engine.memory(4), engine._sessions[4]
    assert found.slots == sum(part.nbytes for part in session.memory[engine.order(4).chunk].values())
    assert found.states == session.states.all.nbytes
    assert found.total == sum(found.as_dict()[name] for name in ('slots', 'states', 'weights'))
    threads = engine.runner.native_threads
    many = [engine.memory(n) for n in (64 * threads, 128 * threads)]
    if all(stretch.compiled for stretch in engine._prepared(64)[1]):  # between the layers there is room for a few alone
        assert many[0].states == many[1].states
        assert many[0].places == many[1].places < many[0].images
    assert found.slots < many[0].slots < many[1].slots


def test_tail_is_applied_to_the_mean(wanted: Engine) -> None:
    engine = made(plan(tail=nn.Softmax(1)))
    x = images(3)
    near(engine(x), wanted(x).softmax(1))
    series = engine.sequence(x)
    near(series.mean(0), engine(x))
    near(list(engine.steps(x))[2][1], series[:3].mean(0))


class Halved(nn.Module):
    """More channels of the sources, halved."""

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, 4, 1, 1)[:, :20] / 2


def test_parts_in_torch() -> None:
    found = made(plan(dense=Halved()), 'events')
    x = images(3)
    near(found(x), made(plan(dense=Halved()), 'dense')(x))
    assert 'it is a test' in found.explain()


def test_confident_exit(engine: Engine) -> None:
    x = images(4)
    logits, steps = engine.predict_confident(x, 0.3)
    assert logits.shape == (4, 5)
    assert int(steps.min()) >= 1
    series = engine.sequence(x)
    for i, t in enumerate(steps.tolist()):
        near(logits[i], series[:t, i].mean(0))
    assert torch.equal(engine.predict_confident(x, 1.0)[1], torch.full((4,), T))


WRONG = [
    (lambda: images(2)[:, :2], ValueError, r'x must be \[B, 3, 8, 8\], as planned, got shape \(2, 2, 8, 8\)'),
    (lambda: images(2)[0], ValueError, r'got shape \(3, 8, 8\)'),
    (lambda: images(2)[:0], ValueError, 'x must not be empty'),
    (lambda: images(2).double(), TypeError, 'x must be float32 on the CPU, got torch.float64'),
    (lambda: images(2) * torch.nan, ValueError, 'x must be finite'),
    (lambda: (images(2), images(2)), ValueError, 'x must be 1 inputs'),
    (lambda: images(2).numpy(), TypeError, 'x must be a tensor, got ndarray'),
]


@pytest.mark.parametrize(('x', 'kind', 'text'), WRONG)
def test_bad_inputs(wanted: Engine, x: object, kind: type[Exception], text: str) -> None:
    assert callable(x)
    with pytest.raises(kind, match=text):
        wanted(x())


def test_bad_steps(wanted: Engine) -> None:
    with pytest.raises(ValueError, match='T must be 8, for which the engine was compiled, got 16'):
        wanted(images(1), T=16)
    with pytest.raises(ValueError, match='chunk must be >= 1'):
        next(wanted.steps(images(1), chunk=0))
    with pytest.raises(ValueError, match='batch must be >= 1'):
        wanted.memory(0)
    timed = made(plan(timed=True))
    with pytest.raises(ValueError, match='x must hold T = 8 steps, for which the engine was compiled, got 4'):
        timed(images(2, 4, True))


def test_large_values_are_no_error(wanted: Engine) -> None:
    """Their sum overflows, none of them does."""
    assert wanted(torch.full((1, 3, 8, 8), 3e38)).shape == (1, 5)


def test_shares_of_blocks() -> None:
    counts = torch.zeros(6, 1, 1, 1, 2)
    counts[0, ..., 0] = counts[5, ..., 0] = -1
    words = pack(counts.permute(0, 1, 4, 2, 3))
    assert shares(words, 6) == {1: 2 / 12, 2: 2 / 6, 4: 2 / 4, 8: 1 / 2}
    assert share(words[:, :1], 4, 4) == 1 / 2
    assert shares(words[:, :1], 2).keys() == {1, 2}


COST = Cost(1, dense=5.0, silent={1: 1.0, 8: 1.0}, full={1: 20.0, 8: 8.0})


@pytest.mark.parametrize(
    ('found', 'before', 'choice'),
    [
        ({1: 0.01, 8: 0.08}, None, 1),
        ({1: 0.1, 8: 0.2}, None, 8),
        ({1: 0.5, 8: 0.9}, None, 0),
        ({1: 0.1, 8: 0.24}, 1, 1),  # by too little
        ({1: 0.1, 8: 0.2}, 1, 8),
        ({1: 0.5, 8: 0.49}, 0, 0),
        ({1: 0.5, 8: 0.3}, 0, 8),
    ],
)
def test_choice_is_the_least_cost(found: dict[int, float], before: int | None, choice: int) -> None:
    assert COST.best(found, 'auto', before) == choice
    assert COST.best(found, 'events', None) != 0


@compiled
def test_choice_follows_what_comes() -> None:
    """Costs by hand, under which silence is for events and noise for torch."""
    engine = made(plan(), 'auto')
    cost = Cost(1, dense=1.0, silent={1: 0.1}, full={1: 20.0})
    engine.choices.costs = {4: [cost if c else None for c in engine.choices.costs[4]]}
    engine.choices.blocks = {4: [1] * 4}
    x = images(4)
    before = engine(x)
    assert engine.choices.blocks[4] == [1, 0, 1, 0]
    assert any('second: events of 1 steps became dense' in change for change in engine.choices.changes)
    near(engine(x), before)
    engine.calls = 0
    engine(x * 0)
    assert any('became events of 1 steps' in change for change in engine.report(x).changes)


@compiled
@pytest.mark.parametrize(('weights', 'most'), [('bfloat16', 0.01), ('int8', 0.05)])
def test_rounded_weights(weights: str, most: float, wanted: Engine) -> None:
    engine = made(plan(), 'events', weights)
    assert set(engine.errors) == {'second', 'out'}
    assert all(0 < error < most for error in engine.errors.values())
    assert 'off by at most' in str(engine.report())
    x = images(4)
    assert (engine(x) - wanted(x)).abs().max() < 0.3 * wanted(x).abs().max()
    assert engine.memory(1).weights < wanted.memory(1).weights


def ways(of: Plan, chunks: Sequence[int]) -> dict[int, float]:
    return {chunk: schedule.moved(of, 10_000, 64, chunk, 1, 100_000) for chunk in chunks}


def test_schedule_counts_what_is_moved() -> None:
    of = plan()
    found = ways(of, (8, 64))
    assert found[8] < found[64]  # the spikes of 64 steps do not fit
    small = schedule.moved(of, 10_000, 64, 64, 1, 10**8)
    assert small == 0
    assert schedule.moved(of, 10**7, 64, 64, 1, 10**6) < schedule.moved(of, 10**7, 64, 8, 1, 10**6)
    assert schedule.moved(of, 10**7, 64, 64, 4, 10**6) < schedule.moved(of, 10**7, 64, 64, 1, 10**6)
    assert schedule.choose(of, 10_000, 64, 4, 1, 10**9, given=16).chunk == 16


@compiled
def test_little_is_done_besides(engine: Engine) -> None:
    """A call costs no milliseconds where the network does next to nothing."""
    x = images(1)
    found = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(50):
        begun = time.perf_counter()
        engine(x)
        found.append(time.perf_counter() - begun)
    torch.set_num_threads(before)
    assert min(found) < 2e-3


def test_features_that_lie_apart() -> None:
    """Inputs and parts of layers that are views of something else."""
    net = nn.Sequential(nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    x = torch.rand(32, 64)
    snn = snnkern.convert(net, x[:, ::2].contiguous(), timesteps=4)
    made_of = engines.compile(snn, x[:8, ::2], 4)
    for given in (x[:, ::2], x.t().contiguous().t()[:, :32], x[:1, :32].expand(9, 32)):
        torch.testing.assert_close(made_of(given), snn(given.contiguous(), T=4), atol=1e-5, rtol=1e-5)


def test_calls_of_several_threads_wait() -> None:
    of = made(plan(), 'events')
    given = [images(3) * scale for scale in (0.5, 1.0, 2.0)]
    wanted = [of(x) for x in given]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            assert all(torch.equal(a, b) for a, b in zip(pool.map(of, given), wanted, strict=True))


def test_settings_are_checked() -> None:
    of = made(plan(), 'events')
    for name, value in (('chunk', -1), ('chunk', 'a'), ('memory_limit', 0), ('memory_limit', None)):
        with pytest.raises((TypeError, ValueError), match=name):
            setattr(of, name, value)
