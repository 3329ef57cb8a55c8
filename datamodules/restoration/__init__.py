from datamodules.restoration.own import CleanPhotosDataModule, PairedFoldersDataModule
from datamodules.restoration.realsr import RealSRDataModule
from datamodules.restoration.sample_photos import SamplePhotosDataModule
from datamodules.restoration.sidd import SIDDDataModule

__all__ = [
    "CleanPhotosDataModule",
    "PairedFoldersDataModule",
    "RealSRDataModule",
    "SIDDDataModule",
    "SamplePhotosDataModule",
]
