"""Where data sets are looked for."""

import logging
from pathlib import Path

import pytest

from datamodules import DataError
from datamodules.files.published import find_published, require_published

USUAL = ("Set_*/Data", "Set_*", "Data")
REMEDY = "Name it."


def is_it(folder: Path) -> bool:
    return (folder / "wanted.txt").is_file()


def make(root: Path, *places: str) -> Path:
    for place in places:
        (root / place).mkdir(parents=True)
        (root / place / "wanted.txt").touch()
    return root


def find(root: Path) -> Path | None:
    return find_published(str(root), is_it, USUAL, REMEDY)


@pytest.mark.parametrize(
    "place", [".", "Set_1", "Set_1/Data", "Data", "any", "any/Set_1/Data", "any/Data", "any/Set_2"]
)
def test_it_may_be_the_folder_named_or_lie_in_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "root" / "nothing").mkdir(parents=True)
    (tmp_path / "root" / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / "root" / place / "wanted.txt").touch()
    assert find(tmp_path / "root") == tmp_path / "root" / place


@pytest.mark.parametrize("place", ["any/deeper/Data", "any/deeper", ".hidden", "@eaDir", "__MACOSX/Set_1/Data"])
def test_it_is_not_looked_for_everywhere(tmp_path: Path, place: str) -> None:
    assert find(make(tmp_path, place)) is None
    message = r"^data_dir='.*' holds no wanted\.txt, nor does a folder in it\. Name it\.$"
    with pytest.raises(DataError, match=message):
        require_published(str(tmp_path), is_it, USUAL, "wanted.txt", REMEDY)


def test_what_is_nearest_wins(tmp_path: Path) -> None:
    make(tmp_path, "Set_1/Data", "other/Data")
    assert find(tmp_path) == tmp_path / "Set_1/Data"
    (tmp_path / "wanted.txt").touch()
    assert find(tmp_path) == tmp_path


def test_several_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data_dir='.*' holds several: 'Set_1/Data', 'Set_2'\. Name it\.$"):
        find(make(tmp_path / "near", "Set_1/Data", "Set_2"))
    with pytest.raises(DataError, match=r"^data_dir='.*' holds several: 'a', 'b/Data'\. Name it\.$"):
        find(make(tmp_path / "far", "a", "b/Data"))


def test_a_link_to_it_is_no_second_one(tmp_path: Path) -> None:
    make(tmp_path, "Set_1")
    (tmp_path / "Set_2").symlink_to(tmp_path / "Set_1")
    assert find(tmp_path) == tmp_path / "Set_1"


def test_only_what_lies_deeper_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="datamodules.files.published"):
        find(make(tmp_path / "near", "Set_1"))
        assert not caplog.messages
        find(make(tmp_path / "far", "any/Set_1"))
    assert caplog.messages == [f"data_dir='{tmp_path}/far': found in '{tmp_path}/far/any/Set_1'"]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    assert find(tmp_path / "absent") is None
    with pytest.raises(DataError, match=r"^data_dir='.*/absent' does not exist\. Name it\.$"):
        require_published(str(tmp_path / "absent"), is_it, USUAL, "wanted.txt", REMEDY)
