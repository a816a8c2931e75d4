"""Networks that the recipes train and convert."""

from snnkern.models.lenet import LeNet5

__all__ = ['LeNet5']
