from datamodules.transforms.augmentation import (
    Augmentation,
    RandomFlip,
    TrivialAugment,
    flip_and_recolour,
    pad_crop_flip,
)
from datamodules.transforms.crops import RandomResizedCrop, ResizedCentreCrop, resize_bilinear
from datamodules.transforms.pixels import EightBit, Normalise, Resize

__all__ = [
    "Augmentation",
    "EightBit",
    "Normalise",
    "RandomFlip",
    "RandomResizedCrop",
    "Resize",
    "ResizedCentreCrop",
    "TrivialAugment",
    "flip_and_recolour",
    "pad_crop_flip",
    "resize_bilinear",
]
