"""From networks to engines, end to end: converted and trained ones, streams and files; and what is refused."""

from pathlib import Path

import pytest
import torch
from converted import residual
from torch import Tensor, nn

import snnkern
from snnkern import engine
from snnkern import nn as layers
from snnkern.convert import SNN
from snnkern.models import build

T = 8


def pictures(count: int, size: int = 32) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(count))


@pytest.fixture(scope='module')
def snn() -> SNN:
    torch.manual_seed(0)
    return snnkern.convert(build('lenet5').eval(), pictures(64), 'default', T)


@pytest.mark.parametrize('choice', ['auto', 'events', 'dense'])
def test_converted_network(snn: SNN, choice: str, tmp_path: Path) -> None:
    made = engine.compile(snn, pictures(4), T, threads=1, choice=choice)
    x = pictures(16)
    wanted = snn.predict(x, T)
    out = made(x)
    assert torch.equal(out.argmax(1), wanted.argmax(1))
    torch.testing.assert_close(out, wanted, rtol=1e-3, atol=1e-3)
    made.save(tmp_path / 'net.safetensors')
    assert torch.equal(engine.load(tmp_path / 'net.safetensors', threads=1)(x), out)
    assert len(made.report().parts) == 1 + len(made.plan.steps)


def test_softmax_at_the_end() -> None:
    """The readout is applied to the mean; steps and early exit are those of the converted network."""
    torch.manual_seed(0)
    snn = snnkern.convert(residual(), torch.randn(64, 1, 8, 8), 'default', T)
    x = torch.randn(6, 1, 8, 8)
    made = engine.compile(snn, x, T, threads=1)
    near = {'rtol': 1e-3, 'atol': 1e-3}
    with torch.no_grad():
        torch.testing.assert_close(made(x), snn(x, T), **near)
        torch.testing.assert_close(made.sequence(x), snn.sequence(x, T), **near)
        for (t, ours), (n, theirs) in zip(made.steps(x), snn.steps(x, T), strict=True):
            assert t == n
            torch.testing.assert_close(ours, theirs, **near)
    assert torch.equal(made.predict_confident(x, 0.4)[1], snn.predict_confident(x, 0.4, T)[1])


def trained() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(
        layers.SeqToANNContainer(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)),
        layers.LIF(2.0, v_threshold=0.3),
        layers.MaxPool2d(2),
        layers.SeqToANNContainer(nn.Conv2d(8, 16, 3, padding=1)),
        layers.IF(v_threshold=0.2),
        nn.Flatten(2),
        layers.SeqToANNContainer(nn.Linear(16 * 16, 5)),
    )
    return net.eval()


def frames(kind: str) -> Tensor:
    x = torch.randn(T, 3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return {'currents': x, 'counts': (x > 1).float(), 'constant': x[:1].repeat(T, 1, 1, 1, 1)}[kind]


@pytest.mark.parametrize('kind', ['currents', 'counts', 'constant'])
def test_trained_network(kind: str, tmp_path: Path) -> None:
    net, x = trained(), frames(kind)
    with torch.no_grad():
        wanted = net(x)
    layers.reset(net)
    made = engine.compile(net, x, T, threads=1)
    assert [made.plan.slots[slot].kind for slot in made.plan.inputs] == [kind]
    assert wanted.std() > 0
    torch.testing.assert_close(made(x), wanted.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.sequence(x), wanted, rtol=1e-4, atol=1e-4)
    made.save(tmp_path / 'net.safetensors')
    stream = engine.load(tmp_path / 'net.safetensors', threads=1).stream()
    found = [stream.step(frame) for frame in x]
    torch.testing.assert_close(torch.stack(found), wanted, rtol=1e-4, atol=1e-4)


def test_constant_frames_are_given_once() -> None:
    x = frames('constant')
    made = engine.compile(trained(), x, T, threads=1)
    stream = made.stream()
    found = [stream.step(x[0] if t == 0 else None) for t in range(T)]
    torch.testing.assert_close(torch.stack(found), made.sequence(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match='the same at every step'):
        made(frames('currents'))


def test_what_needs_all_steps_is_not_cut() -> None:
    torch.manual_seed(3)
    norm = layers.TEP(8)
    net = nn.Sequential(layers.SeqToANNContainer(nn.Conv2d(1, 8, 3)), layers.IF(), norm, layers.IF()).eval()
    x = frames('currents')
    with torch.no_grad():
        wanted = net(x)
    layers.reset(net)
    made = engine.compile(net, x, T, strict=False, threads=1)
    made.chunk = 2
    torch.testing.assert_close(made(x), wanted.mean(0))
    with pytest.raises(ValueError, match=r'steps cannot run one by one: .*TEP.* may need all 8 at once'):
        made.stream()
    with pytest.raises(ValueError, match='steps cannot run one by one'):
        next(made.steps(x))


WRONG = [
    ({'T': 0}, ValueError, 'T must be >= 1, got 0'),
    ({'T': 2.5}, TypeError, 'T must be an integer'),
    ({'threads': 0}, ValueError, 'threads must be >= 1'),
    ({'weights': 'float16'}, ValueError, 'weights must be one of float32, bfloat16, int8, got'),
    ({'choice': 'sparse'}, ValueError, 'choice must be one of auto, events, dense, got'),
]


@pytest.mark.parametrize(('given', 'kind', 'text'), WRONG)
def test_bad_arguments(snn: SNN, given: dict[str, object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        engine.compile(snn, pictures(2), **{'T': T, **given})


def test_network_without_events_is_refused_by_name() -> None:
    net = nn.Sequential(layers.SeqToANNContainer(nn.Conv2d(1, 8, 3)), layers.IF(), layers.TEP(8), layers.IF()).eval()
    with pytest.raises(engine.PlanError, match='TEP'):
        engine.compile(net, frames('currents'), T)
