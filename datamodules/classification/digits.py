"""Handwritten digits that come with scikit-learn."""

from functools import cached_property
from typing import Any

import numpy as np

from datamodules.base import ImageDataModule
from datamodules.errors import check_at_least, check_fractions
from datamodules.samples import ImageFolder, LabelledArrays
from datamodules.splits import split_indices
from datamodules.transforms.pixels import Normalise, Resize
from datamodules.types import Indices, Pixels

_SIDE = 8
_WHITE = 16
_MEAN, _STD = (0.3053,), (0.3760,)  # of all images, as values in [0, 1]


class DigitsDataModule(ImageDataModule):
    """The 1,797 handwritten digits of scikit-learn: 8 × 8 pixels, bright strokes on dark ground. Nothing to download.

    Splits: ``test_fraction`` and ``val_fraction`` of each digit are set aside at random, the rest is trained on. With
    the defaults these are 899 to train on, 359 for validation and 539 for test. Batches are ``LabelledBatch`` with
    images ``[N, 1, 8, 8]``; ids are ``digit_0000`` to ``digit_1796``, in scikit-learn's order. There is no
    augmentation.

    Prediction reads the images below ``predict_dir`` as grey, resizes them to 8 × 8 (averaging areas, whatever their
    aspect ratio) and normalises them alike; digits must be bright on dark and fill the image. Batches are
    ``ImageBatch``.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49 (its test set); values 0 to 16.

    Args:
        val_fraction: Share of the images held out for validation. Default: 0.2.
        test_fraction: Share of the images held out for test. Default: 0.3.
        split_seed: What the split depends on. Default: 0.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`; without workers loading is fastest here.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, *, val_fraction: float = 0.2, test_fraction: float = 0.3, split_seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(0, split_seed=split_seed)
        check_fractions(val_fraction=val_fraction, test_fraction=test_fraction)
        self._fractions = {"val": val_fraction, "test": test_fraction}
        self._split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """Names of the classes by index: ``"0"`` to ``"9"``."""
        return [str(digit) for digit in range(10)]

    def train_samples(self) -> LabelledArrays:
        """Return digits to train on."""
        return self._part("train")

    def val_samples(self) -> LabelledArrays:
        """Return digits held out for validation."""
        return self._part("val")

    def test_samples(self) -> LabelledArrays:
        """Return digits held out for test."""
        return self._part("test")

    def predict_samples(self) -> ImageFolder:
        """Return images below ``predict_dir``, as grey and of 8 × 8 pixels."""
        return self.predict_folder(Normalise(_MEAN, _STD, after=Resize(_SIDE, _SIDE)), grey=True)

    def _part(self, split: str) -> LabelledArrays:
        images, labels = self._digits
        transform = Normalise(_MEAN, _STD, maximum=_WHITE)
        return LabelledArrays(images, labels, self._split[split], transform, "digit_{:04d}", white=_WHITE)

    @cached_property
    def _digits(self) -> tuple[Pixels, Indices]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images[..., None].astype(np.uint8), digits.target.astype(np.int64)

    @cached_property
    def _split(self) -> dict[str, Indices]:
        _, labels = self._digits
        return split_indices(len(labels), self._fractions, self._split_seed, labels)
