import errno
import logging
import os
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules import DataError
from datamodules.batches import ImageBatch
from datamodules.files.listing import find_images, list_image_names, list_images
from datamodules.samples import ImageFolder, collate
from datamodules.transforms.pixels import Normalise, Resize
from tests.support.image_files import ImageFiles

to_tensor = Normalise([0, 0, 0], [1, 1, 1])


def test_ids_are_sorted_relative_paths(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(folder, to_tensor)
    assert [samples[index].id for index in range(len(samples))] == [[name] for name in sorted(expected)]


def test_images_of_any_size_become_tensors(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(str(folder), to_tensor)
    for index, name in enumerate(sorted(expected)):
        batch = samples[index]
        height, width, _ = expected[name].shape
        assert isinstance(batch, ImageBatch)
        assert (batch.image.dtype, batch.image.shape) == (torch.float32, (1, 3, height, width))
        assert 0 <= batch.image.min() <= batch.image.max() <= 1


def test_other_files_are_counted_in_one_log_line(odd_images: ImageFiles, caplog: pytest.LogCaptureFixture) -> None:
    folder, expected = odd_images
    with caplog.at_level(logging.INFO, logger="datamodules"):
        ImageFolder(folder, to_tensor)
    left_out = "3 other files left out (1 .bak, 1 .txt, 1 hidden)"
    assert caplog.messages == [f"predict_dir='{folder}': {len(expected)} images, {left_out}"]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def link(folder: Path, name: str, target: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)


def found_in(folder: Path) -> tuple[list[str], dict[str, int], dict[str, int]]:
    names, files, folders = find_images(folder)
    return names, dict(files), dict(folders)


def test_linked_folders_are_searched(tmp_path: Path) -> None:
    touch(tmp_path, "store/monday/1.jpg", "store/monday/deep/2.jpg", "in/0.jpg")
    link(tmp_path, "in/days", "../store")
    link(tmp_path, "in/one", "../store/monday/1.jpg")  # by its own name, which has no suffix
    link(tmp_path, "in/one.jpg", "../store/monday/1.jpg")
    expected = ["0.jpg", "days/monday/1.jpg", "days/monday/deep/2.jpg", "one.jpg"]
    assert found_in(tmp_path / "in") == (expected, {"no suffix": 1}, {})
    link(tmp_path, "linked", "in")
    assert found_in(tmp_path / "linked")[0] == expected


def test_links_in_circles_come_to_an_end(tmp_path: Path) -> None:
    touch(tmp_path, "aside/5.png", "in/a/1.png", "in/b/2.png", "in/c/d/3.png")
    for name, target in {
        "a/to_b": "../b",
        "b/to_a": "../a",
        "c/d/self": ".",
        "c/d/up": "../..",
        "c/d/out": "../../..",
        "z": "nowhere/z",
        "knot": "knot",
    }.items():
        link(tmp_path / "in", name, target)
    names, files, folders = found_in(tmp_path / "in")
    assert (names, files) == (["a/1.png", "b/2.png", "c/d/3.png"], {"no suffix": 2})
    around = {"c/d/out: a link to one around it": 1}
    assert folders == around | {
        f"{name}: a link to one searched already": 1 for name in ("a/to_b", "b/to_a", "c/d/self", "c/d/up")
    }


def test_of_two_links_to_a_folder_the_first_counts_and_never_one_to_what_is_inside(tmp_path: Path) -> None:
    touch(tmp_path, "store/1.png", "in/z/2.png")
    for name, target in {"y": "../store", "x": "../store", "a": "z"}.items():
        link(tmp_path / "in", name, target)
    names, _, folders = found_in(tmp_path / "in")
    assert names == ["x/1.png", "z/2.png"]
    assert sorted(name[0] for name in folders) == ["a", "y"]


def test_links_that_lead_nowhere_are_images_that_cannot_be_read(tmp_path: Path) -> None:
    link(tmp_path, "moved.png", "away.png")
    link(tmp_path, "knot.jpg", "knot.jpg")
    samples = ImageFolder(tmp_path, to_tensor)
    assert samples.ids == ["knot.jpg", "moved.png"]
    for index, reason in enumerate(("Too many levels of symbolic links", "No such file or directory")):
        with pytest.raises(DataError, match=rf"{samples.ids[index]}' cannot be read as an image: {reason}"):
            samples[index]


@pytest.mark.parametrize(
    "name", [".git", ".thumbnails", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
)
def test_hidden_folders_and_those_of_systems_are_left_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/1.png", f"deep/{name}/sub/2.png", "deep/3.png", f"deep/not {name}/4.png")
    link(tmp_path, f"linked/{name}", "../deep")
    assert found_in(tmp_path) == (["deep/3.png", f"deep/not {name}/4.png"], {}, {name: 3})
    assert found_in(tmp_path / name)[0] == ["1.png"]  # which was asked for


def test_no_file_is_left_out_unseen(tmp_path: Path) -> None:
    """All that is in a folder is an image, or is counted."""
    names = [
        "UP.JPG",
        "b.TiFf",
        "x.png ",
        "y.gif",
        "line\nbreak.png",
        "z",
        ".a.png",
        "._b.png",
        "c.p\nng",
        "d.HEIC",
        "é.png",
    ]
    touch(tmp_path, *(f"{sub}{name}" for sub in ("", "s.png/") for name in names))
    os.mkfifo(tmp_path / "pipe.png")  # reading it would never end
    images, files, folders = found_in(tmp_path)
    top = sorted(["UP.JPG", "b.TiFf", "line\nbreak.png", "é.png"])
    assert images == sorted(top + [f"s.png/{name}" for name in top])
    kinds = {"'.png '": 2, ".gif": 2, "no suffix": 2, "hidden": 4, "'.p\\nng'": 2, ".heic": 2, "no regular file": 1}
    assert (files, folders) == (kinds, {})
    assert len(images) + sum(files.values()) == 2 * len(names) + 1


def test_what_was_left_out_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "1.png", "2.gif", "a/3.gif", "b\n.png/.4", "__MACOSX/5.png", "a/__MACOSX/6.png", ".x/7.png")
    with caplog.at_level(logging.INFO, logger="datamodules"):
        list_images(tmp_path, "predict_dir")
    told = "3 other files left out (2 .gif, 1 hidden), 3 folders left out (.x, __MACOSX ×2)"
    assert caplog.messages == [f"predict_dir='{tmp_path}': 1 images, {told}"]


def test_lists_of_one_folder_say_what_they_leave_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "1.png", "1.mat", "2.gif", "sub/3.png")
    with caplog.at_level(logging.INFO, logger="datamodules"):
        assert list_image_names(tmp_path, beside=".mat") == ["1.png"]
    assert caplog.messages == [f"'{tmp_path}': 1 images, 1 other files left out (1 .gif), 1 folders left out (sub)"]


def test_a_folder_that_cannot_be_searched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.png", "closed/2.png")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"^'.*/closed/?' cannot be searched for images: Permission denied\."):
        find_images(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^predict_dir='.*/absent' does not exist\. Name a folder .*\.png \.jpg"):
        ImageFolder(tmp_path / "absent", to_tensor)


def test_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.png").touch()
    with pytest.raises(DataError, match=r"^images='.*/file\.png' is not a folder"):
        ImageFolder(tmp_path / "file.png", to_tensor, argument="images")


def test_folder_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"^predict_dir='.*' holds no images: none of the 1 files .* \.png \.jpg"):
        ImageFolder(tmp_path, to_tensor)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_damaged_image_is_named_without_a_traceback(tmp_path: Path, num_workers: int) -> None:
    (tmp_path / "damaged.png").write_bytes(b"no image")
    loader = DataLoader(ImageFolder(tmp_path, to_tensor), collate_fn=collate, num_workers=num_workers)
    path = tmp_path / "damaged.png"
    # Not pytest.raises: its traceback would keep the iterator until collection, which then takes five seconds.
    message = "no error"
    try:
        next(iter(loader))
    except DataError as error:
        message = str(error.with_traceback(None))
    assert message == (
        f"'{path}' cannot be read as an image: its format is none that is known. Replace or remove the file."
    )


def test_images_of_different_sizes_form_a_batch_once_resized(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    samples = ImageFolder(folder, Normalise([0], [1], after=Resize(6, 5)), grey=True)
    batch = next(iter(DataLoader(samples, batch_size=len(samples), collate_fn=collate)))
    assert batch.image.shape == (len(expected), 1, 6, 5)
    assert batch.id == sorted(expected)
