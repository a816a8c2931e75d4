"""sinabs' networks before and after `accelerate`: converted, trained, of real weights, compiled."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerated import check
from torch import nn

import snnkern.adapters as adapters
from snnkern.testing import assert_spikes_equal

sinabs = pytest.importorskip('sinabs', reason='sinabs is not installed')
layers = pytest.importorskip('sinabs.layers')
hooks = pytest.importorskip('sinabs.hooks')
from_torch = pytest.importorskip('sinabs.from_torch')

SHARED = Path(__file__).parents[2] / 'shared' / 'data'


def cnn():
    """The network of sinabs' MNIST example, with biases."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.AvgPool2d(2, 2)),
        *(nn.Conv2d(8, 8, 5), nn.ReLU(), nn.AvgPool2d(2, 2)),
        *(nn.Flatten(), nn.Linear(128, 30), nn.ReLU(), nn.Linear(30, 10)),
    )


def image_run(net, x):
    """All outputs of a network whose states sinabs' own function clears."""
    net.reset_states()
    return net(x), [m.v_mem for m in net.modules() if isinstance(m, layers.StatefulLayer)]


@pytest.mark.parametrize('options', [{'batch_size': 4}, {'num_timesteps': 6, 'add_spiking_output': True}])
def test_a_network_from_model(options):
    theirs = from_torch.from_model(cnn(), **options)
    ours = adapters.accelerate(theirs)
    assert adapters.explain(ours).fused == (4 if 'add_spiking_output' in options else 3)
    outputs = check(theirs, ours, image_run, torch.randn(24, 1, 28, 28) * 20)
    assert all((v.lt(-0.999).any() and v.gt(0).any()) for v in outputs[1:4])  # the bound holds some


def test_hooks_of_a_network_that_is_changed_in_place():
    """Its synaptic operations and firing rates are counted as before."""
    theirs = from_torch.from_model(cnn(), batch_size=4).spiking_model
    hooks.register_synops_hooks(theirs)
    for layer in theirs:
        if isinstance(layer, layers.StatefulLayer):
            layer.register_forward_hook(hooks.firing_rate_hook)
    x, found = torch.rand(24, 1, 28, 28) * 3, []
    for net in (theirs, adapters.accelerate(theirs, inplace=True)):
        sinabs.reset_states(net)
        net(x)
        rates = [m.hook_data['firing_rate'] for m in net if isinstance(m, layers.StatefulLayer)]
        found.append([net.hook_data['total_synops_per_timestep'], *rates])
    assert_spikes_equal(torch.stack(found[0]), torch.stack(found[1]))
    assert type(adapters.undo(theirs, inplace=True)[1]) is layers.IAFSqueeze


def test_training_a_network_of_lif():
    """Some steps of an optimiser that also trains the time constants."""
    theirs = nn.Sequential(
        *(nn.Linear(20, 30), layers.LIF(5.0, norm_input=False), nn.Linear(30, 30), layers.LIF(5.0, 3.0)),
        *(nn.Linear(30, 4), layers.ExpLeak(8.0, train_alphas=True)),
    )
    ours, x, y = adapters.accelerate(theirs), torch.randn(16, 9, 20), torch.randint(0, 4, (16,))
    losses = []
    for net in (theirs, ours):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses.append([])
        for _ in range(4):
            sinabs.reset_states(net)
            loss = nn.functional.cross_entropy(net(x).sum(1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert ours[1].tau_mem.item() != 5.0


@pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
def test_the_mnist_network_of_sinabs():
    """Its published weights, 32 time steps of 30 digits."""
    member = 'mnist_cnn_sinabs/mnist_params.pt'
    with zipfile.ZipFile(SHARED / 'pretrained_weights.zip') as archive:
        weights = torch.load(io.BytesIO(archive.read(member)), 'cpu', weights_only=True)
    ann = nn.Sequential(
        *(nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 500, bias=False), nn.ReLU(), nn.Linear(500, 10, bias=False)),
    )
    ann.load_state_dict(weights)
    with np.load(SHARED / 'mnist.npz') as data:
        digits, labels = torch.from_numpy(data['x_test'][:30]), torch.from_numpy(data['y_test'][:30])
    theirs = from_torch.from_model(ann, num_timesteps=32)
    ours, x = adapters.accelerate(theirs), (digits / 85.0).unsqueeze(1).repeat_interleave(32, 0)
    with torch.no_grad():
        expected, actual = theirs(x), ours(x)
    assert_spikes_equal(actual, expected)
    assert (actual.view(30, 32, 10).sum(1).argmax(1) == labels).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor that is not a leaf')  # by Dynamo, at a break
def test_compiled():
    """With breaks in the graph, as sinabs' own layers have them."""
    theirs = nn.Sequential(nn.Linear(20, 30), layers.LIF(5.0, norm_input=False), layers.IAF(min_v_mem=-1.0))
    ours, x = adapters.accelerate(theirs), torch.randn(4, 6, 20)
    compiled = torch.compile(ours, backend='aot_eager')
    for _ in range(2):
        assert_spikes_equal(compiled(x), theirs(x))
