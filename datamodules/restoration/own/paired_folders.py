"""One's own pairs of images, degraded and clean, in two folders."""

from typing import Any

from datamodules.errors import DataError, check_at_least, check_one_of, refuse
from datamodules.files.channels import read_channels
from datamodules.restoration.image_pairs import ImagePair, OpenPair, check_pair
from datamodules.restoration.own.base import OwnImagesDataModule
from datamodules.restoration.own.names import check_pattern
from datamodules.restoration.own.pair_files import Side, Unpaired, list_pairs
from datamodules.restoration.samples import WholeImages, enlarge_pixels
from datamodules.types import AnyDepth


class PairedFoldersDataModule(OwnImagesDataModule):
    """Pairs of images of one's own: the degraded ones in one folder, the clean ones under the same names in another.

    Any readable image type, 8 or 16 bits, also one in one folder and another in the other; folders are searched with
    their sub-folders, whose names are parts of the images' names. Where images of a pair are named differently,
    patterns say how: ``degraded_name="{name}_noisy"`` pairs ``a/1_noisy.png`` with ``a/1.tif``. Both may lie in one
    folder if their patterns tell them apart. How many pairs were found is logged.

    Splits: of the scenes ``val_fraction`` and ``test_fraction`` are held out at random, or validation and test have
    folders of their own. The rest is trained on, ``patches_per_image`` random patches of each pair in an epoch, in one
    of eight poses. Batches are ``RestorationBatch``: of patches ``[N, C, patch_size, patch_size]`` in training, else of
    one whole image (in validation its middle, with ``val_size``). Ids are paths of the degraded images relative to
    their folder, those of patches without suffix and with a number.

    The images to train and validate on are converted once to uncompressed files, see ``cache_dir``.

    Prediction takes the images below ``predict_dir`` whole, one by one, of any size, with 8 or 16 bits; batches are
    ``DegradedBatch``.

    Args:
        degraded_dir: Folder of the degraded images. Default: ``"data/degraded"``.
        clean_dir: Folder of the clean images. Default: ``"data/clean"``.
        val_degraded_dir: Folder of the degraded images for validation. Default: a part of ``degraded_dir``.
        val_clean_dir: Folder of their clean images.
        test_degraded_dir: Folder of the degraded images for test. Default: a part of ``degraded_dir``.
        test_clean_dir: Folder of their clean images.
        degraded_name: How degraded images are named, without suffix, ``{name}`` for the name of the pair and ``*`` for
            anything. Default: ``"{name}"``.
        clean_name: How clean images are named. Default: ``"{name}"``.
        unpaired: ``error``, or ``skip`` to leave out images without partner, of which is warned. Default: ``error``.
        scale: How many times smaller the degraded images are, along each side; they are enlarged (bicubic) to the size
            of the clean ones, so that networks always get what has the size of their output. Default: 1.
        predict_upscale: Enlarge the images to predict this many times (bicubic) before. Default: ``scale``.
        patch_size: Height and width of the training patches, in pixels. Default: 64.
        patches_per_image: Random patches of each training image in an epoch. Default: 20.
        batch_size: Patches in a training batch, on each device; evaluation takes whole images, one by one. Default: 16.
        **kwargs: Those of :class:`~datamodules.restoration.own.base.OwnImagesDataModule`.

    Raises:
        ValueError: If an argument is out of range, or of two folders that belong together one is given.
        DataError: From ``setup``, if folders are missing or empty, images lack their partner, cannot be read, do not
            fit together, are smaller than a patch, or cannot be converted for lack of space; from loaders, if an image
            cannot be read.
    """

    def __init__(
        self,
        *,
        degraded_dir: str = "data/degraded",
        clean_dir: str = "data/clean",
        val_degraded_dir: str | None = None,
        val_clean_dir: str | None = None,
        test_degraded_dir: str | None = None,
        test_clean_dir: str | None = None,
        degraded_name: str = "{name}",
        clean_name: str = "{name}",
        unpaired: Unpaired = "error",
        scale: int = 1,
        predict_upscale: int | None = None,
        patch_size: int = 64,
        patches_per_image: int = 20,
        batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        check_at_least(1, scale=scale)
        check_one_of(("error", "skip"), unpaired=unpaired)
        check_pattern("{name}", degraded_name=degraded_name, clean_name=clean_name)
        self._folders = {"train": (degraded_dir, clean_dir)}
        others = {"val": (val_degraded_dir, val_clean_dir), "test": (test_degraded_dir, test_clean_dir)}
        for part, (degraded, clean) in others.items():
            if degraded is not None and clean is not None:
                self._folders[part] = (degraded, clean)
            elif degraded is not None or clean is not None:
                given, missing = ("degraded", "clean") if clean is None else ("clean", "degraded")
                refuse(f"{part}_{missing}_dir", None, f"a folder, since {part}_{given}_dir is one")
        super().__init__(
            degraded_dir,
            (clean_dir, degraded_name, clean_name, scale),
            self._folders.keys() - {"train"},
            predict_upscale=scale if predict_upscale is None else predict_upscale,
            patch_size=patch_size,
            patches_per_image=patches_per_image,
            batch_size=batch_size,
            **kwargs,
        )
        self.degraded_name = degraded_name
        self.clean_name = clean_name
        self.unpaired: Unpaired = unpaired
        self.scale = scale

    def read_pair(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Decode a pair with all bits; a degraded image that is smaller is enlarged.

        Args:
            pair: The files.

        Returns:
            The degraded and the clean image, uint8 or uint16 ``[H, W, channels]``.

        Raises:
            DataError: If one cannot be read or has other channels, only one is grey, or they do not fit together.
        """
        check_pair(pair.degraded, pair.clean, (self.scale,), "scale")
        degraded, clean = (read_channels(path, self.channels) for path in (pair.degraded, pair.clean))
        if degraded.grey != clean.grey and _is_grey(degraded.pixels) != _is_grey(clean.pixels):
            kinds = ["grey" if image.grey else "in colour" for image in (degraded, clean)]
            raise DataError(
                f"'{pair.degraded}' is {kinds[0]}, but '{pair.clean}' {kinds[1]}. Replace or remove the two files."
            )
        return enlarge_pixels(degraded.pixels, self.scale), clean.pixels

    def whole_samples(self, pairs: list[ImagePair], open_pair: OpenPair) -> WholeImages:
        """Return pairs, whole."""
        return WholeImages(pairs, open_pair)

    def list_part(self, part: str) -> list[ImagePair]:
        """Return all pairs of the two folders for a part."""
        prefix = "" if part == "train" else f"{part}_"
        degraded, clean = self._folders[part]
        return list_pairs(
            Side(f"{prefix}degraded_dir", degraded, "degraded_name", self.degraded_name),
            Side(f"{prefix}clean_dir", clean, "clean_name", self.clean_name),
            self.scale,
            self.scene if part == "train" else None,
            self.unpaired,
        )


def _is_grey(pixels: AnyDepth) -> bool:
    return bool((pixels == pixels[..., :1]).all())
