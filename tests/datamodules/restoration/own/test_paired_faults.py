"""Pairs that do not fit each other or the arguments, and arguments out of range: each is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from datamodules import DataError, PairedFoldersDataModule
from tests.datamodules.restoration.own.conftest import all_of, module
from tests.support.restoration_files import write_pairs


def turn(path: Path, orientation: int) -> None:
    """Write the EXIF orientation into an image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as file:
        image = file.copy()
    image.save(path, exif=exif)


def test_sizes_that_do_not_fit_are_named(pairs: Path) -> None:
    Image.new("RGB", (31, 40)).save(pairs / "degraded" / "photo_1.png")
    with pytest.raises(
        DataError,
        match=r"/degraded/photo_1\.png' has 40 × 31 pixels, but '.*/clean/photo_1\.png' 60 × 60, which is not scale=1 "
        r"times as many along each side\. Replace or remove the two files\.$",
    ):
        module(pairs).setup("fit")
    Image.new("RGB", (20, 20)).save(pairs / "degraded" / "photo_1.png")
    with pytest.raises(DataError, match=r"If all are so, it is --data\.init_args\.scale=3\.$"):
        module(pairs).setup("test")
    with pytest.raises(DataError, match=r"/photo_0\.png' has 48 × 60 pixels, but .* not scale=4 times as many"):
        module(pairs, scale=4).setup("fit")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("side", ["degraded", "clean"])
def test_pairs_that_a_camera_turned_differently_are_refused(tmp_path: Path, side: str, suffix: str) -> None:
    root = write_pairs(tmp_path / "pairs", size=(60, 60), degraded=f"degraded/{{name}}.{suffix}")
    (path,) = (root / side).glob("photo_0.*")
    turn(path, 3)
    orientations = r"3, but '.*' 1" if side == "degraded" else r"1, but '.*' 3"
    with pytest.raises(DataError, match=rf"/degraded/photo_0\..*' has the EXIF orientation {orientations}: turned so"):
        module(root).setup("fit")
    (other,) = (root / ("clean" if side == "degraded" else "degraded")).glob("photo_0.*")
    turn(other, 3)
    for split in ("train", "val", "test"):  # both alike: read as shown
        for batch in all_of(module(root), split):
            if batch.id[0].startswith("photo_0."):
                with Image.open(root / "clean" / "photo_0.png") as file:
                    upright = np.asarray(file.transpose(Image.Transpose.ROTATE_180)) / 255
                np.testing.assert_allclose(batch.target[0].permute(1, 2, 0), upright, atol=1e-7)


@pytest.mark.parametrize("kind", ["turned", "size"])
def test_pairs_that_changed_since_they_were_found_are_named(pairs: Path, kind: str) -> None:
    data = module(pairs, scale=1)
    samples = data.test_samples()
    for path in (pairs / "clean").iterdir():
        if kind == "turned":
            turn(path, 6)
        else:
            with Image.open(path) as file:
                image = file.resize((file.width * 2, file.height * 2))
            image.save(path)
    message = "has the EXIF orientation 1, but '.*' 6" if kind == "turned" else r"If all are so, .*scale=2\."
    with pytest.raises(DataError, match=message):
        samples[0]


def test_stacks_are_told(tmp_path: Path) -> None:
    for side in ("degraded", "clean"):
        (tmp_path / side).mkdir()
        for number in range(6):
            tifffile.imwrite(
                tmp_path / side / f"{number}.tif", np.zeros((5, 40, 52), np.uint8), photometric="minisblack"
            )
    with pytest.raises(
        DataError,
        match=r"\.tif' holds 5 pages of one channel, not channels=3\. Replace it, or read all images with "
        r"--data\.init_args\.channels=5\.$",
    ):
        module(tmp_path).setup("fit")
    module(tmp_path, channels=5).setup("fit")


def test_grey_and_colour_do_not_mix(pairs: Path) -> None:
    path = pairs / "degraded" / "photo_0.png"
    Image.open(path).convert("L").save(path)
    with pytest.raises(
        DataError, match=r"/degraded/photo_0\.png' is grey, but '.*/clean/photo_0\.png' in colour\. Replace or"
    ):
        for split in ("train", "val", "test"):
            all_of(module(pairs), split)
    Image.open(path).save(pairs / "clean" / "photo_0.png")
    Image.open(path).convert("RGB").save(path)  # grey, stored in colour
    for split in ("train", "val", "test"):
        assert all_of(module(pairs), split)
    with pytest.raises(DataError, match=r"photo_\d\.png' is in colour, not grey as channels=1 wants it"):
        module(pairs, channels=1).setup("fit")


def test_damaged_images_and_small_ones_are_named(pairs: Path) -> None:
    with pytest.raises(DataError, match=r"^'photo_0\.png' has 48 × 60 pixels, too few for patch_size=49\. Choose"):
        module(pairs, patch_size=49).setup("fit")
    (pairs / "clean" / "photo_3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"/clean/photo_3\.png' cannot be read as an image: its format is none that"):
        module(pairs).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale must be at least 1, got 0"),
        ({"val_size": 0}, "val_size must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"predict_upscale": 0}, "predict_upscale must be at least 1, got 0"),
        ({"unpaired": "drop"}, "unpaired must be one of error, skip, got 'drop'"),
        ({"degraded_name": "noisy"}, "degraded_name must be a pattern with {name} in it once, such as .*, got 'noisy'"),
        ({"scene": "hall"}, r"scene must be a pattern with {scene} in it once, such as '{scene}_\*', got 'hall'"),
        ({"val_fraction": 1.5}, "val_fraction must be above 0 and below 1, got 1.5"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, r"val_fraction \+ test_fraction must be below 1, .*, got 1.1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}$"):
        PairedFoldersDataModule(**arguments)
