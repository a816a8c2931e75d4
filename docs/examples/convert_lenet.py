"""Train LeNet-5, convert it by three recipes, and see what each number of steps costs.

`python docs/examples/convert_lenet.py` takes some seconds on one core; the digits come with the package.
"""

import torch

import snnkern
from snnkern import data, models

STEPS = (1, 2, 4, 8, 16)
RECIPES = ('default', 'layerwise', 'plain_if')


def trained(x: torch.Tensor, y: torch.Tensor) -> torch.nn.Module:
    """LeNet-5 after one epoch."""
    net = models.LeNet5()
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for batch in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net.eval()


def main() -> None:
    torch.manual_seed(0)
    digits = data.mnist_images()
    x, x_test, y_test = digits.x_train / 255, digits.x_test[:500] / 255, digits.y_test[:500]
    net = trained(x, digits.y_train)
    print('recipe'.ljust(12), *(f'T={T}'.rjust(7) for T in STEPS), ' spikes a neuron and step')
    for recipe in RECIPES:
        snn = snnkern.convert(net, x[:256], recipe=recipe, timesteps=4)
        found = snn.evaluate((x_test, y_test), timesteps=STEPS, ann=net)
        print(recipe.ljust(12), *(f'{found.accuracy[T]:7.1f}' for T in STEPS), f'{found.mean_rate:10.3f}')
    print(f'without spikes: {found.ann_accuracy:.1f} %')
    print(snn.report())


if __name__ == '__main__':
    main()
