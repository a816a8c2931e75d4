"""Train a spiking network on digits: convolution, BatchNorm and LIF neurons in one op, surrogate gradients.

`python docs/examples/train_digits.py` takes some seconds on one core; the digits come with the package.
"""

import torch

from snnkern import data, encode, losses, nn

T, BATCH, EPOCHS = 4, 100, 2


def network() -> torch.nn.Module:
    """[T, B, 1, 32, 32] to [T, B, 10]."""
    return torch.nn.Sequential(
        nn.SeqToANNContainer(torch.nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False)),
        nn.BatchNormNeuron(16, norm='tdbn'),
        nn.MaxPool2d(2),
        nn.SeqToANNContainer(torch.nn.Conv2d(16, 32, 3, padding=1, bias=False)),
        nn.BatchNormNeuron(32, norm='tdbn'),
        nn.MaxPool2d(2),
        nn.SeqToANNContainer(torch.nn.Flatten(), torch.nn.Linear(32 * 4 * 4, 10)),
    )


def answer(net: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The outputs of all steps [T, B, 10], from rest."""
    nn.reset(net)
    return net(encode.direct(images / 255, T))


def accuracy(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        right = [(answer(net, a).mean(0).argmax(1) == b) for a, b in zip(x.split(500), y.split(500), strict=True)]
    net.train()
    return 100 * torch.cat(right).float().mean().item()


def main() -> None:
    torch.manual_seed(0)
    digits, net = data.mnist_images(), network()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(digits.x_train)).split(BATCH):
            loss = losses.cross_entropy(answer(net, digits.x_train[batch]), digits.y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f'epoch {epoch + 1}: {accuracy(net, digits.x_test, digits.y_test):.1f} % of the test digits')


if __name__ == '__main__':
    main()
