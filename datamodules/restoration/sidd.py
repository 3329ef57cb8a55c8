"""SIDD: noisy photographs of smartphones, with what they would be without noise."""

from pathlib import Path

from datamodules.batches import DegradedBatch
from datamodules.errors import DataError, check_at_least, refuse
from datamodules.restoration.base import RestorationDataModule, ValidateOn
from datamodules.restoration.image_pairs import ImagePair, check_sizes
from datamodules.restoration.samples import DegradedImages
from datamodules.restoration.sidd_files import convert_blocks, list_pairs
from datamodules.restoration.sidd_samples import BenchmarkBlocks, HeldOutBlocks, ValidationBlocks
from datamodules.samples import SampleSet


class SIDDDataModule(RestorationDataModule):
    """SIDD-Medium in sRGB: 320 noisy photographs of 10 scenes by five smartphones, and the published blocks.

    On disk, as published, in ``data_dir``:

    - ``SIDD_Medium_Srgb/Data/`` (or ``Data/``) with folders such as ``0001_001_S6_00100_00060_3200_L``, whose second
      number is the scene, and in them pairs ``0001_NOISY_SRGB_010.PNG``, ``0001_GT_SRGB_010.PNG`` of one size,
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
        batch_size: Patches in a training batch, on each device. Default: 64.
        num_workers: Processes that read images, for each loader. Default: 2.
        predict_dir: Folder of the images to predict. Default: none.
        predict_benchmark: Predict the blocks of the benchmark instead. Default: false.
        patch_size: Height and width of the training patches, in pixels. Default: 128.
        patches_per_image: Random patches of each training image in an epoch. Default: 1000.
        augment: Turn and mirror the training patches. Default: true.
        val_fraction: Share of the scenes held out for validation. Default: 0.1.
        split_seed: What that split depends on. Default: 0.
        validate_on: ``held_out``, or ``test`` for the published validation blocks. Default: ``held_out``.
        block_size: Height and width of the blocks of held-out images, in pixels. Default: 256.
        block_batch_size: Blocks in a batch of evaluation or prediction, on each device. Default: 16.
        cache_dir: Folder for the converted files. Default: ``converted`` in ``data_dir``.

    Raises:
        ValueError: If an argument is out of range, or both ``predict_dir`` and ``predict_benchmark`` are given.
        DataError: From ``setup``, if files are missing or damaged, do not fit together, are smaller than a patch or
            block, or cannot be converted for lack of space; from loaders, if an image cannot be read.
    """

    def __init__(
        self,
        data_dir: str = "data/sidd",
        batch_size: int = 64,
        num_workers: int = 2,
        predict_dir: str | None = None,
        predict_benchmark: bool = False,
        patch_size: int = 128,
        patches_per_image: int = 1000,
        augment: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        validate_on: ValidateOn = "held_out",
        block_size: int = 256,
        block_batch_size: int = 16,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(
            data_dir,
            batch_size,
            num_workers,
            predict_dir,
            patch_size,
            patches_per_image,
            augment,
            val_fraction,
            split_seed,
            validate_on,
            cache_dir,
        )
        check_at_least(1, block_size=block_size, block_batch_size=block_batch_size)
        if predict_benchmark and predict_dir is not None:
            refuse("predict_benchmark", predict_benchmark, f"false with predict_dir='{predict_dir}'")
        self.predict_benchmark = predict_benchmark
        self.block_size = block_size
        self.block_batch_size = block_batch_size

    def list_training_pairs(self) -> list[ImagePair]:
        """All pairs below ``Data``."""
        return list_pairs(self.data_dir)

    def held_out_samples(self, pairs: list[ImagePair]) -> HeldOutBlocks:
        """Blocks of held-out images.

        Raises:
            DataError: If an image is smaller than a block.
        """
        check_sizes(pairs, "block_size", self.block_size)
        return HeldOutBlocks(pairs, self._maps, self.block_size)

    def test_samples(self) -> ValidationBlocks:
        """The published validation blocks.

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
        """Images below ``predict_dir``, whole, with all bits that they hold, or the benchmark's blocks."""
        if self.predict_benchmark:
            return BenchmarkBlocks(self._maps, *self._blocks("BenchmarkNoisyBlocksSrgb"))
        return super().predict_samples()

    @property
    def evaluation_batch_size(self) -> int:
        """Blocks in a batch; one image once images in a folder are predicted, since their sizes differ."""
        return 1 if isinstance(self._made.get("predict"), DegradedImages) else self.block_batch_size

    def _blocks(self, *names: str) -> list[Path]:
        return convert_blocks(self.data_dir, names, self.cache_dir.expanduser())
