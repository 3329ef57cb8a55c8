import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.files.conversion import Conversion, convert, save_array

Write = Callable[[Conversion, list[Path]], None]


def sources(folder: Path, count: int = 5) -> list[Conversion]:
    """Steps that make two files each of one."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_text(f"text {number}")
    return [Conversion((folder / f"{n}.txt",), (f"{n}_upper.txt", f"{n}_twice.txt")) for n in range(count)]


def write(step: Conversion, paths: list[Path]) -> None:
    text = step.sources[0].read_text()
    paths[0].write_text(text.upper())
    paths[1].write_text(text * 2)


def counting(made: list[str]) -> Write:
    def counted(step: Conversion, paths: list[Path]) -> None:
        made.append(step.sources[0].stem)
        write(step, paths)

    return counted


def assert_whole(steps: list[Conversion], folder: Path) -> None:
    for step in steps:
        text = step.sources[0].read_text()
        assert [(folder / target).read_text() for target in step.targets] == [text.upper(), text * 2]
    assert not list(folder.glob(".partial*"))


def test_all_is_made_once(tmp_path: Path) -> None:
    steps, folder, made = sources(tmp_path / "from"), tmp_path / "new" / "to", []
    for _ in range(2):
        convert(steps, counting(made), folder, "cache_dir")
        assert made == ["0", "1", "2", "3", "4"]
        assert_whole(steps, folder)


def test_where_all_is_made_nothing_is_written(tmp_path: Path) -> None:
    steps, folder = sources(tmp_path / "from"), tmp_path / "to"
    convert(steps, write, folder, "cache_dir")
    for leftover in folder.glob(".*"):
        leftover.unlink()
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
    convert(steps, write, folder, "cache_dir")
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before


def test_no_steps_make_no_folder(tmp_path: Path) -> None:
    convert([], write, tmp_path / "to", "cache_dir")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("stop", [0, 2, 4])
@pytest.mark.parametrize("half_written", [False, True])
def test_what_an_error_stops_goes_on(tmp_path: Path, stop: int, half_written: bool) -> None:
    steps, folder, made = sources(tmp_path / "from"), tmp_path / "to", []

    def stopped(step: Conversion, paths: list[Path]) -> None:
        if step is steps[stop]:
            if half_written:
                paths[0].write_text("hal")
            raise KeyboardInterrupt
        write(step, paths)

    with pytest.raises(KeyboardInterrupt):
        convert(steps, stopped, folder, "cache_dir")
    assert_whole(steps[:stop], folder)
    assert not any((folder / target).exists() for step in steps[stop:] for target in step.targets)
    convert(steps, counting(made), folder, "cache_dir")
    assert made == ["0", "1", "2", "3", "4"][stop:]
    assert_whole(steps, folder)


def in_processes(count: int, work: Callable[[], None]) -> list[int | None]:
    """Exit codes of processes that do the same at once."""
    processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_what_a_killed_process_left_is_not_taken_for_whole(tmp_path: Path) -> None:
    steps, folder, made = sources(tmp_path / "from"), tmp_path / "to", []

    def killed(step: Conversion, paths: list[Path]) -> None:
        write(step, paths)
        if step is steps[2]:
            paths[0].replace(folder / step.targets[0])  # as if killed between the files of a step
            paths[1].write_text("hal")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_processes(1, lambda: convert(steps, killed, folder, "cache_dir")) == [-signal.SIGKILL]
    convert(steps, counting(made), folder, "cache_dir")
    assert made == ["2", "3", "4"]
    assert_whole(steps, folder)


def test_of_two_processes_one_converts(tmp_path: Path) -> None:
    steps, folder = sources(tmp_path / "from", 40), tmp_path / "to"

    def noted(step: Conversion, paths: list[Path]) -> None:
        with (tmp_path / "made").open("a") as file:
            file.write(f"{step.sources[0].stem}\n")
        write(step, paths)

    assert in_processes(3, lambda: convert(steps, noted, folder, "cache_dir")) == [0, 0, 0]
    assert (tmp_path / "made").read_text().split() == [str(number) for number in range(40)]
    assert_whole(steps, folder)


def test_a_record_torn_anywhere_is_made_good(tmp_path: Path) -> None:
    steps, folder = sources(tmp_path / "from", 2), tmp_path / "to"
    convert(steps, write, folder, "cache_dir")
    record = (folder / "conversion.jsonl").read_bytes()
    for length in range(0, len(record), 9):
        (folder / "conversion.jsonl").write_bytes(record[:length])
        for _ in range(2):
            made: list[str] = []
            convert(steps, counting(made), folder, "cache_dir")
        assert made == []  # after the first of these calls all is recorded


@pytest.mark.parametrize("change", ["text", "time", "target shorter", "target missing"])
def test_only_what_has_changed_is_made_again(tmp_path: Path, change: str) -> None:
    steps, folder, made = sources(tmp_path / "from"), tmp_path / "to", []
    convert(steps, write, folder, "cache_dir")
    source, target = steps[3].sources[0], folder / "3_twice.txt"
    if change == "text":
        source.write_text("another text")
    elif change == "time":
        os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    elif change == "target shorter":
        target.write_text(target.read_text()[:-1])
    else:
        target.unlink()
    for _ in range(2):
        convert(steps, counting(made), folder, "cache_dir")
    assert made == ["3"]
    assert_whole(steps, folder)


@pytest.mark.parametrize("position", [0, 20, 2**20, -1])
def test_a_source_changed_in_place_is_made_again_though_its_size_and_time_are_kept(
    tmp_path: Path, position: int
) -> None:
    """As programs do that turn photographs by their note (EXIF), at the beginning of a file or after its pixels."""
    steps, folder, made = sources(tmp_path / "from"), tmp_path / "to", []
    content = bytearray(2**20 + 1)
    steps[3].sources[0].write_bytes(content)
    convert(steps, write, folder, "cache_dir")
    before = steps[3].sources[0].stat()
    content[position] = 6
    steps[3].sources[0].write_bytes(content)
    os.utime(steps[3].sources[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(2):
        convert(steps, counting(made), folder, "cache_dir")
    assert made == ["3"]
    assert_whole(steps, folder)


def test_what_an_earlier_version_made_is_made_again(tmp_path: Path) -> None:
    """It noted sizes and times alone, and may have read the sources otherwise."""
    steps, folder, made = sources(tmp_path / "from", 1), tmp_path / "to", []
    convert(steps, write, folder, "cache_dir")
    record = json.loads((folder / "conversion.jsonl").read_text())
    record["sources"] = [stamp[:2] for stamp in record["sources"]]
    (folder / "conversion.jsonl").write_text(json.dumps(record))
    convert(steps, counting(made), folder, "cache_dir")
    assert made == ["0"]


def test_a_source_changed_back_is_made_again(tmp_path: Path) -> None:
    steps, folder = sources(tmp_path / "from"), tmp_path / "to"
    source = steps[0].sources[0]
    for text, time in (("first", 1), ("second", 2), ("first", 1)):
        source.write_text(text)
        os.utime(source, (time, time))
        convert(steps, write, folder, "cache_dir")
        assert_whole(steps, folder)


def test_a_folder_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    steps = sources(tmp_path / "from")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"^'.*/file/to' cannot be written to .*--data\.init_args\.cache_dir=FOLDER\.$"):
        convert(steps, write, tmp_path / "file" / "to", "cache_dir")


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.zeros((0, 3), np.uint8), np.ones((3, 4)).T])
def test_a_saved_array_is_numpys(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "numpys.npy", array)
    save_array(tmp_path / "ours.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_a_full_disk_names_the_remedy(tmp_path: Path) -> None:
    def full(step: Conversion, paths: list[Path]) -> None:
        raise OSError(28, "No space left on device", str(paths[0]))

    with pytest.raises(DataError, match=r"cannot be written to \(.*No space left on device.*cache_dir=FOLDER\.$"):
        convert(sources(tmp_path / "from"), full, tmp_path / "to", "cache_dir")
