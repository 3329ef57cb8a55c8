"""One's own clean photographs, degraded on the fly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.batches import RestorationBatch
from datamodules.errors import IMAGES, check_at_least, noted
from datamodules.files.channels import SUFFIXES, read_any_header, read_channels
from datamodules.files.listing import list_images
from datamodules.restoration.degradations import Chain, Degradation, GaussianNoise, try_degradation
from datamodules.restoration.image_pairs import ImagePair, OpenPair
from datamodules.restoration.own.base import OwnImagesDataModule
from datamodules.restoration.own.degraded_samples import DegradedPatches, DegradedWholes
from datamodules.restoration.own.names import find_scenes, name_files
from datamodules.restoration.samples import shrink
from datamodules.samples import SampleSet
from datamodules.types import AnyDepth, Map


class CleanPhotosDataModule(OwnImagesDataModule):
    """Clean photographs of one's own, made worse on the fly: for denoising and super-resolution without pairs.

    Any readable image type, 8 or 16 bits; folders are searched with their sub-folders. How many images were found is
    logged.

    Degradations are classes of ``datamodules.restoration.degradations``: ``GaussianNoise``, ``CameraNoise``,
    ``VaryingBlur``, ``Bicubic``, ``JPEG``, or one of yours: called with an image, float32 ``[H, W, C]`` in [0, 1], and
    a ``numpy.random.Generator``, it gives the degraded image, of the same shape and type. What of it is random must be
    drawn from that generator alone. It must be one that can be pickled where worker processes are spawned.

    Splits: of the scenes ``val_fraction`` and ``test_fraction`` are held out at random, or validation and test have
    folders of their own. The rest is trained on, ``patches_per_image`` random patches of each image in an epoch, in one
    of eight poses, degraded another way in each epoch: what is drawn follows from the seed, the epoch and the patch's
    index alone. Validation and test take whole images (validation their middle, with ``val_size``), degraded by
    ``data_seed`` and their path, the same way each time. Batches are ``RestorationBatch``. Ids are paths relative to
    the images' folder, those of patches without suffix and with a number.

    The images to train and validate on are converted once to uncompressed files, see ``cache_dir``; no degraded one is
    written.

    Prediction takes the images below ``predict_dir`` as they are, whole, one by one, of any size, with 8 or 16 bits;
    batches are ``DegradedBatch``.

    Args:
        clean_dir: Folder of the images. Default: ``"data/clean"``.
        val_clean_dir: Folder of the images for validation. Default: a part of ``clean_dir``.
        test_clean_dir: Folder of the images for test. Default: a part of ``clean_dir``.
        degradation: What is done to the images, or a list of what is done one after the other. Default:
            ``GaussianNoise``.
        shrink: Average squares of so many pixels high and wide into one before anything else. What comes straight from
            a camera is soft, and often noisy itself; reduced, it is sharp and clean. Default: 1, nothing is reduced.
        data_seed: What the degradations of validation and test depend on. Default: 0.
        patch_size: Height and width of the training patches, in pixels. Default: 64.
        patches_per_image: Random patches of each training image in an epoch. Default: 20.
        batch_size: Patches in a training batch, on each device; evaluation takes whole images, one by one. Default: 16.
        **kwargs: Those of :class:`~datamodules.restoration.own.base.OwnImagesDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if folders are missing or empty, images cannot be read, are smaller than a patch or
            cannot be converted for lack of space, or the degradation gives other than it should; from loaders, if an
            image cannot be read.
    """

    def __init__(
        self,
        *,
        clean_dir: str = "data/clean",
        val_clean_dir: str | None = None,
        test_clean_dir: str | None = None,
        degradation: Callable[[Map, np.random.Generator], Map]
        | list[Callable[[Map, np.random.Generator], Map]]
        | None = None,
        shrink: int = 1,
        data_seed: int = 0,
        patch_size: int = 64,
        patches_per_image: int = 20,
        batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        folders = {"train": clean_dir, "val": val_clean_dir, "test": test_clean_dir}
        self._folders = {part: folder for part, folder in folders.items() if folder is not None}
        super().__init__(
            clean_dir,
            ("clean",) if shrink == 1 else ("clean", shrink),
            self._folders.keys() - {"train"},
            patch_size=patch_size,
            patches_per_image=patches_per_image,
            batch_size=batch_size,
            **kwargs,
        )
        check_at_least(0, data_seed=data_seed)
        check_at_least(1, shrink=shrink)
        self.shrink = shrink
        self.data_seed = data_seed
        steps = [GaussianNoise()] if degradation is None else degradation
        self.degradation: Degradation = Chain(steps) if isinstance(steps, list) else steps

    def setup(self, stage: str) -> None:
        """Make the splits that a stage needs, and make sure that the degradation can be used. Called by the trainer."""
        if stage != "predict":
            try_degradation(self.degradation, self.channels)
        super().setup(stage)

    def stored_samples(self, split: str) -> SampleSet[RestorationBatch]:
        """Return the images of a split, whole, degraded as in evaluation."""
        try_degradation(self.degradation, self.channels)
        return super().stored_samples(split)

    def read_pair(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Decode a clean image with all bits, and reduce it; it stands for both images of a pair."""
        clean = shrink(read_channels(pair.clean, self.channels).pixels, self.shrink)
        return clean, clean

    def make_patches(self, pairs: list[ImagePair]) -> DegradedPatches:
        """Return random patches of images, degraded."""
        return DegradedPatches(
            self.degradation,
            pairs,
            self._maps.pair,
            side=self.patch_size,
            per_image=self.patches_per_image,
            augment=self.augment,
        )

    def whole_samples(self, pairs: list[ImagePair], open_pair: OpenPair) -> DegradedWholes:
        """Return images, whole, degraded by ``data_seed`` and their path."""
        return DegradedWholes(self.degradation, pairs, open_pair, self.data_seed)

    def list_part(self, part: str) -> list[ImagePair]:
        """Return the images of the folder for a part; one file stands for both images of a pair."""
        argument = "clean_dir" if part == "train" else f"{part}_clean_dir"
        folder = self._folders[part]
        files = name_files(list_images(folder, argument, SUFFIXES), "{name}", argument)
        scenes = find_scenes(files, self.scene if part == "train" else None)
        root = Path(folder).expanduser()
        pairs = []
        for file, scene in zip(files.values(), scenes, strict=True):
            path = root / file
            with noted(IMAGES):
                size = (length // self.shrink for length in read_any_header(path).size("shown"))
                pairs.append(ImagePair(file, scene, path, path, *size))
        return pairs
