"""ShanghaiTech: photographs of crowds with the positions of heads, dense (part A) and sparse (part B)."""

from pathlib import Path
from typing import Literal

from datamodules.crowd.annotations import pair_files, read_image_info
from datamodules.crowd.base import CrowdDataModule, Split, ValidateOn
from datamodules.crowd.samples import CrowdFiles, read_crowd
from datamodules.crowd.transforms import CrowdAugmentationName
from datamodules.errors import DataError, check_one_of
from datamodules.files.listing import require_folder

Part = Literal["A", "B"]

_CROP_SIZES: dict[Part, int] = {"A": 256, "B": 512}


class ShanghaiTechDataModule(CrowdDataModule):
    """ShanghaiTech: photographs of crowds from the web (part A, 482) and of streets in Shanghai (part B, 716).

    On disk, as published, for part A:

    - ``<data_dir>/part_A/train_data/images/IMG_1.jpg`` and so on, with the heads' positions in
      ``<data_dir>/part_A/train_data/ground-truth/GT_IMG_1.mat``,
    - the same in ``test_data``.

    The folders may also be called ``part_A_final`` and ``ground_truth``, and lie in a folder ``ShanghaiTech``;
    ``data_dir`` may be that of the part. What images there are is found by their names, not assumed. Images may be
    grey; they are converted to RGB.

    Positions are MATLAB's, whose first pixel is 1. Published code takes them as if it were 0, and so does this with
    ``coord_offset`` 0; positions outside their image, which occur, are moved to its border, and their number is logged.
    All annotations are read and checked before anything runs.

    Splits: 300 training and 182 test images (part A), 400 and 316 (part B) are published, none for validation.
    ``val_fraction`` of the training images are held out for it, at random. Ids are paths relative to the part's folder.
    Batches and augmentation are as in :class:`~datamodules.crowd.base.CrowdDataModule`. Prediction takes the images
    below ``predict_dir`` as they are.

    Known faults in the labels of part B, of which none is corrected: the annotation of IMG_108 is wrong, IMG_202, 296
    and 396 are not annotated though there are people in them, and some images occur twice.

    Source: Y. Zhang et al., Single-Image Crowd Counting via Multi-Column Convolutional Neural Network, CVPR 2016,
    https://github.com/desenzhou/ShanghaiTechDataset.

    Args:
        data_dir: Folder that holds ``part_A`` and ``part_B``. Default: ``"data/shanghaitech"``.
        part: ``A`` or ``B``. Default: ``A``.
        batch_size: Crops in a training batch, on each device. Default: 16.
        num_workers: Processes that read images, for each loader. Default: 2.
        predict_dir: Folder of the images to predict. Default: none.
        crop_size: Height and width of the training crops, in pixels. Default: 256 for part A, 512 for part B.
        augmentation: ``standard`` or ``none``. Default: ``standard``.
        val_fraction: Share of the training images held out for validation. Default: 0.1.
        split_seed: What that split depends on. Default: 0.
        validate_on: ``held_out``; or ``test`` to train on all training images and validate on the test images, which
            makes the test errors of what is selected that way too small. Default: ``held_out``.
        sigma: Standard deviation of the Gaussian that stands for a head, in pixels. Default: 4.
        kernel_size: Height and width of its kernel, in pixels, odd. Default: 15.
        coord_offset: What is subtracted from the annotated coordinates, in pixels. Default: 0.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if folders or files are missing, or an annotation or the beginning of an image is
            damaged; from loaders, if the rest of an image is.
    """

    def __init__(
        self,
        data_dir: str = "data/shanghaitech",
        part: Part = "A",
        batch_size: int = 16,
        num_workers: int = 2,
        predict_dir: str | None = None,
        crop_size: int | None = None,
        augmentation: CrowdAugmentationName = "standard",
        val_fraction: float = 0.1,
        split_seed: int = 0,
        validate_on: ValidateOn = "held_out",
        sigma: float = 4.0,
        kernel_size: int = 15,
        coord_offset: float = 0.0,
    ) -> None:
        check_one_of(tuple(_CROP_SIZES), part=part)
        super().__init__(
            batch_size,
            num_workers,
            predict_dir,
            _CROP_SIZES[part] if crop_size is None else crop_size,
            augmentation,
            val_fraction,
            split_seed,
            validate_on,
            sigma,
            kernel_size,
            coord_offset,
        )
        self.data_dir = data_dir
        self.part = part

    def read_split(self, split: Split) -> CrowdFiles:
        """Find the published training or test images and read their annotations."""
        part = self._part_folder()
        folder = part / f"{split}_data"
        pairs = pair_files(folder / "images", _find_annotations(folder), prefix="GT_")
        return read_crowd(pairs, read_image_info, self.coord_offset, part)

    def _part_folder(self) -> Path:
        names = f"part_{self.part}", f"part_{self.part}_final"
        remedy = f"Name the folder that holds {names[0]}/ or {names[1]}/: --data.init_args.data_dir=FOLDER."
        root = require_folder(self.data_dir, "data_dir", remedy)
        if root.resolve().name in names:
            return root
        for folder in (above / name for above in (root, root / "ShanghaiTech") for name in names):
            if folder.is_dir():
                return folder
        raise DataError(f"data_dir='{self.data_dir}' has no folder '{names[0]}' or '{names[1]}'. {remedy}")


def _find_annotations(folder: Path) -> Path:
    """The published annotations' folder; beside it some keep files of their own under the other name."""
    found = [path for path in (folder / "ground-truth", folder / "ground_truth") if path.is_dir()]
    if not found:
        raise DataError(
            f"'{folder}' has no folder 'ground-truth' or 'ground_truth'. Put the published annotations there, "
            "GT_IMG_1.mat and so on."
        )
    return next((path for path in found if any(path.glob("GT_*.mat"))), found[0])
