"""UCF-QNRF: large photographs of dense crowds with the positions of heads."""

from pathlib import Path
from typing import Any

from datamodules.crowd.annotations import pair_files, read_ann_points
from datamodules.crowd.base import CrowdDataModule, Split
from datamodules.crowd.resizing import ResizeRule, compute_resized_size, resize_files
from datamodules.crowd.samples import CrowdFiles, read_crowd
from datamodules.files.listing import require_folder
from datamodules.files.published import require_published
from datamodules.transforms.crops import resize_bilinear
from datamodules.types import Photograph

_FOLDERS: dict[Split, str] = {"train": "Train", "test": "Test"}


class UCFQNRFDataModule(CrowdDataModule):
    """UCF-QNRF: 1,535 photographs of dense crowds, of up to 6700 × 10000 pixels and 12,865 heads.

    On disk, as published: ``<data_dir>/Train/img_0001.jpg`` and so on, each with its heads' positions in
    ``img_0001_ann.mat`` beside it, and the same in ``<data_dir>/Test``; both may lie in a folder such as
    ``UCF-QNRF_ECCV18``.

    Images are resized, their aspect kept, by the rule ``resize``; the field has several:

    - ``short_512_2048``: the shorter side is brought to 512 pixels if it is shorter, to 2048 if it is longer,
    - ``fit_1024``: images that do not fit into 1024 × 1024 pixels are shrunk until they do,
    - ``long_1536``: images whose longer side is above 1536 pixels are shrunk to that,
    - ``none``: they are used as they are.

    This is done once, bilinear with antialiasing, into ``<cache_dir>/resized_<rule>/Train`` and ``Test`` (with ``exif``
    ``shown``: ``resized_<rule>_shown``), as JPEG of quality 95 without subsampled colours: PNG would take three times
    the space and the time to read. Images that the rule leaves as they are are read from where they are. What is
    interrupted goes on where it stopped, and images that have changed since are resized again. Positions are always
    read from the published files, and move with the pixels.

    ``coord_offset`` is subtracted from positions before resizing. Positions outside their image, which occur, are moved
    to its border, and their number is logged. All annotations are read and checked before anything runs.

    Splits: 1,201 training and 334 test images are published, none for validation. ``val_fraction`` of the training
    images are held out for it, at random. Ids are paths relative to the folder that holds ``Train`` and ``Test``.
    Batches and augmentation are as in :class:`~datamodules.crowd.base.CrowdDataModule`. Prediction resizes the images
    below ``predict_dir`` by the same rule; batches keep the size they had before.

    Source: H. Idrees et al., Composition Loss for Counting, Density Map Estimation and Localization in Dense Crowds,
    ECCV 2018, https://www.crcv.ucf.edu/data/ucf-qnrf/.

    Args:
        data_dir: Folder that holds ``Train`` and ``Test``. Default: ``"data/ucf_qnrf"``.
        resize: ``short_512_2048``, ``fit_1024``, ``long_1536`` or ``none``. Default: ``short_512_2048``.
        cache_dir: Folder in which resized images are kept, in a folder for each rule. Default: ``data_dir``.
        crop_size: Height and width of the training crops, in pixels. Default: 512.
        **kwargs: Those of :class:`~datamodules.crowd.base.CrowdDataModule`.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``prepare_data`` and ``setup``, if folders or files are missing, an annotation or an image to be
            resized is damaged, or resized images cannot be written; from loaders, if another image is damaged.
    """

    def __init__(
        self,
        data_dir: str = "data/ucf_qnrf",
        *,
        resize: ResizeRule = "short_512_2048",
        cache_dir: str | None = None,
        crop_size: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(crop_size=crop_size, **kwargs)
        compute_resized_size(1, 1, resize)  # refuses another rule
        self.data_dir = data_dir
        self.resize = resize
        self.cache_dir = cache_dir

    def prepare_data(self) -> None:
        """Resize what the trainer's stage needs and is not resized yet, without a trainer all images.

        The trainer calls it in one process of each machine. Without it, ``setup`` does the same.

        Raises:
            DataError: If data is missing or damaged, or resized images cannot be written.
        """
        stage = None if self.trainer is None else self.trainer.state.fn
        if stage in (None, "fit") or (stage == "validate" and self.validate_on == "held_out"):
            _ = self.train_files
        if stage in (None, "test") or (stage in ("fit", "validate") and self.validate_on == "test"):
            _ = self.test_files

    def read_split(self, split: Split) -> CrowdFiles:
        """Find the published training or test images and read their annotations."""
        root = self._published_folder()
        folder = root / _FOLDERS[split]
        pairs = pair_files(folder, folder, suffix="_ann")
        return read_crowd(pairs, read_ann_points, self.coord_offset, self.exif, root)

    def resize_split(self, files: CrowdFiles, split: Split) -> CrowdFiles:
        """Resize published images by the rule, if that is not done."""
        root = self._published_folder()
        cache = root if self.cache_dir is None else Path(self.cache_dir).expanduser()
        settings = self.resize if self.exif == "stored" else f"{self.resize}_{self.exif}"
        return resize_files(files, self.resize, cache / f"resized_{settings}" / _FOLDERS[split])

    def prepare_stored(self) -> None:
        """Resize nothing: what is published is stored."""

    def prepare(self, image: Photograph) -> Photograph:
        """Resize an image to predict by the rule."""
        return resize_bilinear(image, *compute_resized_size(image.shape[0], image.shape[1], self.resize))

    def _published_folder(self) -> Path:
        remedy = "Name the folder that holds Train/ and Test/: --data.init_args.data_dir=FOLDER."
        root = require_folder(self.data_dir, "data_dir", remedy)
        if any((root / name).is_dir() for name in _FOLDERS.values()):
            return root
        wanted = "Train/img_0001_ann.mat and so on"
        return require_published(self.data_dir, _is_published, ("UCF-QNRF*",), wanted, remedy)


def _is_published(folder: Path) -> bool:
    return any(any((folder / name).glob("*_ann.mat")) for name in _FOLDERS.values())
