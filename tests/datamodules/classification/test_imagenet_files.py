import logging
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datamodules import DataError, ImageNetDataModule
from datamodules.classification.class_folders import list_class_folders, list_classes
from datamodules.classification.imagenet_files import DEVKIT, read_devkit
from tests.support.image_files import IMAGENET_CLASSES, write_devkit, write_imagenet

CLASSES = sorted(IMAGENET_CLASSES)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """An ImageNet in class folders of its own, to be damaged."""
    return write_imagenet(tmp_path / "data")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """An ImageNet of its own whose validation images are as published, to be damaged."""
    return write_imagenet(tmp_path / "data", raw_val=True)


def refusal(root: Path, stage: str = "fit") -> str:
    """What the user reads; no more than three lines of it."""
    with pytest.raises(DataError) as caught:
        ImageNetDataModule(str(root), num_workers=0).setup(stage)
    message = str(caught.value)
    assert len(message) < 360 + 3 * len(str(root))
    return message


def pack(root: Path) -> Path:
    """Replace the extracted development kit by its archive."""
    archive = root / f"{DEVKIT}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / DEVKIT, DEVKIT)
    shutil.rmtree(root / DEVKIT)
    return archive


def test_development_kit(raw: Path) -> None:
    extracted = read_devkit(raw)
    assert extracted is not None
    assert list(extracted.wnids.items()) == [
        (1, "n02123045"),
        (2, "n01440764"),
        (3, "n03126707"),
        (4, "n07753592"),
        (5, "n02012849"),
    ]
    assert extracted.words == IMAGENET_CLASSES
    assert len(extracted.truth) == 20
    pack(raw)
    packed = read_devkit(raw)
    assert packed is not None
    assert packed[:3] == extracted[:3]
    assert packed.source.endswith(f"{DEVKIT}.tar.gz/data/ILSVRC2012_validation_ground_truth.txt")
    assert read_devkit(raw / "val") is None


def test_table_of_classes_has_the_published_fields(raw: Path) -> None:
    synsets = loadmat(raw / DEVKIT / "data" / "meta.mat")["synsets"]
    assert synsets.shape == (6, 1)
    assert synsets.dtype.names[:5] == ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")


def test_any_usual_images_of_any_class_names(folders: Path) -> None:
    for name in CLASSES:
        (folders / "train" / name).rename(folders / "train" / f"{IMAGENET_CLASSES[name]} ({name[-4:]})")
    shutil.rmtree(folders / "val")
    first = folders / "train" / "banana (3592)"
    (first / "n07753592_0.JPEG").rename(first / "a.jpg")
    (first / "n07753592_1.JPEG").rename(first / "B.PNG")
    (first / "n07753592_2.JPEG").rename(first / "c.JPEG.txt")
    (first / ".hidden.jpg").touch()
    (folders / "train" / ".hidden").mkdir()
    (folders / "train" / "notes.txt").touch()
    data = ImageNetDataModule(str(folders), val_fraction=0.2)
    data.setup("fit")
    assert data.class_names == [
        "banana (3592)",
        "crane (2849)",
        "crane (6707)",
        "tabby, tabby cat (3045)",
        "tench, Tinca tinca (0764)",
    ]
    files = list_classes(folders, "train", data.class_names)
    assert files.paths[:3] == [f"train/banana (3592)/{name}" for name in ("B.PNG", "a.jpg", "n07753592_3.JPEG")]
    assert np.bincount(files.labels).tolist() == [8, 6, 8, 7, 5]


def test_validation_may_lack_classes(folders: Path) -> None:
    shutil.rmtree(folders / "val" / CLASSES[1])
    data = ImageNetDataModule(str(folders), num_workers=0)
    data.setup("fit")
    samples = data.val_samples()
    assert sorted({samples[index].label.item() for index in range(len(samples))}) == [0, 2, 3, 4]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    remedy = "Name the folder that holds train/ and val/: --data.init_args.data_dir=FOLDER."
    assert refusal(tmp_path / "absent") == f"data_dir='{tmp_path}/absent' does not exist. {remedy}"
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == f"data_dir='{tmp_path}/file' is not a folder. {remedy}"


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_split_is_named(folders: Path, split: str) -> None:
    shutil.rmtree(folders / split)
    assert refusal(folders).startswith(
        f"'{folders}' has no folder '{split}'. Put one folder of images for each class there, {split}/<class>/<image>, "
    )


def test_empty_folders_are_named(folders: Path) -> None:
    for path in (folders / "train" / CLASSES[3]).iterdir():
        path.unlink()
    assert refusal(folders).startswith(f"'{folders}/train/{CLASSES[3]}' holds no images (.png .jpg .jpeg")
    shutil.rmtree(folders / "train")
    (folders / "train").mkdir()
    assert refusal(folders).startswith(f"'{folders}/train' holds no class folders. Put one folder of images for each")
    assert "holds no class folders" in refusal(folders, "test")


def test_unpacked_archives_are_explained(folders: Path) -> None:
    shutil.rmtree(folders / "train")
    (folders / "train").mkdir()
    for name in CLASSES:
        (folders / "train" / f"{name}.tar").touch()
    message = refusal(folders)
    assert message.startswith(f"'{folders}/train' holds no class folders but 5 archives. Extract each into a folder")
    assert 'for f in *.tar; do mkdir "${f%.tar}" && tar xf "$f" -C "${f%.tar}"; done' in message


def test_classes_without_training_images_are_named(folders: Path, tmp_path: Path) -> None:
    shutil.rmtree(folders / "train" / CLASSES[1])
    shutil.rmtree(folders / "train" / CLASSES[4])
    message = refusal(folders)
    assert message.startswith(f"'{folders}/val' holds classes that '{folders}/train' lacks: n02012849, n07753592. Add")
    raw = write_imagenet(tmp_path / "raw", raw_val=True)
    shutil.rmtree(raw / "train" / CLASSES[1])
    message = refusal(raw)
    assert message.startswith(f"'{raw}/val' holds images of classes that '{raw}/train' lacks: n02012849. Extract")


