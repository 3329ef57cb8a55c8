from datamodules.classification.cifar import CIFAR10DataModule, CIFAR100DataModule
from datamodules.classification.digits import DigitsDataModule
from datamodules.classification.imagenet import ImageNetDataModule
from datamodules.classification.imagenet_streaming import StreamingImageNetDataModule
from datamodules.classification.labelled_images import LabelledImagesDataModule
from datamodules.classification.textures import TexturesDataModule

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DigitsDataModule",
    "ImageNetDataModule",
    "LabelledImagesDataModule",
    "StreamingImageNetDataModule",
    "TexturesDataModule",
]
