"""Photographs that a camera turned, in all crowd data sets on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datamodules import DataError, ShanghaiTechDataModule, UCFQNRFDataModule
from datamodules.crowd.base import CrowdDataModule
from tests.support.crowd_files import turn_photograph, write_shanghaitech, write_ucf_qnrf

WRITERS: dict[type[CrowdDataModule], Callable[..., Any]] = {
    ShanghaiTechDataModule: write_shanghaitech,
    UCFQNRFDataModule: write_ucf_qnrf,
}
ORIENTATIONS = (6, 3, 5, 1, 8, 2, 7, 4)
each_set = pytest.mark.parametrize("of", WRITERS)


def write(root: Path, of: type[CrowdDataModule], orientations: tuple[int, ...]) -> Path:
    """Write a data set of PNG whose photographs are shown upright, stored turned in one and another way."""
    WRITERS[of](root, train=8, test=8)
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        turn_photograph(path, orientations[number % len(orientations)], ".png")
    return root


def module(of: type[CrowdDataModule], root: Path, **arguments: Any) -> Any:
    small = {"num_workers": 0, "batch_size": 3, "crop_size": 48, "val_fraction": 0.3, "augmentation": "none"}
    return of(**(small | {"data_dir": str(root)} | arguments))


@each_set
def test_as_shown_they_are_what_upright_files_are(tmp_path: Path, of: type[CrowdDataModule]) -> None:
    """Images, positions and density maps to the last bit, of crops and whole images, resized ones too."""
    turned = module(of, write(tmp_path / "turned", of, ORIENTATIONS), exif="shown")
    upright = module(of, write(tmp_path / "upright", of, (1,)))
    for split in ("train", "val", "test"):
        batches = []
        for data in (turned, upright):
            torch.manual_seed(0)
            batches.append(list(getattr(data, f"{split}_dataloader")()))
        assert len(batches[0]) == len(batches[1]) > 0
        for one, other in zip(*batches, strict=True):
            assert one.id == other.id
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.density, other.density)
            assert all(torch.equal(a, b) for a, b in zip(one.points, other.points, strict=True))


@each_set
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_as_stored_they_are_refused(tmp_path: Path, of: type[CrowdDataModule], stage: str) -> None:
    root = write(tmp_path, of, (1, 6, 1, 8, 5, 7))
    with pytest.raises(
        DataError, match=r"lie outside the image as stored, \d+ outside it as shown\. Set --data\.init_"
    ):
        module(of, root).setup(stage)
    module(of, root, exif="shown").setup(stage)


@each_set
def test_what_is_published_is_taken_without_a_warning(
    tmp_path: Path, of: type[CrowdDataModule], caplog: pytest.LogCaptureFixture
) -> None:
    WRITERS[of](tmp_path, train=8, test=8)
    for stage in ("fit", "test"):
        module(of, tmp_path).setup(stage)
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_resized_images_are_kept_for_each_reading(tmp_path: Path) -> None:
    root = write(tmp_path, UCFQNRFDataModule, ORIENTATIONS)
    for path in root.rglob("*.png"):  # without heads both readings are taken
        path.with_name(f"{path.stem}_ann.mat").write_bytes((root / "Test" / "img_0003_ann.mat").read_bytes())
    sizes = {}
    for exif in ("stored", "shown", "stored"):
        batches = list(module(UCFQNRFDataModule, root, exif=exif).test_dataloader())
        sizes[exif] = [tuple(batch.image.shape[2:]) for batch in batches]
    sideways = [orientation in (5, 6, 7, 8) for orientation in ORIENTATIONS]
    expected = [size[::-1] if turned else size for size, turned in zip(sizes["stored"], sideways, strict=True)]
    assert sizes["shown"] == expected != sizes["stored"]
    assert {path.name for path in root.iterdir()} == {
        "Train",
        "Test",
        "resized_short_512_2048",
        "resized_short_512_2048_shown",
    }


@pytest.mark.parametrize("exif", ["stored", "shown"])
def test_prediction_shows_photographs_and_tells_the_reading(tmp_path: Path, exif: str) -> None:
    for orientation in ORIENTATIONS:
        Image.new("RGB", (40, 30)).save(tmp_path / f"{orientation}.png")
        turn_photograph(tmp_path / f"{orientation}.png", orientation)
    data = module(ShanghaiTechDataModule, tmp_path / "absent", exif=exif, predict_dir=str(tmp_path))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch.orientation.tolist() for batch in batches] == [[orientation] for orientation in range(1, 9)]
    for batch in batches:
        assert batch.exif == [exif]
        assert batch.original_size.tolist() == [[30, 40]] == [list(batch.image.shape[2:])]


def test_a_photograph_that_is_replaced_meanwhile_is_named(tmp_path: Path) -> None:
    write_shanghaitech(tmp_path, train=4, test=2)
    data = module(ShanghaiTechDataModule, tmp_path)
    data.setup("test")
    name = tmp_path / "part_A" / "test_data" / "images" / "IMG_2.jpg"
    Image.new("RGB", (33, 22)).save(name)
    with pytest.raises(DataError, match=r"^'.*IMG_2\.jpg' has changed its size since its annotation was read\. Start"):
        list(data.test_dataloader())


def test_another_reading_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^exif must be one of stored, shown, got 'upright'$"):
        module(ShanghaiTechDataModule, Path("absent"), exif="upright")