def test_missing_development_kit_is_explained(raw: Path) -> None:
    shutil.rmtree(raw / DEVKIT)
    message = refusal(raw)
    assert message.startswith(f"'{raw}/val' holds images without class folders, but the ground truth is missing: ")
    assert f"neither {DEVKIT}.tar.gz nor {DEVKIT}/ is in '{raw}'" in message
    shutil.rmtree(raw / "train")
    assert refusal(raw, "test") == message


def test_validation_folder_of_something_else_is_explained(raw: Path) -> None:
    for path in (raw / "val").iterdir():
        path.rename(path.with_name(f"my_{path.name}"))
    assert refusal(raw).startswith(f"'{raw}/val' holds neither class folders nor ILSVRC2012_val_00000001.JPEG and so")


def test_ground_truth_of_other_images_is_refused(raw: Path) -> None:
    (raw / "val" / "ILSVRC2012_val_00000007.JPEG").unlink()
    truth = f"'{raw}/{DEVKIT}/data/ILSVRC2012_validation_ground_truth.txt'"
    assert refusal(raw) == (
        f"{truth} has 20 lines for the 19 images in '{raw}/val'; images are missing, such as number 7. Extract both "
        "again: there must be one line for each image."
    )
    shutil.rmtree(raw / DEVKIT)
    write_devkit(raw, [1] * 6)
    assert refusal(raw).startswith(f"{truth} has 6 lines for the 19 images in '{raw}/val'. Extract both again")


@pytest.mark.parametrize("line", ["6", "0", "x", "1.5", "-1"])
def test_ground_truth_of_no_class_is_refused(raw: Path, line: str) -> None:
    path = raw / DEVKIT / "data" / "ILSVRC2012_validation_ground_truth.txt"
    lines = path.read_text().split()
    path.write_text("\n".join([*lines[:3], line, *lines[4:]]))
    assert refusal(raw).startswith(f"'{path}' is damaged: line 4 is not the ILSVRC2012_ID of a class: '{line}'. Repl")


def _drop(name: str) -> Callable[[Path], object]:
    return lambda root: (root / DEVKIT / "data" / name).unlink()


def _truncate(root: Path) -> None:
    path = root / DEVKIT / "data" / "meta.mat"
    path.write_bytes(path.read_bytes()[:200])


def _truncate_archive(root: Path) -> None:
    path = pack(root)
    path.write_bytes(path.read_bytes()[:100])


def _empty_archive(root: Path) -> None:
    shutil.rmtree(root / DEVKIT / "data")
    pack(root)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no table": (_drop("meta.mat"), rf"{DEVKIT}' is damaged: it cannot be read \(.*meta\.mat"),
    "no ground truth": (_drop("ILSVRC2012_validation_ground_truth.txt"), rf"{DEVKIT}' is damaged: it cannot be read"),
    "half a table": (_truncate, r"meta\.mat' is damaged: it does not hold the table of classes"),
    "other table": (
        lambda root: savemat(root / DEVKIT / "data" / "meta.mat", {"other": 1}),
        r"meta\.mat' is damaged: it does not hold the table of classes \('synsets'\)",
    ),
    "half an archive": (_truncate_archive, rf"{DEVKIT}\.tar\.gz' is damaged: it cannot be read"),
    "no archive": (
        lambda root: pack(root).write_bytes(b"no archive"),
        rf"{DEVKIT}\.tar\.gz' is damaged: it cannot be read",
    ),
    "empty archive": (_empty_archive, rf"{DEVKIT}\.tar\.gz' is damaged: it cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_development_kit_is_named(raw: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    change(raw)
    found = refusal(raw)
    assert re.match(rf"'{re.escape(str(raw))}/.*{message}", found)
    assert "Replace it with the published one" in found


def test_listing_looks_at_no_file(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "train" / f"class_{number}").mkdir(parents=True)
        for image in range(200):
            (tmp_path / "train" / f"class_{number}" / f"{image}.jpg").symlink_to("nowhere")  # to look at it would fail
    files = list_classes(tmp_path, "train", list_class_folders(tmp_path / "train"))
    assert len(files.paths) == len(files.labels) == 600
    assert files.paths[200] == "train/class_1/0.jpg"


def test_class_folders_are_searched_through_links_and_say_what_they_leave_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("store/fox/1.jpg", "in/train/cat/1.png", "in/train/cat/young/2.png", "in/train/cat/@eaDir/1.png")
    for name in (*names, "in/train/__MACOSX/cat/1.png", "in/train/stray.jpg", "in/train/cat/list.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / "in"
    for name, target in {"fox": "../../store/fox", "all": ".", "cat/fox": "../fox", "cat/up": ".."}.items():
        (root / "train" / name).symlink_to(target)
    classes = list_class_folders(root / "train")
    assert classes == ["cat", "fox"]
    with caplog.at_level(logging.INFO, logger="datamodules"):
        files = list_classes(root, "train", classes)
    assert list(files.paths) == [
        f"train/{name}" for name in ("cat/1.png", "cat/fox/1.jpg", "cat/young/2.png", "fox/1.jpg")
    ]
    assert files.labels.tolist() == [0, 0, 0, 1]
    (told,) = caplog.messages
    assert told.startswith(
        f"'{root / 'train'}': 4 images, 2 other files left out (1 .txt, 1 images in no class folder), "
    )
    assert told.endswith("4 folders left out (@eaDir, __MACOSX, all, up: a link to one around it)")
