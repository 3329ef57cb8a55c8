"""Data modules: files to batches of tensors. They know nothing of networks."""

from datamodules.base import ImageDataModule
from datamodules.cifar import CIFAR10DataModule, CIFAR100DataModule
from datamodules.digits import DigitsDataModule
from datamodules.errors import DataError
from datamodules.imagenet import ImageNetDataModule
from datamodules.patterns import PatternsDataModule
from datamodules.textures import TexturesDataModule

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DataError",
    "DigitsDataModule",
    "ImageDataModule",
    "ImageNetDataModule",
    "PatternsDataModule",
    "TexturesDataModule",
]
