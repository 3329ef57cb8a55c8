from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from lightning.pytorch import Trainer
from PIL import Image, ImageCms

from lit_modules.output import log_picture, png_path, restored_path, write_png, write_restored
from tests.lit_modules.conftest import logged_images


def test_no_two_images_share_a_file() -> None:
    names = ["a.png", "a.jpg", "a.jpg.png", "a.jpg.png.png", "a.png.png", "a.png.jpg", "b/a.png", "a.b.png"]
    assert len({png_path(Path("folder"), name) for name in names}) == len(names)

    assert len({restored_path(Path("folder"), name, 5) for name in names}) == len(names)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channels_than_grey_and_rgb_become_pages_of_a_tiff(tmp_path: Path, channels: int, bits: int) -> None:
    levels = np.random.default_rng(0).integers(0, 2**bits, (channels, 13, 17))
    path = restored_path(tmp_path, "deep/a.npy", channels)
    assert path == tmp_path / "deep" / "a.npy.tif"
    write_restored(path, torch.from_numpy(levels / (2**bits - 1)).float(), bits)
    found = tifffile.imread(path)
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(found, levels)


@pytest.mark.parametrize("name", ["é" * 120, "n" * 300, "latin1-\udce9", "line\nbreak", "50%{}"])
def test_pictures_are_logged_whatever_their_names(tmp_path: Path, trainer: Trainer, name: str) -> None:
    trainer.testing = True
    for end in "ab":
        log_picture(trainer, f"pictures/{name}{end}", torch.zeros(3, 4, 4, dtype=torch.uint8))
    trainer.loggers[0].finalize("success")
    assert len(logged_images(tmp_path / "run")) == 2
    assert len(list((tmp_path / "run" / "pictures" / "pictures").glob("*.png"))) == 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("channels", "grey"), [(3, False), (3, True), (1, False)])
def test_a_profile_is_kept(tmp_path: Path, channels: int, grey: bool, bits: int) -> None:
    """The file is read back whole, by Pillow and OpenCV, with the profile as it was."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = torch.rand(channels, 6, 7)
    for name, icc in (("with.png", profile), ("without.png", b"")):
        write_png(tmp_path / name, image, bits, grey, icc)
        with Image.open(tmp_path / name) as file:
            assert file.info.get("icc_profile", b"") == icc
            file.load()
    written = [cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED) for name in ("with.png", "without.png")]
    assert np.array_equal(*written)
