"""What the data modules of restoration share: patches to train on, held-out scenes, one's own images."""

import logging
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from datamodules.base import ImageDataModule
from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.errors import IMAGES, DataError, check_at_least, check_fractions, check_one_of, noted
from datamodules.restoration.image_pairs import ImagePair, MemoryMaps, check_sizes, convert_pairs, read_pair
from datamodules.restoration.samples import DegradedImages, RandomPatches, WholeImages
from datamodules.samples import JoinedSamples, SampleSet
from datamodules.splits import ValidateOn, split_indices
from datamodules.transforms.pixels import EightBit
from datamodules.types import AnyDepth

_log = logging.getLogger(__name__)


class RestorationDataModule(ImageDataModule, ABC):
    """Base of the data modules of restoration: a subclass finds the published images and says how they are evaluated.

    Training batches are random patches, at the same place in the degraded and the clean image, both turned and mirrored
    alike. To be cut from quickly the published training images are converted once, when a stage first needs them, to
    uncompressed files of three bytes a pixel. If that is interrupted, the next run goes on where it stopped.

    Args:
        data_dir: Folder of the data.
        patch_size: Height and width of the training patches, in pixels.
        patches_per_image: Random patches of each training image in an epoch.
        augment: Turn and mirror the training patches. Default: true.
        val_fraction: Share of the published training scenes held out for validation. Default: 0.1.
        split_seed: What that split depends on. Default: 0.
        validate_on: ``held_out``; or ``test`` to train on all published training images and validate on what test
            takes. Default: ``held_out``.
        cache_dir: Folder for the converted files. Default: ``converted`` in ``data_dir``.
        mix_with: Data modules whose training patches are trained on as well, such as real pairs with clean photographs
            that are degraded on the fly; each says by ``patches_per_image`` how many. ``patch_size`` and ``channels``
            must be the same. Nothing else of them is used. Default: none.
        num_workers: Processes that read images, for each loader. Default: 2.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup("fit")``, if ``patch_size`` or ``channels`` of one of ``mix_with`` are others.

    Attributes:
        channels: Of the images: 3.
    """

    channels = 3

    def __init__(
        self,
        data_dir: str,
        *,
        patch_size: int,
        patches_per_image: int,
        augment: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        validate_on: ValidateOn = "held_out",
        cache_dir: str | None = None,
        mix_with: "list[RestorationDataModule] | None" = None,
        num_workers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_workers=num_workers, **kwargs)
        check_at_least(1, patch_size=patch_size, patches_per_image=patches_per_image)
        check_at_least(0, split_seed=split_seed)
        check_fractions(val_fraction=val_fraction)
        check_one_of(get_args(ValidateOn), validate_on=validate_on)
        self.data_dir = data_dir
        self.patch_size = patch_size
        self.patches_per_image = patches_per_image
        self.augment = augment
        self.validate_on = validate_on
        self.mix_with = mix_with or []
        self.cache_dir = Path(data_dir, "converted") if cache_dir is None else Path(cache_dir)
        self._fractions = {"val": val_fraction}
        self._split_seed = split_seed
        self._maps = MemoryMaps()

    @abstractmethod
    def list_training_pairs(self) -> list[ImagePair]:
        """Find all published training images.

        Returns:
            At least one pair.

        Raises:
            DataError: If files are missing or do not fit together.
        """

    @abstractmethod
    def held_out_samples(self, pairs: list[ImagePair]) -> SampleSet[RestorationBatch]:
        """Return what validation takes of the images that are held out.

        Args:
            pairs: These images, converted.

        Returns:
            The samples.
        """

    def read_pair(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Decode published images.

        Args:
            pair: One of ``train_pairs``, or a published test pair.

        Returns:
            The degraded and the clean image, RGB, uint8 ``[H, W, 3]``.

        Raises:
            DataError: If one is damaged; names it.
        """
        return read_pair(pair)

    def train_samples(self) -> SampleSet[RestorationBatch]:
        """Return random patches of the published training images but for those held out, and those to mix with.

        Raises:
            DataError: If those to mix with are of another size, or of other channels.
        """
        pairs = self._split["train"] if self.validate_on == "held_out" else self.train_pairs
        own = self.make_patches(self.convert(pairs))
        return JoinedSamples([own, *map(self._patches_of, self.mix_with)]) if self.mix_with else own

    def _patches_of(self, other: "RestorationDataModule") -> SampleSet[RestorationBatch]:
        for name in ("patch_size", "channels"):
            wanted, given = (getattr(module, name) for module in (self, other))
            if given != wanted:
                raise DataError(f"mix_with: {type(other).__name__} must have {name}={wanted} as well, got {given}")
        other.setup("fit")
        return other._samples("train")

    def stored_samples(self, split: str) -> SampleSet[RestorationBatch]:
        """Return the pairs of a split as published, whole and not converted, or what test takes."""
        if split == "test" or (split == "val" and self.validate_on == "test"):
            return self.test_samples()
        return WholeImages(self._split[split] if self.validate_on == "held_out" else self.train_pairs, self.read_pair)

    def make_patches(self, pairs: list[ImagePair]) -> RandomPatches:
        """Return random patches of images.

        Args:
            pairs: These images, converted.

        Returns:
            The samples.
        """
        return RandomPatches(pairs, self._maps.pair, self.patch_size, self.patches_per_image, self.augment)

    def val_samples(self) -> SampleSet[RestorationBatch]:
        """Return published training images that are held out, or with ``validate_on: test`` the test images."""
        if self.validate_on == "test":
            _log.warning(
                "validate_on='test': validation takes the test images, so what is selected by it is selected on the "
                "test images, and test results come out too good"
            )
            samples: SampleSet[RestorationBatch] = self.test_samples()
            return samples
        return self.held_out_samples(self.convert(self._split["val"]))

    def predict_samples(self) -> SampleSet[DegradedBatch]:
        """Return images below ``predict_dir``, whole, with all bits that they hold."""
        return DegradedImages(self.predict_folder(EightBit()))

    @property
    def evaluation_batch_size(self) -> int:
        """One: sizes of images differ."""
        return 1

    @cached_property
    def train_pairs(self) -> list[ImagePair]:
        """All published training images.

        Raises:
            DataError: If files are missing, do not fit together, or are too small.
        """
        pairs = self.list_training_pairs()
        if not pairs:
            raise DataError(f"data_dir='{self.data_dir}': no pair to train on is as it should be.")
        with noted(IMAGES):
            check_sizes(pairs, "patch_size", self.patch_size)
        return pairs

    def convert(self, pairs: list[ImagePair]) -> list[ImagePair]:
        """Make files to cut from of images, but for those that are there.

        Args:
            pairs: Some of ``train_pairs``.

        Returns:
            The same pairs, of these files.

        Raises:
            DataError: If files are missing or damaged, or there is no space for the converted ones.
        """
        return convert_pairs(pairs, self.read_pair, self.cache_dir.expanduser(), self.channels)

    @cached_property
    def _split(self) -> dict[str, list[ImagePair]]:
        """Training pairs by split, whole scenes in each."""
        scenes = sorted({pair.scene for pair in self.train_pairs})
        split = split_indices(len(scenes), self._fractions, self._split_seed)
        members = {name: {scenes[index] for index in indices} for name, indices in split.items()}
        return {name: [pair for pair in self.train_pairs if pair.scene in members[name]] for name in members}
