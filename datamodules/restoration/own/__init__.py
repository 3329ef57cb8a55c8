"""Restoration of one's own images: pairs in two folders, or clean photographs that are degraded."""

from datamodules.restoration.own.clean_photos import CleanPhotosDataModule
from datamodules.restoration.own.paired_folders import PairedFoldersDataModule

__all__ = ["CleanPhotosDataModule", "PairedFoldersDataModule"]
