"""Photographs that come with scikit-image and scikit-learn, to restore without a download."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

from datamodules.base import ImageDataModule
from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.errors import check_at_least, check_one_of
from datamodules.restoration.realsr import RealSRDataModule
from datamodules.restoration.sample_photo_files import HELD_OUT, write_denoising, write_super_resolution
from datamodules.restoration.sidd import SIDDDataModule
from datamodules.samples import SampleSet

_EDITION = 1  # of the degraded photographs: to be raised when the same arguments give others


class SamplePhotosDataModule(ImageDataModule):
    """Fifteen photographs with noise as of a smartphone, or of low resolution as of another lens.

    The degradations are described at :func:`~datamodules.restoration.degradations.add_camera_noise` (two noisy images
    of each photograph, PSNR about 25 to 31 dB) and :func:`~datamodules.restoration.degradations.reduce_resolution`;
    neither is the same all over an image. They are made once, by ``prepare_data``, in some ten seconds; what was
    interrupted goes on where it stopped. Any other choice of ``task`` and ``data_seed`` has a folder of its own below
    ``data_dir``.

    Splits are by photograph, and fixed:

    - train: flower, hubble_deep_field, ihc (a stained section), motorcycle_left, retina; brick, camera, coins, grass
      and gravel, which are grey and there for their textures,
    - validation: astronaut, rocket,
    - test: chelsea (a cat), china (a temple), coffee.

    These are all that the two packages install but for drawings, texts, tiny ones, those without detail (moon, cell,
    clock_motion) and the second view of motorcycle. They are few and small: results compare networks with each other,
    not with published ones.

    On disk the folder is what :class:`~datamodules.restoration.sidd.SIDDDataModule` (``denoising``) or
    :class:`~datamodules.restoration.realsr.RealSRDataModule` (``super_resolution``, one camera) reads, and they read it
    here, too: ids, batches, patches and prediction are theirs. What is trained on is the published training set, what
    is for test the published validation blocks or test images; the folder's sub-folder ``validation`` has what is for
    validation in the same place. Of each noisy image validation and test take the upper left and the lower right 256 ×
    256 pixels, in super-resolution they take whole images; photographs in the order above.

    Args:
        task: ``denoising`` or ``super_resolution``. Default: ``denoising``.
        data_dir: Folder for the degraded photographs. Default: ``"data/sample_photos"``.
        scale: Difference in resolution, for super-resolution: 2, 3 or 4. Default: 4.
        data_seed: What the degradations depend on. Default: 0.
        patch_size: Height and width of the training patches, in pixels. Default: 128.
        patches_per_image: Random patches of each training image in an epoch. Default: 100.
        batch_size: Patches in a training batch, on each device; evaluation takes images one by one. Default: 16.
        num_workers: Processes that read images, for each loader. Default: 2.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``prepare_data``, if ``data_dir`` cannot be written to; from ``setup``, if a photograph is
            smaller than a patch.
    """

    def __init__(
        self,
        task: Literal["denoising", "super_resolution"] = "denoising",
        data_dir: str = "data/sample_photos",
        *,
        scale: Literal[2, 3, 4] = 4,
        data_seed: int = 0,
        patch_size: int = 128,
        patches_per_image: int = 100,
        batch_size: int = 16,
        num_workers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, **kwargs)
        check_one_of(("denoising", "super_resolution"), task=task)
        check_at_least(0, data_seed=data_seed)
        self._folder = Path(data_dir).expanduser() / f"{task}_seed{data_seed}_edition{_EDITION}"
        self._write = (
            partial(write_denoising, self._folder, data_seed)
            if task == "denoising"
            else partial(write_super_resolution, self._folder, data_seed, scale)
        )
        module = SIDDDataModule if task == "denoising" else partial(RealSRDataModule, scale=scale, cameras="Canon")
        # Nothing is held out of the training set: photographs for validation are in a folder of their own.
        self._published = module(
            data_dir=str(self._folder),
            predict_dir=self.predict_dir,
            patch_size=patch_size,
            patches_per_image=patches_per_image,
            validate_on="test",
        )
        self._held_out = module(data_dir=str(self._folder / HELD_OUT))

    def prepare_data(self) -> None:
        """Degrade the photographs that are not there yet. The trainer calls it in one process of each machine.

        Raises:
            DataError: If ``data_dir`` cannot be written to.
        """
        self._write()

    def train_samples(self) -> SampleSet[RestorationBatch]:
        """Return random patches of the photographs to train on."""
        return self._published.train_samples()

    def val_samples(self) -> SampleSet[RestorationBatch]:
        """Return the photographs for validation."""
        return self._held_out.test_samples()

    def test_samples(self) -> SampleSet[RestorationBatch]:
        """Return the photographs for test."""
        return self._published.test_samples()

    def predict_samples(self) -> SampleSet[DegradedBatch]:
        """Return images below ``predict_dir``, whole, with all bits that they hold."""
        return self._published.predict_samples()

    def stored_samples(self, split: str) -> SampleSet[RestorationBatch]:
        """Return the degraded photographs of a split, and the blocks of them that are evaluated."""
        return self._published.stored_samples("train") if split == "train" else self._samples(split)

    @property
    def evaluation_batch_size(self) -> int:
        """One: sizes of images differ."""
        return 1
