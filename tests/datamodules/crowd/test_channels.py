"""Images to count in, of one channel, three or many, of 8 and 16 bits."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from datamodules import DataError, PointsDataModule, ShanghaiTechDataModule
from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD
from datamodules.crowd.channels import ImageChannels
from datamodules.crowd.transforms import CrowdAugmentation, ScaledCrop
from tests.support.crowd_files import turn_photograph

SIZE = (48, 64)
RANDOM = np.random.RandomState(0)


def write(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    """Write an image ``[H, W, C]`` as its users have it: PNG, or pages of a TIFF, or an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels.transpose(2, 0, 1).squeeze(), photometric="minisblack")
    else:
        assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def draw(channels: int, bits: int, random: np.random.RandomState = RANDOM) -> np.ndarray[Any, Any]:
    return random.randint(0, 2**bits, (*SIZE, channels)).astype(f"uint{bits}")


KINDS = [(1, 8, ".png"), (1, 16, ".png"), (1, 16, ".tif"), (3, 8, ".png"), (3, 16, ".png"), (5, 16, ".tif")]
KINDS += [(5, 8, ".tif"), (4, 16, ".npy"), (2, 8, ".npy")]


@pytest.mark.parametrize(("channels", "bits", "suffix"), KINDS)
def test_no_bit_is_lost(tmp_path: Path, channels: int, bits: int, suffix: str) -> None:
    pixels = draw(channels, bits)
    mean, std = np.linspace(0.1, 0.6, channels), np.linspace(0.3, 0.2, channels)
    reader = ImageChannels(channels, mean.tolist(), std.tolist())
    image = reader.read(write(tmp_path / f"a{suffix}", pixels), "shown")
    assert image.shape == pixels.shape
    assert np.array_equal(np.rint(image.astype(float) * (1 if bits == 8 else 65535)), pixels)
    normalised = reader.normalise(image).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(normalised, (pixels / (2**bits - 1) - mean) / std, atol=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_as_stored_is_what_is_in_the_file(tmp_path: Path, orientation: int) -> None:
    """Of 16 bits in one channel, whose reader turns all images."""
    shown = draw(1, 16)[..., 0]
    Image.fromarray(shown).save(tmp_path / "a.png")
    turn_photograph(tmp_path / "a.png", orientation)
    stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    for exif, expected in (("shown", shown), ("stored", stored)):
        image = ImageChannels(1).read(tmp_path / "a.png", exif)  # type: ignore[arg-type]
        assert np.array_equal(np.rint(image[..., 0].astype(float) * 65535), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": 1, "mean": [0.5, 0.5]}, r"mean must be a number from 0 to 1 for each of 1 channels, got \[0.5, "),
        ({"mean": [0.5]}, r"mean must be a number from 0 to 1 for each of 3 channels, got \[0.5\]"),
        ({"mean": [128, 128, 128]}, "mean must be a number from 0 to 1 for each of 3 channels"),
        ({"std": [0.5, 0, 0.5]}, "std must be a number above 0 for each of 3 channels"),
        ({"channels": 5, "std": [0.5] * 4}, "std must be a number above 0 for each of 5 channels"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointsDataModule(**arguments)


def test_defaults_are_those_of_imagenet_or_the_middle() -> None:
    assert (ImageChannels().mean, ImageChannels().std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (ImageChannels(2).mean, ImageChannels(2).std) == ((0.5, 0.5), (0.5, 0.5))
    assert ImageChannels(3, std=[1, 1, 1]).mean == IMAGENET_MEAN


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("bits", [8, 16])
def test_augmentation_keeps_depth_and_channels(channels: int, bits: int) -> None:
    """Each channel is one grey here: it stays so, in as many levels as a deep image has."""
    torch.manual_seed(0)
    grey = draw(1, bits)
    image = np.repeat(grey if bits == 8 else (grey / np.float32(65535)).astype(np.float32), channels, 2)
    augmentation = CrowdAugmentation(24, mean=(0.25,) * channels)
    levels = set()
    for _ in range(10):
        crop, _ = augmentation(image, np.array([[20, 20]], np.float32))
        assert (crop.shape, crop.dtype) == ((24, 24, channels), image.dtype)
        np.testing.assert_allclose(crop, crop[..., :1].repeat(channels, 2), atol=1e-6)
        assert crop.max() <= (255 if bits == 8 else 1.000001)
        levels |= set(np.unique(crop).tolist())
    assert (len(levels) > 256) == (bits == 16)


@pytest.mark.parametrize("deep", [False, True])
def test_padding_is_the_mean_of_each_channel(deep: bool) -> None:
    mean = (0.0, 0.2, 1.0, 0.4)
    image = np.zeros((5, 5, 4), np.float32 if deep else np.uint8)
    crop, _ = ScaledCrop(8, (1, 1), mean)(image, np.zeros((0, 2), np.float32))
    np.testing.assert_allclose(crop[5:].reshape(-1, 4) / (1 if deep else 255), [mean] * 24, atol=1e-6)
    assert not crop[:5, :5].any()


def write_own(root: Path, channels: int, bits: int, suffix: str, count: int = 8) -> dict[str, np.ndarray[Any, Any]]:
    """Write images with as many objects as their number, and a table of them."""
    random = np.random.RandomState(1)
    images, rows = {}, []
    for number in range(count):
        name = f"{'sub/' * (number % 2)}im_{number}{suffix}"
        images[name] = draw(channels, bits, random)
        write(root / "images" / name, images[name])
        rows += [(name, *(random.rand(2) * SIZE[::-1]).round(2)) for _ in range(number)] or [(name, "", "")]
    with (root / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "x", "y"), *rows])
    return images


def module(root: Path, channels: int, **arguments: Any) -> PointsDataModule:
    small: dict[str, Any] = {
        "crop_size": 32,
        "num_workers": 0,
        "batch_size": 2,
        "annotations": str(root / "points.csv"),
    }
    return PointsDataModule(str(root / "images"), channels=channels, **(small | arguments))


@pytest.mark.parametrize(
    ("channels", "bits", "suffix"), [(1, 16, ".tif"), (1, 8, ".png"), (5, 16, ".tif"), (2, 8, ".npy")]
)
def test_batches_have_the_channels_of_the_images(tmp_path: Path, channels: int, bits: int, suffix: str) -> None:
    images = write_own(tmp_path, channels, bits, suffix)
    mean, std = [0.3] * channels, [0.2] * channels
    data = module(tmp_path, channels, mean=mean, std=std, predict_dir=str(tmp_path / "images"))
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    for batch in data.train_dataloader():
        assert batch.image.shape[1:] == (channels, 32, 32)
    seen = set()
    for batch in (*data.val_dataloader(), *data.test_dataloader(), *data.predict_dataloader()):
        expected = (images[batch.id[0]] / (2**bits - 1) - 0.3) / 0.2
        np.testing.assert_allclose(batch.image[0].permute(1, 2, 0), expected, atol=1e-5)
        assert torch.equal(batch.mean, torch.tensor([mean]))
        assert torch.equal(batch.std, torch.tensor([std]))
        seen.add(batch.id[0])
    assert seen == images.keys()


def test_arrays_beside_annotations_for_each_image_are_positions(tmp_path: Path) -> None:
    """A file of this kind may be either: images where the annotations are one file, else positions."""
    names = [f"im_{number}" for number in range(6)]
    for name in names:
        write(tmp_path / "images" / f"{name}.png", draw(1, 8))
        np.save(tmp_path / "images" / f"{name}.npy", np.array([[3.5, 4.5]]))
    data = module(tmp_path, 1, annotations=None)
    assert sorted(data.train_files.ids + data.test_files.ids) == [f"{name}.png" for name in names]
    assert [points.tolist() for points in data.train_files.points] == [[[3, 4]]] * len(data.train_files.ids)


@pytest.mark.parametrize(
    ("written", "channels", "message"),
    [
        ((3, 8, ".png"), 1, r"is in colour, not grey as channels=1 wants it\. Convert it, or read all: channels=3"),
        ((5, 16, ".tif"), 3, r"holds 5 pages of one channel, not channels=3\. .*--data\.init_args\.channels=5"),
        ((1, 8, ".png"), 5, "has not channels=5"),
    ],
)
def test_images_of_other_channels_are_named(
    tmp_path: Path, written: tuple[int, int, str], channels: int, message: str
) -> None:
    write_own(tmp_path, *written)
    data = module(tmp_path, channels)
    data.setup("test")
    with pytest.raises(DataError, match=rf"^'.*im_\d{written[2]}' {message}"):
        list(data.test_dataloader())


def test_what_is_counted_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_own(tmp_path, 1, 8, ".png")
    caplog.set_level("INFO")
    for category, counted in ((None, "objects"), ("cell", "cell")):
        data = module(tmp_path, 1, category=category, predict_dir=str(tmp_path / "images"))
        data.setup("predict")
        assert {name for batch in data.predict_dataloader() for name in batch.category} == {counted}
    module(tmp_path, 1).setup("fit")
    assert any("8 images, 28 objects, 0 of them moved" in record.getMessage() for record in caplog.records)
    published = ShanghaiTechDataModule(num_workers=0, predict_dir=str(tmp_path / "images"))
    published.setup("predict")
    assert {name for batch in published.predict_dataloader() for name in batch.category} == {"heads"}
