"""RealSR: photographs of one scene at several focal lengths, for super-resolution as cameras need it."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import check_at_least, check_one_of
from datamodules.files.readers import read_image
from datamodules.restoration.base import RestorationDataModule
from datamodules.restoration.image_pairs import ImagePair, check_pair
from datamodules.restoration.realsr_files import CAMERAS, find_version, list_pairs
from datamodules.restoration.samples import DegradedImages, WholeImages, enlarge_pixels
from datamodules.transforms.pixels import EightBit
from datamodules.types import AnyDepth

_SCALES = (2, 3, 4)


class RealSRDataModule(RestorationDataModule):
    """RealSR: photographs taken with a longer and with a shorter focal length, aligned, in any of its three versions.

    On disk, as published: ``<version>/<camera>/<split>/<scale>/`` (or ``<version>/<split>/<camera>/<scale>/``) with
    pairs such as ``Canon_001_HR.png`` and ``Canon_001_LR2.png``; cameras are ``Canon`` and ``Nikon``, splits ``Train``
    and ``Test``. The versions' folders have names such as ``RealSR (ICCV2019)`` (version 1, 234 scenes), ``RealSR(V2)``
    or ``RealSR (Final)`` (version 2, 559 scenes), ``RealSR(V3)``. In the first two both images have one size. Where
    the LR image is ``scale`` times smaller, as in version 3, it is enlarged (bicubic) to that of the HR image, so
    that networks always get what has the size of their output. How many pairs were found is logged.

    Splits: of the scenes in ``Train`` ``val_fraction`` is held out for validation, at random; the photographs of one
    number by both cameras stay together. The rest is trained on, ``patches_per_image`` random patches of each pair in
    an epoch, in one of eight poses. ``Test`` is for test alone. With ``validate_on: test`` all of ``Train`` is trained
    on, and validation takes ``Test``, as most published results were selected. Batches are ``RestorationBatch``: of
    patches ``[N, 3, patch_size, patch_size]`` in training, else of one whole image. Ids are paths of the LR images
    relative to the version's folder, those of patches without suffix and with a number.

    The training images are converted once to uncompressed files (some 20 MB a pair), see ``cache_dir``;
    ``RealSRDataModule(…).setup("fit")`` does so ahead of a run.

    Prediction takes the images below ``predict_dir`` whole, one by one, of any size, in colour or grey, with 8 or 16
    bits; batches are ``DegradedBatch``. They must have the resolution that is wanted, or ``predict_upscale``.

    Source: J. Cai et al., Toward Real-World Single Image Super-Resolution: A New Benchmark and A New Model, ICCV 2019,
    https://github.com/csjcai/RealSR.

    Args:
        data_dir: Folder of a version, or one that holds the folder of a single version. Default: ``"data/realsr"``.
        scale: Difference in resolution: 2, 3 or 4. Default: 4.
        cameras: ``both``, ``Canon`` or ``Nikon``. Default: ``both``.
        predict_upscale: Enlarge the images to predict this many times (bicubic) before. Default: 1.
        patch_size: Height and width of the training patches, in pixels. Default: 192.
        patches_per_image: Random patches of each training image in an epoch. Default: 100.
        batch_size: Patches in a training batch, on each device; evaluation takes whole images, one by one. Default: 16.
        **kwargs: Those of :class:`~datamodules.restoration.base.RestorationDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if files are missing or damaged, do not fit together, are smaller than a patch, or
            cannot be converted for lack of space; from loaders, if an image cannot be read.
    """

    def __init__(
        self,
        data_dir: str = "data/realsr",
        *,
        scale: Literal[2, 3, 4] = 4,
        cameras: Literal["both", "Canon", "Nikon"] = "both",
        predict_upscale: int = 1,
        patch_size: int = 192,
        patches_per_image: int = 100,
        batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            data_dir, patch_size=patch_size, patches_per_image=patches_per_image, batch_size=batch_size, **kwargs
        )
        check_one_of(_SCALES, scale=scale)
        check_one_of(("both", *CAMERAS), cameras=cameras)
        check_at_least(1, predict_upscale=predict_upscale)
        self.scale = scale
        self.predict_upscale = predict_upscale
        self._cameras = CAMERAS if cameras == "both" else (cameras,)

    def list_training_pairs(self) -> list[ImagePair]:
        """Return all pairs of ``Train``, of the scale and the cameras."""
        return list_pairs(self._root, "Train", self.scale, self._cameras)

    def read_pair(self, pair: ImagePair) -> tuple[AnyDepth, AnyDepth]:
        """Decode a pair; an LR image that is smaller is enlarged."""
        check_pair(pair.degraded, pair.clean, (1, self.scale))
        clean = read_image(pair.clean)
        degraded = read_image(pair.degraded)
        return enlarge_pixels(degraded, clean.shape[0] // degraded.shape[0]), clean

    def held_out_samples(self, pairs: list[ImagePair]) -> WholeImages:
        """Return held-out images, whole."""
        return WholeImages(pairs, self._maps.pair)

    def test_samples(self) -> WholeImages:
        """Return all pairs of ``Test``, of the scale and the cameras, whole."""
        return WholeImages(list_pairs(self._root, "Test", self.scale, self._cameras), self.read_pair)

    def predict_samples(self) -> DegradedImages:
        """Return images below ``predict_dir``, whole, with all bits that they hold, enlarged by ``predict_upscale``."""
        return DegradedImages(self.predict_folder(EightBit()), self.predict_upscale)

    @cached_property
    def _root(self) -> Path:
        return find_version(self.data_dir)
