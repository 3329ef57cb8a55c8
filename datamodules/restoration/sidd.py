"""SIDD: noisy photographs of smartphones, with what they would be without noise."""

from pathlib import Path
from typing import Any

from datamodules.batches import DegradedBatch
from datamodules.errors import DataError, check_at_least, refuse
from datamodules.restoration.base import RestorationDataModule
from datamodules.restoration.image_pairs import ImagePair, check_sizes
from datamodules.restoration.samples import DegradedImages
from datamodules.restoration.sidd_files import convert_blocks, list_pairs
from datamodules.restoration.sidd_samples import BenchmarkBlocks, HeldOutBlocks, ValidationBlocks
from datamodules.samples import SampleSet


class SIDDDataModule(RestorationDataModule):
    """SIDD-Medium in sRGB: 320 noisy photographs of 10 scenes by five smartphones, and the published blocks.

    On disk, as published, in ``data_dir``:

    - ``SIDD_Medium_Srgb/Data/``, ``SIDD_Small_sRGB_Only/Data/`` or ``Data/``, with folders such as
      ``0001_001_S6_00100_00060_3200_L``, whose second number is the scene, and in them pairs
      ``0001_NOISY_SRGB_010.PNG``, ``0001_GT_SRGB_010.PNG`` of one size (in SIDD-Small without the first number),
    - ``ValidationNoisyBlocksSrgb.mat`` and ``ValidationGtBlocksSrgb.mat``, each with a variable of its name, uint8
      ``[40, 32, 256, 256, 3]``: 32 blocks of each of 40 photographs,
    - ``BenchmarkNoisyBlocksSrgb.mat``, the same of 40 others, whose clean images are not published.

    A stage needs only what it reads. How many pairs were found is logged.

    Splits: of the scenes ``val_fraction`` is held out for validation, at random; the rest is trained on,
    ``patches_per_image`` random patches of each pair in an epoch, in one of eight poses. Validation takes up to 32
    blocks of ``block_size`` from each held-out image, spread evenly without overlap. Test takes the published
    validation blocks, on which results on SIDD are reported. With ``validate_on: test`` all pairs are trained on, and
    these blocks serve for validation too. Batches are ``RestorationBatch``: of patches ``[N, 3, patch_size,
    patch_size]`` or of blocks. Ids are paths below ``Data`` without suffix and the number of the patch or block;
    those of published blocks are ``0000`` to ``1279``, image by image.

    The training images are converted once to uncompressed files (26 GB in all, some ten minutes), the blocks too (250
    MB a file), see ``cache_dir``; ``SIDDDataModule(…).setup("fit")`` does so ahead of a run.

    Prediction takes the images below ``predict_dir`` whole, one by one, of any size, in colour or grey, with 8 or 16
    bits; or with ``predict_benchmark`` the blocks of the benchmark, whose ids are as above. Batches are
    ``DegradedBatch``.

    Source: A. Abdelhamed, S. Lin, M. S. Brown, A High-Quality Denoising Dataset for Smartphone Cameras, CVPR 2018,
    https://www.eecs.yorku.ca/~kamel/sidd/.

    Args:
        data_dir: Folder of the files above. Default: ``"data/sidd"``.
        predict_benchmark: Predict the blocks of the benchmark instead of ``predict_dir``. Default: false.
        block_size: Height and width of the blocks of held-out images, in pixels. Default: 256.
        block_batch_size: Blocks in a batch of evaluation or prediction, on each device. Default: 16.
        patch_size: Height and width of the training patches, in pixels. Default: 128.
        patches_per_image: Random patches of each training image in an epoch. Default: 1000.
        batch_size: Patches in a training batch, on each device. Default: 64.
        **kwargs: Those of :class:`~datamodules.restoration.base.RestorationDataModule`.

    Raises:
        ValueError: If an argument is out of range, or both ``predict_dir`` and ``predict_benchmark`` are given.
        DataError: From ``setup``, if files are missing or damaged, do not fit together, are smaller than a patch or
            block, or cannot be converted for lack of space; from loaders, if an image cannot be read.
    """

    def __init__(
        self,
        data_dir: str = "data/sidd",
        *,
        predict_benchmark: bool = False,
        block_size: int = 256,
        block_batch_size: int = 16,
        patch_size: int = 128,
        patches_per_image: int = 1000,
        batch_size: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            data_dir, patch_size=patch_size, patches_per_image=patches_per_image, batch_size=batch_size, **kwargs
        )
        check_at_least(1, block_size=block_size, block_batch_size=block_batch_size)
        if predict_benchmark and self.predict_dir is not None:
            refuse("predict_benchmark", predict_benchmark, f"false with predict_dir='{self.predict_dir}'")
        self.predict_benchmark = predict_benchmark
        self.block_size = block_size
        self.block_batch_size = block_batch_size

    def list_training_pairs(self) -> list[ImagePair]:
        """Return all pairs below ``Data``."""
        return list_pairs(self.data_dir)

    def held_out_samples(self, pairs: list[ImagePair]) -> HeldOutBlocks:
        """Return blocks of held-out images.

        Raises:
            DataError: If an image is smaller than a block.
        """
        check_sizes(pairs, "block_size", self.block_size)
        return HeldOutBlocks(pairs, self._maps, self.block_size)

    def test_samples(self) -> ValidationBlocks:
        """Return the published validation blocks.

        Raises:
            DataError: If there are not as many noisy as clean ones, or of another size.
        """
        noisy, clean = self._blocks("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
        shapes = [self._maps(path).shape for path in (noisy, clean)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"data_dir='{self.data_dir}': ValidationNoisyBlocksSrgb.mat holds blocks {list(shapes[0])}, but "
                f"ValidationGtBlocksSrgb.mat {list(shapes[1])}. Replace them by the published files."
            )
        return ValidationBlocks(self._maps, noisy, clean)

    def predict_samples(self) -> SampleSet[DegradedBatch]:
        """Return images below ``predict_dir``, whole, with all bits that they hold, or the benchmark's blocks."""
        if self.predict_benchmark:
            return BenchmarkBlocks(self._maps, *self._blocks("BenchmarkNoisyBlocksSrgb"))
        return super().predict_samples()

    @property
    def evaluation_batch_size(self) -> int:
        """Blocks in a batch; one image once images in a folder are predicted, since their sizes differ."""
        return 1 if isinstance(self._made.get("predict"), DegradedImages) else self.block_batch_size

    def _blocks(self, *names: str) -> list[Path]:
        return convert_blocks(self.data_dir, names, self.cache_dir.expanduser())
