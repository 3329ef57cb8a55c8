import csv
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lit_modules.output import ResultFiles, shorten
from lit_modules.output.whole_file import whole_file


def made_in(folder: Path) -> ResultFiles:
    trainer = SimpleNamespace(log_dir=str(folder), default_root_dir=str(folder), world_size=1, is_global_zero=True)
    return ResultFiles(trainer)


def write(files: ResultFiles, names: list[str], *endings: str) -> dict[str, list[Path]]:
    """Write each input's name into all of its files; gives these."""
    written = {}
    for name in names:
        written[name] = files.choose(name, *endings)
        for path in written[name]:
            with whole_file(path) as unfinished:
                unfinished.write_bytes(os.fsencode(name))
    files.finish()
    return written


def renamed_in(folder: Path) -> dict[str, str]:
    if not (folder / "renamed.csv").exists():
        return {}
    with (folder / "renamed.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["id"]: row["name"] for row in csv.DictReader(file)}


def assert_whole(written: dict[str, list[Path]]) -> None:
    """No file was written over by another input."""
    for name, paths in written.items():
        for path in paths:
            assert path.read_bytes() == os.fsencode(name)


def test_files_are_named_after_their_inputs(tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", "A.png", "a.JPG", "deep/er/a.png", "line\nbreak", "-1", "50%{}", "x ", "b\\c", "q;,'\""]
    names += ["latin1-\udce9.png", "caf\u00e9.png", "cafe\u0301.png"]
    written = write(made_in(tmp_path), names, ".png", ".heads.csv")
    for name, paths in written.items():
        assert paths == [tmp_path / "predictions" / f"{name}{ending}" for ending in (".png", ".heads.csv")]
    assert_whole(written)
    assert renamed_in(tmp_path) == {}


@pytest.mark.parametrize("letter", ["n", "é", "名"])
@pytest.mark.parametrize("longest", [244, 247, 251, 255])
def test_names_that_are_too_long_are_shortened(tmp_path: Path, letter: str, longest: int) -> None:
    """A file's name has up to 255 bytes, with its ending."""
    base = letter * ((longest - 1) // len(letter.encode()))
    names = ["short", f"in/{base}", f"in/{base}".replace(letter, "m", 1), base]
    written = write(made_in(tmp_path), names, ".png")
    assert_whole(written)
    assert len({path for paths in written.values() for path in paths}) == len(names)
    for name, (path,) in written.items():
        fits = len(f"{name.rpartition('/')[2]}.png".encode()) <= 255
        assert (path == tmp_path / "predictions" / f"{name}.png") == fits
        assert (renamed_in(tmp_path).get(name) == path.name.removesuffix(".png")) == (not fits)


def test_paths_that_are_too_long_are_shortened(tmp_path: Path) -> None:
    deep = "/".join(["d" * 200] * 20) + "/image"
    written = write(made_in(tmp_path), [deep, "image"], ".png")
    assert_whole(written)
    assert list(renamed_in(tmp_path)) == [deep]


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_in_the_place_of_a_folder_has_another_name(tmp_path: Path, order: int) -> None:
    names = ["a.jpg", "a.jpg.png/inside", "a.jpg.png/deep/inside"][::order]
    written = write(made_in(tmp_path), names, ".png")
    assert_whole(written)
    assert renamed_in(tmp_path).keys() <= set(names)
    assert renamed_in(tmp_path)


def test_where_two_names_are_one_file_both_are_written(tmp_path: Path) -> None:
    """As where a file system does not tell capital from small letters, or two ways to write é."""
    files = made_in(tmp_path)
    for here, there in (("Upper", "upper"), ("caf\u00e9", "cafe\u0301")):
        (files.folder / here).mkdir(parents=True)
        (files.folder / there).symlink_to(here)
    names = ["Upper/1", "upper/1", "upper/2", "caf\u00e9/1", "cafe\u0301/1"]
    assert_whole(write(files, names, ".png", ".npy"))
    assert set(renamed_in(tmp_path)) == {"upper/1", "cafe\u0301/1"}


def test_results_are_written_over_those_of_an_earlier_prediction(tmp_path: Path) -> None:
    for _ in range(2):
        write(made_in(tmp_path), ["a", "A"], ".png")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["A.png", "a.png"]
    long = "n" * 255
    write(made_in(tmp_path), [long], ".png")
    assert list(renamed_in(tmp_path)) == [long]
    write(made_in(tmp_path), ["a"], ".png")
    assert renamed_in(tmp_path) == {}


def test_no_other_error_is_taken_for_one_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    files = made_in(tmp_path)
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        files.choose("a", ".png")


def test_short_names_differ() -> None:
    names = ["a" * 200, "a" * 201, "b/" + "a" * 200, "é" * 100, "\udce9" * 200, "\udcea" * 200]
    short = [shorten(name) for name in names]
    assert len(set(short)) == len(names)
    assert all(len(name.encode()) <= 113 and "/" not in name for name in short)
