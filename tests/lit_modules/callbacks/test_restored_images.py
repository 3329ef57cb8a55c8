from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image, ImageCms
from torch import Tensor, nn

from datamodules.batches import DegradedBatch
from lit_modules.tasks.restoration import RestorationTask
from tests.support.restorations import Photographs, Scaled, degraded


def predicted(trainer: Trainer, network: nn.Module, images: list[DegradedBatch]) -> Path:
    """Restores images and says where they are."""
    trainer.predict(RestorationTask(network), Photographs(to_restore=images), return_predictions=False)
    return Path(trainer.log_dir) / "predictions"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_images_that_nothing_changes_come_out_bit_by_bit(trainer: Trainer, bits: int, grey: bool) -> None:
    top, size = 2**bits - 1, (13, 300, 1 if grey else 3)
    dtype = np.uint8 if bits == 8 else np.uint16
    levels = np.random.default_rng(0).integers(0, top + 1, size).astype(dtype)
    levels[0, :2] = [[0], [top]]
    image = torch.from_numpy(np.broadcast_to(levels, (13, 300, 3)).astype(np.float32) / np.float32(top))
    folder = predicted(trainer, Scaled(), [degraded(image.permute(2, 0, 1)[None], bits=bits, grey=grey)])
    written = cv2.imread(str(folder / "photo.png"), cv2.IMREAD_UNCHANGED)
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, levels[..., 0] if grey else levels[..., ::-1])
    assert [path.name for path in folder.iterdir()] == ["photo.png"]


def test_profiles_are_kept_where_there_are_any(trainer: Trainer) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = degraded(torch.zeros(1, 3, 4, 4), "plain.png")
    folder = predicted(trainer, Scaled(), [plain, plain._replace(id=["profiled.png"], profile=[profile])])
    found = {}
    for name in ("plain", "profiled"):
        with Image.open(folder / f"{name}.png") as image:
            found[name] = image.info.get("icc_profile")
    assert found == {"plain": None, "profiled": profile}


class Tinted(Scaled):
    """Adds to red and takes from green and blue."""

    def forward(self, image: Tensor) -> Tensor:
        return self.factor * image + torch.tensor([0.12, -0.02, -0.04])[:, None, None]


def test_grey_images_are_the_mean_of_the_restored_channels(trainer: Trainer) -> None:
    folder = predicted(trainer, Tinted(), [degraded(torch.full((1, 3, 12, 12), 0.5), grey=True)])
    with Image.open(folder / "photo.png") as image:
        assert image.mode == "L"
        assert set(np.asarray(image).flatten().tolist()) == {round(255 * 0.52)}


def test_images_in_sub_folders_and_of_equal_names_are_all_written(trainer: Trainer) -> None:
    names = {
        "a.png": "a.png", "a.jpg": "a.jpg.png", "A.PNG": "A.PNG", "deep/a.tif": "deep/a.tif.png",
        "v1.2.png": "v1.2.png", "0001": "0001.png",
    }  # fmt: skip
    images = [degraded(torch.full((1, 3, 4, 4), i / 255), name) for i, name in enumerate(names)]
    folder = predicted(trainer, Scaled(), images)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(names.values())
    for level, path in enumerate(names.values()):
        with Image.open(folder / path) as image:
            assert image.getpixel((0, 0)) == (level,) * 3
