"""Recordings of an event camera: frames of events, a small spiking network, and time constants that learn.

`python docs/examples/event_camera.py` takes some seconds on one core. Twenty recordings of N-MNIST come with the
package, ten to train and ten to test: enough to see it work, not to learn digits. `data.samples('nmnist:DIR')` reads
all 70,000.
"""

import torch

from snnkern import data, losses, nn

T, SIZE, EPOCHS = 12, 34, 40


def network() -> torch.nn.Module:
    """[T, B, 2, 34, 34] to spikes [T, B, 10]; each layer of neurons learns its time constant and its thresholds."""
    return torch.nn.Sequential(
        nn.SeqToANNContainer(torch.nn.Conv2d(2, 8, 5, stride=2, padding=2)),
        nn.ParametricLIF(init_tau=2.0, learn=['v_threshold']),
        nn.AvgPool2d(2),
        nn.SeqToANNContainer(torch.nn.Flatten(), torch.nn.Linear(8 * 8 * 8, 10)),
        nn.ParametricLIF(init_tau=4.0, v_reset=None),
    )


def answer(net: torch.nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """Spikes of all steps [T, B, 10] of frames [B, T, 2, H, W], from rest."""
    nn.reset(net)
    return net(frames.transpose(0, 1))


def main() -> None:
    torch.manual_seed(0)
    digits = data.samples('nmnist', T=T)
    (x, y), (x_test, y_test) = (part.batch(range(len(part))) for part in (digits.train, digits.test))
    print(f'{digits.source}: {x.sum() / len(x):.0f} events a recording, as {tuple(x.shape[1:])} frames')
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for epoch in range(EPOCHS):
        loss = losses.tet(answer(net, x), y, lamb=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % 10 == 9:
            right = [
                (answer(net, a).sum(0).argmax(1) == b).float().mean().item() for a, b in ((x, y), (x_test, y_test))
            ]
            print(f'epoch {epoch + 1}: loss {loss:.3f}, right {right[0]:.0%} of train and {right[1]:.0%} of test')
    taus = [1 / layer.w.sigmoid().item() for layer in net if isinstance(layer, nn.ParametricLIF)]
    print('time constants learned:', ', '.join(f'{tau:.2f}' for tau in taus), 'steps')


if __name__ == '__main__':
    main()
