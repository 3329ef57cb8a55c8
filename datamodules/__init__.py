"""Data modules: files to batches of tensors. They know nothing of networks."""

from datamodules.base import ImageDataModule
from datamodules.cifar import CIFAR10DataModule, CIFAR100DataModule
from datamodules.digits import DigitsDataModule
from datamodules.errors import DataError
from datamodules.imagenet import ImageNetDataModule
from datamodules.patterns import PatternsDataModule
from datamodules.realsr import RealSRDataModule
from datamodules.sample_photos import SamplePhotosDataModule
from datamodules.shanghaitech import ShanghaiTechDataModule
from datamodules.sidd import SIDDDataModule
from datamodules.synthetic_crowd import SyntheticCrowdDataModule
from datamodules.textures import TexturesDataModule
from datamodules.ucf_qnrf import UCFQNRFDataModule

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DataError",
    "DigitsDataModule",
    "ImageDataModule",
    "ImageNetDataModule",
    "PatternsDataModule",
    "RealSRDataModule",
    "SIDDDataModule",
    "SamplePhotosDataModule",
    "ShanghaiTechDataModule",
    "SyntheticCrowdDataModule",
    "TexturesDataModule",
    "UCFQNRFDataModule",
]
