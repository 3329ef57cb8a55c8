"""ShanghaiTech: photographs of crowds with the positions of heads, dense (part A) and sparse (part B)."""

from pathlib import Path
from typing import Any, Literal

from datamodules.crowd.annotations import pair_files, read_image_info
from datamodules.crowd.base import CrowdDataModule, Split
from datamodules.crowd.samples import CrowdFiles, read_crowd
from datamodules.errors import DataError, check_one_of
from datamodules.files.published import require_published

Part = Literal["A", "B"]

_CROP_SIZES: dict[Part, int] = {"A": 256, "B": 512}


class ShanghaiTechDataModule(CrowdDataModule):
    """ShanghaiTech: photographs of crowds from the web (part A, 482) and of streets in Shanghai (part B, 716).

    On disk, as published, for part A:

    - ``<data_dir>/part_A/train_data/images/IMG_1.jpg`` and so on, with the heads' positions in
      ``<data_dir>/part_A/train_data/ground-truth/GT_IMG_1.mat``,
    - the same in ``test_data``.

    The folders may also be called ``part_A_final`` and ``ground_truth``, and lie in one of any name, such as
    ``ShanghaiTech``; ``data_dir`` may be that of the part. What images there are is found by their names, not assumed.
    Images may be grey; they are converted to RGB.

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
        crop_size: Height and width of the training crops, in pixels. Default: 256 for part A, 512 for part B.
        **kwargs: Those of :class:`~datamodules.crowd.base.CrowdDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``setup``, if folders or files are missing, or an annotation or the beginning of an image is
            damaged; from loaders, if the rest of an image is.
    """

    def __init__(
        self,
        data_dir: str = "data/shanghaitech",
        part: Part = "A",
        *,
        crop_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_one_of(tuple(_CROP_SIZES), part=part)
        super().__init__(crop_size=_CROP_SIZES[part] if crop_size is None else crop_size, **kwargs)
        self.data_dir = data_dir
        self.part = part

    def read_split(self, split: Split) -> CrowdFiles:
        """Find the published training or test images and read their annotations."""
        part = self._part_folder()
        folder = part / f"{split}_data"
        pairs = pair_files(folder / "images", _find_annotations(folder), prefix="GT_")
        return read_crowd(pairs, read_image_info, self.coord_offset, self.exif, part)

    def _part_folder(self) -> Path:
        names = f"part_{self.part}", f"part_{self.part}_final"
        remedy = f"Name the folder that holds {names[0]}/ or {names[1]}/: --data.init_args.data_dir=FOLDER."
        return require_published(
            self.data_dir, lambda folder: folder.resolve().name in names, names, f"'{names[0]}' or '{names[1]}'", remedy
        )


def _find_annotations(folder: Path) -> Path:
    """Find the published annotations' folder; beside it some keep files of their own under the other name."""
    found = [path for path in (folder / "ground-truth", folder / "ground_truth") if path.is_dir()]
    if not found:
        raise DataError(
            f"'{folder}' has no folder 'ground-truth' or 'ground_truth'. Put the published annotations there, "
            "GT_IMG_1.mat and so on."
        )
    return next((path for path in found if any(path.glob("GT_*.mat"))), found[0])
