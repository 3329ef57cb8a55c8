"""A synthetic crowd: drawn scenes in the layout of ShanghaiTech, which need no download."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from datamodules.crowd.base import Split
from datamodules.crowd.drawing.scenes import Scene, check_scene, render_scene
from datamodules.crowd.samples import CrowdFiles
from datamodules.crowd.shanghaitech import ShanghaiTechDataModule
from datamodules.errors import check_at_least
from datamodules.files.conversion import Conversion, convert

_EDITION = 1  # of the drawings: to be raised when the same arguments give others
_JPEG_QUALITY = 90


class SyntheticCrowdDataModule(ShanghaiTechDataModule):
    """Drawn crowds in strong perspective: heads of 3 to 60 pixels in one image, from none to 2,000 of them.

    The scenes are described at :func:`~datamodules.crowd.drawing.scenes.render_scene`, whose seeds are (``scene_seed``,
    0, k) for the k-th training image, counted from 1, and (``scene_seed``, 1, k) for test images. They are drawn once,
    by ``prepare_data``, in a minute or two for the default arguments; what was interrupted goes on where it stopped.
    Each choice of the arguments from ``num_train`` to ``scene_seed`` has a folder of its own below ``data_dir``.

    On disk that folder is part A of ShanghaiTech as published: ``part_A_final/{train,test}_data/`` with
    ``images/IMG_1.jpg`` and so on, and the heads' positions in ``ground_truth/GT_IMG_1.mat``, the first pixel being 0.
    One more variable in these files, ``head_sizes``, holds the heads' diameters in pixels, ``[N, 1]``, in the order of
    the positions: the means of width and height, without hair and hats.

    Splits, ids, batches, augmentation and prediction are as in
    :class:`~datamodules.crowd.shanghaitech.ShanghaiTechDataModule`.

    Args:
        data_dir: Folder for the scenes. Default: ``"data/synthetic_crowd"``.
        num_train: Training images, of which some are held out for validation. Default: 300.
        num_test: Test images. Default: 100.
        height: Of the images in pixels, from 64. Default: 384.
        width: Of the images in pixels, from 64. Default: 512.
        max_heads: People in the largest crowds, 1 to 2000. Default: 2000.
        scene_seed: What the scenes depend on. Default: 0.
        crop_size: Height and width of the training crops, in pixels. Default: 256.
        **kwargs: Those of :class:`~datamodules.crowd.base.CrowdDataModule`, but for ``coord_offset``.

    Raises:
        ValueError: If an argument is out of range.
        DataError: From ``prepare_data``, if ``data_dir`` cannot be written to.
    """

    def __init__(
        self,
        data_dir: str = "data/synthetic_crowd",
        *,
        num_train: int = 300,
        num_test: int = 100,
        height: int = 384,
        width: int = 512,
        max_heads: int = 2000,
        scene_seed: int = 0,
        crop_size: int = 256,
        **kwargs: Any,
    ) -> None:
        check_at_least(1, num_train=num_train, num_test=num_test)
        check_scene(height, width, max_heads)
        check_at_least(0, scene_seed=scene_seed)
        settings = f"{height}x{width}_train{num_train}_test{num_test}_heads{max_heads}_seed{scene_seed}"
        super().__init__(
            data_dir=str(Path(data_dir) / f"{settings}_edition{_EDITION}"),
            part="A",
            crop_size=crop_size,
            coord_offset=0,  # the first pixel's, as drawn
            **kwargs,
        )
        self._counts = {"train": num_train, "test": num_test}
        self._scene_seed = scene_seed
        self._scene = {"height": height, "width": width, "max_heads": max_heads}

    def read_split(self, split: Split) -> CrowdFiles:
        """Draw the scenes that are not there yet, and read the annotations of a split."""
        self.prepare_data()
        return super().read_split(split)

    def prepare_data(self) -> None:
        """Draw the scenes that are not there yet, unless images of the user's are to be predicted.

        The trainer calls it in one process of each machine. Without it, ``setup`` does the same.

        Raises:
            DataError: If ``data_dir`` cannot be written to.
        """
        if self.trainer is not None and self.trainer.state.fn == "predict":
            return
        steps = {
            Conversion(sources=(), targets=_name_targets(split, number)): (self._scene_seed, part, number)
            for part, (split, count) in enumerate(self._counts.items())
            for number in range(1, count + 1)
        }

        def write(step: Conversion, paths: list[Path]) -> None:
            _write(render_scene(steps[step], **self._scene), *paths)

        convert(list(steps), write, Path(self.data_dir).expanduser(), "data_dir")


def _name_targets(split: str, number: int) -> tuple[str, str]:
    """Name an image and its annotation by their paths as published."""
    folder, name = f"part_A_final/{split}_data", f"IMG_{number}"
    return f"{folder}/images/{name}.jpg", f"{folder}/ground_truth/GT_{name}.mat"


def _write(scene: Scene, image: Path, annotation: Path) -> None:
    """Write an image, and the positions, nested as published, with the sizes."""
    _, jpeg = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    image.write_bytes(jpeg.tobytes())
    image_info = np.empty((1, 1), object)
    image_info[0, 0] = {"location": scene.points.astype(float), "number": float(len(scene.points))}
    savemat(annotation, {"image_info": image_info, "head_sizes": scene.head_sizes[:, None].astype(float)})
    with annotation.open("r+b") as file:  # its header names the time: the same scene would be another file each time
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))
