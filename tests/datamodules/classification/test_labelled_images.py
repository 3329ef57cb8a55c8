"""One's own photographs in classes: folders, and tables of images and labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import DataError, LabelledImagesDataModule
from datamodules.samples import collate

COUNTS = {"cat": 6, "dog": 8, "Ärger ": 7}
SMALL = {"num_workers": 0, "batch_size": 4, "resize_size": 20, "crop_size": 16, "val_fraction": 0.25}


def write(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24, 3), colour, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder for each class, one of them with folders in it, beside what is none."""
    root = tmp_path / "images"
    for number, (name, count) in enumerate(COUNTS.items()):
        for i in range(count):
            write(root / name / ("deeper" if i % 2 else "") / f"{name.strip()}_{i}.png", 40 * number + i)
    write(root / ".thumbnails" / "x.png", 0)
    write(root / "beside.png", 0)
    return root


def table(root: Path, text: str) -> Path:
    path = root.parent / "labels.txt"
    path.write_text(text, encoding="utf-8")
    return path


def ids(data: LabelledImagesDataModule) -> dict[str, list[str]]:
    return {split: collate(list(getattr(data, f"{split}_samples")())).id for split in ("train", "val", "test")}


def test_folders_are_classes_and_each_is_split(folders: Path) -> None:
    data = LabelledImagesDataModule(str(folders), **SMALL)
    assert data.class_names == sorted(COUNTS)
    found = ids(data)
    in_classes = {path.relative_to(folders).as_posix() for name in COUNTS for path in (folders / name).rglob("*.png")}
    assert sorted(name for names in found.values() for name in names) == sorted(in_classes)
    for name, count in COUNTS.items():
        of_class = {split: sum(i.startswith(f"{name}/") for i in names) for split, names in found.items()}
        assert of_class["val"] == round(count * 0.25)
        assert of_class["test"] == round(count * 0.4) - round(count * 0.25)
        assert sum(of_class.values()) == count
    for sample in (*data.train_samples(), *data.test_samples()):
        assert sample.id[0].split("/")[0] == data.class_names[int(sample.label)]


@pytest.mark.parametrize("header", ["image,label", "\ufeffFilename;Class", "  path \tid\tCATEGORY"])
def test_a_table_names_images_in_several_ways(folders: Path, header: str) -> None:
    separator = next(c for c in ",;\t" if c in header)
    rows = [
        ["cat/cat_0.png", "zebra"],
        ["cat/deeper/cat_1", "ape"],  # without suffix
        ["dog\\dog_2.png", "zebra"],  # as Windows writes it
        ["./dog/dog_0.png", " ape "],
        ['"dog/deeper/dog_1.png"', "zebra"],
    ]
    if "id" in header:
        rows = [[name, "7", label] for name, label in rows]
    text = "\n".join([header, *(separator.join(row) for row in rows), "", separator * (len(rows[0]) - 1), ""])
    data = LabelledImagesDataModule(str(folders), annotations=str(table(folders, text)), **SMALL)
    assert data.class_names == ["ape", "zebra"]
    labels = dict(zip(data.files.paths, data.files.labels.tolist(), strict=True))
    assert labels == {
        "cat/cat_0.png": 1, "cat/deeper/cat_1.png": 0, "dog/dog_2.png": 1, "dog/dog_0.png": 0, "dog/deeper/dog_1.png": 1
    }  # fmt: skip


def test_a_table_may_say_the_split(folders: Path) -> None:
    splits = ["train", "Training", "val", "validation", "test", "TEST"]
    rows = [f"dog/{'deeper/' * (i % 2)}dog_{i},{'ab'[i // 3]},{split}\n" for i, split in enumerate(splits)]
    text = "image,label,split\n" + "".join(rows)
    found = ids(LabelledImagesDataModule(str(folders), annotations=str(table(folders, text)), **SMALL))
    assert found == {
        "train": ["dog/deeper/dog_1.png", "dog/dog_0.png"],
        "val": ["dog/deeper/dog_3.png", "dog/dog_2.png"],
        "test": ["dog/deeper/dog_5.png", "dog/dog_4.png"],
    }


HEAD = "image,label\ncat/cat_0,a\ndog/dog_0,b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels.txt' lacks a column image .*its columns are: none"),
        ("picture,label\nx,a\n", r"lacks a column image \(or filename, .*\); its columns are: picture, label"),
        ("image,label,class\nx,a,a\n", "has several columns for label: label, class"),
        (HEAD + "cat/cat_2\n", r"labels.txt', row 4: has 1 cells, but the header 2"),
        (HEAD + "cat/cat_99.png,a\n", r"row 4: image 'cat/cat_99.png' is not in '.*images'"),
        (HEAD + "cat/cat_0.png,b\n", "row 4: image 'cat/cat_0.png' has a row before this"),
        (HEAD + "cat/cat_2, \n", "row 4: image 'cat/cat_2.png' has no label"),
        ("image,label\ncat/cat_0,a\n", "names 1 images of fewer than two classes"),
        ("image,label,split\ncat/cat_0,a,most\n", "row 2: split must be train, val or test, got 'most'"),
        ("image,label,split\ncat/cat_0,a,train\ndog/dog_0,b,\n", "says the split of some images and not of 1 others"),
        ("image,label,split\ncat/cat_0,a,train\ndog/dog_0,b,val\n", "has no images with split test"),
    ],
)  # fmt: skip
def test_wrong_tables(folders: Path, text: str, message: str) -> None:
    data = LabelledImagesDataModule(str(folders), annotations=str(table(folders, text)), **SMALL)
    with pytest.raises(DataError, match=message):
        data.setup("fit")


def wrong_encoding(root: Path) -> dict[str, Any]:
    path = table(root, "")
    path.write_bytes("image,label\nSüd,a\n".encode("latin1"))
    return {"annotations": str(path)}


def two_suffixes(root: Path) -> dict[str, Any]:
    write(root / "cat" / "cat_0.jpg", 1)
    return {"annotations": str(table(root, HEAD))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrong_encoding, r"labels.txt' is not UTF-8 text \(byte 13\)"),
        (two_suffixes, r"row 2: image 'cat/cat_0' may be any of cat/cat_0\.jpg, cat/cat_0\.png"),
        (lambda root: {"annotations": str(root / "none.csv")}, r"none.csv' cannot be read: No such file"),
        (lambda root: {"images_dir": str(root / "none")}, "images_dir='.*none' does not exist"),
        (lambda root: {"images_dir": str(root / "cat")}, "holds 1 folders: put one folder of images for each class"),
    ],
    ids=["encoding", "ambiguous", "no table", "no folder", "no classes"],
)
def test_wrong_folders(folders: Path, change: Callable[[Path], dict[str, Any]], message: str) -> None:
    arguments = {"images_dir": str(folders)} | change(folders)
    with pytest.raises(DataError, match=message):
        LabelledImagesDataModule(**arguments, **SMALL).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"max_corrupt": -1}, "max_corrupt must be at least 0, got -1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "must be below 1, so that a part is left to train on"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelledImagesDataModule(**arguments)
