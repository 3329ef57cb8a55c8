"""What the data modules of one's own images to restore share: splits, channels, and where converted files go."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from datamodules.batches import RestorationBatch
from datamodules.errors import check_at_least, check_fractions, refuse
from datamodules.files.channels import SUFFIXES
from datamodules.restoration.base import RestorationDataModule
from datamodules.restoration.image_pairs import ImagePair, OpenPair
from datamodules.restoration.own.names import check_pattern
from datamodules.restoration.samples import DegradedImages
from datamodules.samples import SampleSet
from datamodules.transforms.pixels import EightBit
from datamodules.types import AnyDepth

_SHARE = 0.1


class MiddleOf:
    """Opens the images of a pair, and leaves their middle.

    Args:
        open_pair: Gives the images.
        side: At most this many pixels are left, high and wide; None: all.
    """

    def __init__(self, open_pair: OpenPair, side: int | None) -> None:
        self._open = open_pair
        self._side = side

    def __call__(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Return the degraded and the clean image, ``[min(H, side), min(W, side), C]``."""
        degraded, clean = self._open(pair)
        if self._side is None:
            return degraded, clean
        top, left = (max(0, length - self._side) // 2 for length in clean.shape[:2])
        middle = slice(top, top + self._side), slice(left, left + self._side)
        return degraded[middle], clean[middle]


class OwnImagesDataModule(RestorationDataModule, ABC):
    """Base of the data modules of one's own images: splits at random, by scene, or by folders.

    Args:
        folder: Folder of the images to train on.
        made_of: What converted files depend on beside ``folder`` and ``channels``.
        own_folders: Of validation and test, what has a folder of its own.
        channels: Of the images: 3 (RGB), 1 (grey), or as many as they have, see
            :func:`datamodules.files.channels.read_channels`. The network's ``in_channels`` must be the same. All bits
            are kept, 8 or 16. Default: 3.
        scene: How images' names tell what they show, such as ``"{scene}_*"``; names are without suffix, with the
            folders they lie in, ``*`` is anything. Images of one scene are all on one side of a split. Default: each
            image is a scene of its own.
        val_fraction: Share of the scenes held out for validation. Default: 0.1, or none with a folder for validation.
        test_fraction: Share of the scenes held out for test. Default: 0.1, or none with a folder for test.
        val_size: Validation takes the middle of images, at most this many pixels high and wide, which takes less time
            than whole photographs. Default: whole images.
        predict_upscale: Enlarge the images to predict this many times (bicubic) before. Default: 1.
        cache_dir: Folder for the converted files; those of other folders of images have another sub-folder in it.
            Default: ``data/converted`` in the folder where the program is started: nothing is written among the images.
        **kwargs: Those of :class:`~datamodules.restoration.base.RestorationDataModule`.

    Raises:
        ValueError: If an argument is out of range, or a fraction is given beside a folder.
    """

    def __init__(
        self,
        folder: str,
        made_of: Sequence[object],
        own_folders: Collection[str],
        *,
        channels: int = 3,
        scene: str | None = None,
        val_fraction: float | None = None,
        test_fraction: float | None = None,
        val_size: int | None = None,
        predict_upscale: int = 1,
        cache_dir: str = "data/converted",
        **kwargs: Any,
    ) -> None:
        root = Path(folder).expanduser().resolve()
        digest = sha256(repr((os.fsencode(root), *made_of, channels)).encode("utf-8", "surrogateescape")).hexdigest()
        place = Path(cache_dir, f"{root.name}-{digest[:8]}")
        super().__init__(folder, validate_on="held_out", cache_dir=str(place), **kwargs)
        check_at_least(1, channels=channels, predict_upscale=predict_upscale)
        if val_size is not None:
            check_at_least(1, val_size=val_size)
        check_pattern("{scene}", scene=scene)
        given = {"val": val_fraction, "test": test_fraction}
        for part in own_folders:
            if given[part] is not None:
                refuse(f"{part}_fraction", given[part], f"null, since {part} has a folder of its own")
        self._fractions = {
            part: _SHARE if share is None else share for part, share in given.items() if part not in own_folders
        }
        check_fractions(**{f"{part}_fraction": share for part, share in self._fractions.items()})
        self.channels = channels
        self.scene = scene
        self.val_size = val_size
        self.predict_upscale = predict_upscale

    def predict_samples(self) -> DegradedImages:
        """Return images below ``predict_dir``, whole, with all bits that they hold, enlarged by ``predict_upscale``."""
        folder = self.predict_folder(EightBit(), suffixes=SUFFIXES)
        return DegradedImages(folder, self.predict_upscale, self.channels)

    @abstractmethod
    def list_part(self, part: str) -> list[ImagePair]:
        """Find the images of a folder.

        Args:
            part: ``train``, or ``val`` or ``test`` where they have a folder of their own.

        Returns:
            At least one pair.

        Raises:
            DataError: If files are missing or do not fit together.
        """

    @abstractmethod
    def whole_samples(self, pairs: list[ImagePair], open_pair: OpenPair) -> SampleSet[RestorationBatch]:
        """Return what is evaluated of images.

        Args:
            pairs: The images.
            open_pair: Gives the images of a pair.

        Returns:
            The samples.
        """

    def list_training_pairs(self) -> list[ImagePair]:
        """Return all images of the folder to train on, those that are held out among them."""
        return self.list_part("train")

    def held_out_samples(self, pairs: list[ImagePair]) -> SampleSet[RestorationBatch]:
        """Return held-out images, or their middle."""
        return self.whole_samples(pairs, MiddleOf(self._maps.pair, self.val_size))

    def val_samples(self) -> SampleSet[RestorationBatch]:
        """Return the images of the folder for validation, or those held out, or their middle."""
        if "val" in self._fractions:
            return super().val_samples()
        return self.whole_samples(self.list_part("val"), MiddleOf(self.read_pair, self.val_size))

    def test_samples(self) -> SampleSet[RestorationBatch]:
        """Return the images of the folder for test, or those held out, whole."""
        return self.stored_samples("test")

    def stored_samples(self, split: str) -> SampleSet[RestorationBatch]:
        """Return the images of a split as they lie in their folder, whole."""
        pairs = self._split[split] if split == "train" or split in self._fractions else self.list_part(split)
        return self.whole_samples(pairs, self.read_pair)
