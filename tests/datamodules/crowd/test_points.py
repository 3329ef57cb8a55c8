"""One's own photographs with objects marked in them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from datamodules import DataError, PointsDataModule
from datamodules.batches import CrowdBatch
from datamodules.crowd.density import make_density_map

HEIGHT, WIDTH = 40, 60
SMALL: dict[str, Any] = {"crop_size": 32, "num_workers": 0, "batch_size": 2, "augmentation": "none"}


@pytest.fixture
def marks(tmp_path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Positions in twelve images, of which the first is without objects, by the images' names."""
    random = np.random.RandomState(0)
    found = {}
    for i in range(12):
        name = f"{'sub/' * (i % 2)}im_{i}.png"
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
        found[name] = (random.rand(i, 2) * (WIDTH - 1, HEIGHT - 1) + 0.5).round(2)
    return found


def write_csv(path: Path, marks: dict[str, Any], extra: Sequence[Sequence[str]] = ()) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "x", "y"])
        for name, points in marks.items():
            writer.writerows([name, x, y] for x, y in points.tolist())
            if not len(points):
                writer.writerow([name, "", ""])
        writer.writerows(extra)
    return str(path)


def write_coco(path: Path, marks: dict[str, Any], size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    images = [{"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name in enumerate(marks)]
    objects = [
        {"id": 1000 * i + j, "image_id": i, "category_id": 3, "keypoints": [x, y, 2], "num_keypoints": 1}
        for i, points in enumerate(marks.values())
        for j, (x, y) in enumerate(points.tolist())
    ]
    content = {"images": images, "annotations": objects, "categories": [{"id": 3, "name": "cell"}]}
    path.write_text(json.dumps(content))
    return str(path)


def write_arrays(folder: Path, marks: dict[str, Any]) -> str:
    for name, points in marks.items():
        path = (folder / name).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, points)
    return str(folder)


def module(tmp_path: Path, annotations: str | None, **arguments: Any) -> PointsDataModule:
    return PointsDataModule(str(tmp_path / "images"), annotations=annotations, **(SMALL | arguments))


def samples_by_id(data: PointsDataModule) -> dict[str, CrowdBatch]:
    """Whole images of all splits."""
    data.setup("validate")
    data.setup("test")
    held_out = {batch.id[0]: batch for samples in (data.val_samples(), data.test_samples()) for batch in samples}
    files = data.train_files
    train = {name: i for i, name in enumerate(files.ids)}
    assert not train.keys() & {batch.id[0] for batch in data.test_samples()}
    return held_out


def test_the_same_points_in_all_formats_give_the_same_density_maps(tmp_path: Path, marks: dict[str, Any]) -> None:
    found = [
        samples_by_id(module(tmp_path, annotations))
        for annotations in (
            write_csv(tmp_path / "points.csv", marks),
            write_coco(tmp_path / "coco.json", marks),
            write_arrays(tmp_path / "arrays", marks),
        )
    ]
    for others in found[1:]:
        assert others.keys() == found[0].keys()
        assert all(torch.equal(others[name].density, batch.density) for name, batch in found[0].items())
    for name, batch in found[0].items():
        points = (marks[name].astype(np.float32) - np.float32(0.5)).clip(0, (WIDTH - 1, HEIGHT - 1))
        assert np.array_equal(batch.points[0].numpy(), points.astype(np.float32))
        assert int(batch.num_heads) == len(points)
        assert np.array_equal(batch.density[0, 0].numpy(), make_density_map(points, HEIGHT, WIDTH, 4, 15))


def test_splits_by_fraction(tmp_path: Path, marks: dict[str, Any]) -> None:
    data = module(tmp_path, write_csv(tmp_path / "p.csv", marks), test_fraction=0.25, val_fraction=1 / 3)
    data.setup("fit")
    data.setup("test")
    parts = [{batch.id[0] for batch in samples} for samples in (data.val_samples(), data.test_samples())]
    trained = {data.train_files.ids[i] for i in data._held_out["train"]}
    assert [len(trained), *map(len, parts)] == [6, 3, 3]
    assert trained | parts[0] | parts[1] == marks.keys()


def test_splits_by_the_table(tmp_path: Path, marks: dict[str, Any]) -> None:
    splits = ["train"] * 7 + ["val"] * 2 + ["test"] * 3
    rows = [
        [name, x, y, split]
        for (name, points), split in zip(marks.items(), splits, strict=True)
        for x, y in (points.tolist() or [("", "")])
    ]
    path = tmp_path / "p.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "X", "Y", "Split"], *rows])
    data = module(tmp_path, str(path))
    names = list(marks)
    assert sorted(data.train_files.ids) == sorted(names[:9])
    assert sorted(batch.id[0] for batch in data.val_samples()) == sorted(names[7:9])
    assert sorted(batch.id[0] for batch in data.test_samples()) == sorted(names[9:])


def test_a_folder_of_its_own_for_test(tmp_path: Path, marks: dict[str, Any]) -> None:
    (tmp_path / "images" / "sub").rename(tmp_path / "others")
    inner = {name: points for name, points in marks.items() if "/" not in name}
    outer = {name.removeprefix("sub/"): points for name, points in marks.items() if "/" in name}
    data = module(
        tmp_path,
        write_csv(tmp_path / "a.csv", inner),
        test_images_dir=str(tmp_path / "others"),
        test_annotations=write_csv(tmp_path / "b.csv", outer),
    )
    assert data.train_files.ids == sorted(inner)
    assert [batch.id[0] for batch in data.test_samples()] == sorted(outer)


def test_photographs_that_a_camera_turned(tmp_path: Path, marks: dict[str, Any]) -> None:
    """Annotated as shown, which is the default: images and positions are those of the upright picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in marks:
        path = tmp_path / "images" / name
        with Image.open(path) as file:
            upright = file.copy()
        upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)  # orientation 6 turns it back
    annotations = write_coco(tmp_path / "coco.json", marks)
    for batch in samples_by_id(module(tmp_path, annotations)).values():
        assert batch.image.shape[2:] == (HEIGHT, WIDTH)
        points = (marks[batch.id[0]].astype(np.float32) - np.float32(0.5)).clip(0, (WIDTH - 1, HEIGHT - 1))
        assert np.array_equal(batch.points[0].numpy(), points)
    with pytest.raises(DataError, match=rf"with {HEIGHT} × {WIDTH} pixels, but has .* as stored.*exif=shown"):
        module(tmp_path, annotations, exif="stored").setup("fit")


@pytest.mark.parametrize(
    ("arguments", "extra", "message"),
    [
        ({}, [["im_0", "1", "x"]], r"p\.csv.*14.*|p\.csv.*'x'"),
        ({}, [["im_99.png", "1", "1"]], "im_99.png"),
        ({"category": "dog"}, [], "dog"),
        ({"outside": "error"}, [["im_2.png", "999", "1"]], r"1 positions lie outside 'im_2.png', the first at 999, 1"),
        ({"coordinates": "percent"}, [["im_2.png", str(i), str(i)] for i in range(2000, 2200)], "coordinates must be"),
    ],
    ids=["no number", "no image", "no category", "outside", "unit"],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, marks: dict[str, Any], arguments: dict[str, Any], extra: list[list[str]], message: str
) -> None:
    annotations = write_csv(tmp_path / "p.csv", marks, extra)
    with pytest.raises(DataError, match=message):
        module(tmp_path, annotations, **arguments).setup("fit")


def test_x_and_y_swapped_are_told(tmp_path: Path, marks: dict[str, Any]) -> None:
    wide = {name: np.column_stack([points[:, 0] * 0 + 20, points[:, 0] * 0 + 55]) for name, points in marks.items()}
    with pytest.raises(DataError, match="They fit with x and y swapped"):
        module(tmp_path, write_csv(tmp_path / "p.csv", wide)).setup("fit")


def test_images_that_are_not_named(tmp_path: Path, marks: dict[str, Any]) -> None:
    some = {name: points for name, points in marks.items() if len(points)}
    annotations = write_csv(tmp_path / "p.csv", some)
    with pytest.raises(DataError, match=r"does not name 1 images of .*im_0\.png"):
        module(tmp_path, annotations).setup("fit")
    data = module(tmp_path, annotations, unlisted="empty")
    assert data._own.files.ids == sorted(marks)
    assert len(data._own.files.points[data._own.files.ids.index("im_0.png")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coordinates": "metres"}, "coordinates must be one of"),
        ({"unlisted": "skip"}, "unlisted must be one of error, empty, got 'skip'"),
        ({"outside": "keep"}, "outside must be one of border, error, got 'keep'"),
        ({"test_fraction": 1.5}, "test_fraction must be above 0 and below 1, got 1.5"),
        ({"test_annotations": "x.csv"}, "test_images_dir must be given with test_annotations"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointsDataModule(**arguments)
