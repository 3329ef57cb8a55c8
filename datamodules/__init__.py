"""Data modules: files to batches of tensors. They know nothing of networks."""

from datamodules.base import ImageDataModule
from datamodules.classification import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    DigitsDataModule,
    ImageNetDataModule,
    LabelledImagesDataModule,
    StreamingImageNetDataModule,
    TexturesDataModule,
)
from datamodules.crowd import PointsDataModule, ShanghaiTechDataModule, SyntheticCrowdDataModule, UCFQNRFDataModule
from datamodules.errors import DataError
from datamodules.patterns import PatternsDataModule
from datamodules.restoration import (
    CleanPhotosDataModule,
    PairedFoldersDataModule,
    RealSRDataModule,
    SamplePhotosDataModule,
    SIDDDataModule,
)

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "CleanPhotosDataModule",
    "DataError",
    "DigitsDataModule",
    "ImageDataModule",
    "ImageNetDataModule",
    "LabelledImagesDataModule",
    "PairedFoldersDataModule",
    "PatternsDataModule",
    "PointsDataModule",
    "RealSRDataModule",
    "SIDDDataModule",
    "SamplePhotosDataModule",
    "ShanghaiTechDataModule",
    "StreamingImageNetDataModule",
    "SyntheticCrowdDataModule",
    "TexturesDataModule",
    "UCFQNRFDataModule",
]
