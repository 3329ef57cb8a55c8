from datamodules.restoration.realsr import RealSRDataModule
from datamodules.restoration.sample_photos import SamplePhotosDataModule
from datamodules.restoration.sidd import SIDDDataModule

__all__ = ["RealSRDataModule", "SIDDDataModule", "SamplePhotosDataModule"]
