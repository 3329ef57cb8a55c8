"""Data files that are lost, and workers that are killed, while the program runs: it says so, and ends."""

import csv
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.accidents import FATE, accident
from tests.cli.conftest import contents
from tests.cli.programs import in_two_processes, limited, program
from tests.support.crowd_files import write_shanghaitech
from tests.support.image_files import write_imagenet
from tests.support.restoration_files import write_realsr, write_sidd

pytestmark = pytest.mark.slow


def write_crowd(folder: Path) -> None:
    write_shanghaitech(folder, train=8, test=6)


def write_realsr_of_one_camera(folder: Path) -> None:
    write_realsr(folder, scales=(4,), cameras=("Canon",), train=3, test=6)


def write_photographs(folder: Path) -> None:
    folder.mkdir()
    for number in range(8):
        pixels = np.random.RandomState(number).randint(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


PATCHES = {".batch_size": 2, ".patch_size": 16, ".patches_per_image": 8}
# What writes a data set to data/, its module with arguments, files to train on and to test with.
DATA = {
    "imagenet": (
        write_imagenet,
        {"": "ImageNetDataModule", ".total_batch_size": 2, ".resize_size": 32, ".crop_size": 32},
        "data/train/*/*",
        "data/val/*/*",
    ),
    "crowd": (
        write_crowd,
        {"": "ShanghaiTechDataModule", ".batch_size": 1, ".crop_size": 32},
        "data/part_A/train_data/images/*",
        "data/part_A/test_data/images/*",
    ),
    "realsr": (
        write_realsr_of_one_camera,
        {"": "RealSRDataModule", ".cameras": "Canon", **PATCHES, ".val_fraction": 0.4},
        "data/converted/*.npy",
        "data/Canon/Test/4/*",
    ),
    "sidd": (
        write_sidd,
        {"": "SIDDDataModule", **PATCHES, ".val_fraction": 0.3, ".block_size": 32, ".block_batch_size": 1},
        "data/converted/*.npy",
        "data/converted/Validation*.npy",
    ),
}


def data_arguments(name: str, workers: int) -> list[str]:
    write, arguments, *_ = DATA[name]
    write(Path("data"))
    arguments = {**arguments, ".data_dir": "data", ".num_workers": workers}
    return [f"--data{key}={value}" for key, value in arguments.items()]


def error_of(ended: subprocess.CompletedProcess[str]) -> str:
    """Find the one line that says what is wrong."""
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
    return line


def assert_says(line: str, files: str, fate: str) -> None:
    """Assert that a line says that one of the files is lost, and how."""
    named = re.match(r"error: '(.+?)' cannot be read", line)
    assert named, line
    assert Path(named[1]).match(files)
    assert ("No such file or directory" in line) == (fate == FATE[0])


TASK = ("--model=tests.cli.accidents.Brightness", "--trainer.accelerator=cpu")


@pytest.mark.parametrize(
    ("name", "workers", "fate"),
    [
        ("imagenet", 0, "deleted"),
        ("imagenet", 1, "cut off"),
        ("crowd", 0, "cut off"),
        ("crowd", 1, "deleted"),
        ("realsr", 0, "deleted"),
        ("realsr", 1, "cut off"),
        ("sidd", 0, "cut off"),
        ("sidd", 1, "deleted"),
        ("sidd", 1, "cut off"),
    ],
)
def test_training_ends_where_its_files_are_lost(name: str, workers: int, fate: str) -> None:
    arguments, files = data_arguments(name, workers), DATA[name][2]
    batches = 6
    lose = accident("LoseFiles", batch=batches + 1, files=files, fate=fate)
    short = ("--trainer.max_epochs=4", f"--trainer.limit_train_batches={batches}")
    ended = program("fit", *TASK, *arguments, *short, lose)
    assert_says(error_of(ended), files, fate)
    kept = contents(Path("kept"))
    assert {path.name for path in kept} >= {"last.ckpt"}
    for path, content in kept.items():
        (now,) = Path("runs").glob(f"version_0/checkpoints/{path.name}")
        assert now.read_bytes() == content
        assert torch.load(now, weights_only=True)["global_step"] == batches


@pytest.mark.parametrize(
    ("name", "workers", "fate"),
    [
        ("imagenet", 1, "deleted"),
        ("crowd", 0, "deleted"),
        ("realsr", 1, "cut off"),
        ("sidd", 0, "cut off"),
        ("sidd", 1, "deleted"),
    ],
)
def test_a_test_ends_where_its_files_are_lost(name: str, workers: int, fate: str) -> None:
    arguments, files = data_arguments(name, workers), DATA[name][3]
    lose = accident("LoseFiles", batch=1, files=files, fate=fate)
    ended = program("test", *TASK, *arguments, "--allow_untrained=true", lose)
    assert_says(error_of(ended), files, fate)
    results = list(Path("runs/version_0").glob("*.csv"))
    assert not results  # which could be taken for those of all images


def predict_photographs(*more: str, workers: int = 0) -> tuple[str, ...]:
    photographs = ("--data=RealSRDataModule", "--data.predict_dir=photos", f"--data.num_workers={workers}")
    return ("predict", *TASK, *photographs, "--allow_untrained=true", "--trainer.callbacks+=RestoredImages", *more)


def assert_all_but_those_that_failed_are_whole(folder: Path) -> dict[str, str]:
    """Gives the reasons of those that failed, by their ids."""
    with (folder / "failed.csv").open() as file:
        failed = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    restored = sorted((folder / "predictions").iterdir())
    assert sorted([*failed, *(path.name for path in restored)]) == [f"{number}.png" for number in range(8)]
    for path in restored:
        pixels = np.random.RandomState(int(path.stem)).randint(0, 256, (20, 30, 3), np.uint8)
        assert np.array_equal(np.asarray(Image.open(path)), pixels)
    return failed


@pytest.mark.parametrize(("workers", "fate"), [(0, "cut off"), (1, "deleted")])
def test_prediction_goes_on_where_ones_own_files_are_lost(workers: int, fate: str) -> None:
    write_photographs(Path("photos"))
    lose = accident("LoseFiles", batch=1, files="photos/*", fate=fate)
    ended = program(*predict_photographs(lose, workers=workers))
    folder = Path("runs/version_0")
    failed = assert_all_but_those_that_failed_are_whole(folder)
    assert error_of(ended) == f"error: the prediction lacks {len(failed)} inputs, see {folder / 'failed.csv'}"
    assert 1 <= len(failed) < 8
    for name, reason in failed.items():
        assert_says(f"error: {reason}", "photos/*", fate)
        assert f"photos/{name}" in reason
        assert f"warning: {reason}" in ended.stderr.splitlines()
    assert f"warning: {len(failed)} of 8 inputs failed: listed in {folder / 'failed.csv'}" in ended.stderr.splitlines()


def test_two_processes_share_the_list_of_what_failed() -> None:
    write_photographs(Path("photos"))
    for number in (2, 3, 5):
        Path("photos", f"{number}.png").write_bytes(b"no image")
    first, second = in_two_processes(predict_photographs(), code=1)
    folder = Path("runs/version_0")
    assert list(assert_all_but_those_that_failed_are_whole(folder)) == ["2.png", "3.png", "5.png"]
    assert error_of(first) == f"error: the prediction lacks 3 inputs, see {folder / 'failed.csv'}"
    assert first.stderr.count("cannot be read as an image") == 3
    assert "cannot be read" not in second.stderr


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_killed_worker_ends_the_run(stage: str) -> None:
    arguments = data_arguments("crowd", workers=1)
    more = ("--allow_untrained=true",) if stage == "test" else ("--trainer.max_epochs=3",)
    ended = program(stage, *TASK, *arguments, *more, accident("KillWorkers", batch=1))
    line = error_of(ended)
    assert "process that loads data" in line
    assert "num_workers=0" in line
    assert "--ckpt_path last" in line
    assert ended.stderr.count("error: ") == 1


def test_workers_that_die_while_the_run_ends_add_nothing_to_its_message() -> None:
    arguments = data_arguments("crowd", workers=1)
    ended = program("fit", *TASK, *arguments, "--trainer.max_epochs=3", accident("KillWorkers", batch=1, in_turn=True))
    assert "process that loads data" in error_of(ended)


def test_a_worker_without_shared_memory_ends_the_run() -> None:
    """The limit holds for memory that processes share, too: two images of 128 × 128 are 98,304 bytes."""
    arguments = [*data_arguments("imagenet", workers=1), "--data.crop_size=128", "--data.resize_size=128"]
    ended = limited(90_000, "fit", *TASK, *arguments, "--trainer.max_epochs=1", "--trainer.logger=false")
    line = error_of(ended)
    assert "shared memory" in line
    assert "num_workers=0" in line
