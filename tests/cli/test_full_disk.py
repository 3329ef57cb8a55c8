"""Full disks, and folders that cannot be written: one message, and all that was there before is as it was.

A disk that is full is stood for by a limit on the size of a file: writing fails as there, in the middle of the file.
"""

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.accidents import accident
from tests.cli.conftest import contents
from tests.cli.programs import CONFIGS, limited, program
from tests.cli.test_data_faults import TASK, error_of
from tests.support.restoration_files import write_sidd

pytestmark = pytest.mark.slow

FULL = os.strerror(errno.EFBIG)
DIGITS = ("--config", CONFIGS / "digits" / "lenet.yaml", "--trainer.accelerator=cpu")
UNTRAINED = "--allow_untrained=true"


def assert_says(line: str, name: str, *words: str) -> None:
    start, _, rest = line.partition("' cannot be ")
    assert start.startswith("error: '")
    assert start.endswith(name)
    for word in words:
        assert word in rest


@pytest.mark.parametrize("stage", ["fit", "test"])
@pytest.mark.parametrize("root", ["/sys/kernel", "toy.yaml"])
def test_a_run_folder_that_cannot_be_made_is_named(stage: str, root: str) -> None:
    """Even root may not make a folder in /sys, nor anybody one in a file."""
    config = Path("toy.yaml").read_bytes()
    more = [UNTRAINED] if stage == "test" else []
    ended = program(stage, "--config", "toy.yaml", *more, f"--trainer.default_root_dir={root}/run")
    line = error_of(ended)
    assert line.startswith(f"error: '{root}/run")
    assert "--trainer.default_root_dir=FOLDER" in line
    assert Path("toy.yaml").read_bytes() == config


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_disk_that_is_full_from_the_start(stage: str) -> None:
    more = [UNTRAINED] if stage == "test" else []
    ended = limited(50, stage, "--config", "toy.yaml", *more)
    line = error_of(ended)
    assert FULL in line
    assert "--trainer.default_root_dir=FOLDER" in line


@pytest.mark.parametrize(
    ("file", "logger"),
    [
        ("metrics.csv", "{class_path: lit_modules.runs.loggers.MetricsFile, init_args: {path: FILE, version: 0}}"),
        ("events.out.tfevents.*", "true"),
    ],
)
def test_a_disk_that_is_full_while_metrics_are_written(file: str, logger: str) -> None:
    """Training ends, and no row is cut off."""
    logger = logger.replace("FILE", "runs/toy/version_0/metrics.csv")
    ended = program(
        *("fit", "--config", "toy.yaml", f"--trainer.logger={logger}", "--trainer.enable_checkpointing=false"),
        accident("LimitFiles", batch=5, size=file),
    )
    assert_says(error_of(ended), file, FULL, "--trainer.default_root_dir=FOLDER")
    (written,) = Path("runs/toy/version_0").glob(file)
    before = Path("kept").read_bytes()
    if file == "metrics.csv":
        assert written.read_bytes() == before
    assert written.read_bytes().startswith(before)


def write_photographs(folder: Path) -> None:
    folder.mkdir()
    for number in range(4):
        pixels = np.random.RandomState(number).randint(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def test_a_disk_that_is_full_while_a_report_is_written() -> None:
    ended = program(
        *("test", *DIGITS, UNTRAINED, "--trainer.default_root_dir=runs", "--trainer.logger=false"),
        accident("LimitFiles", batch=0, size=100),
    )
    assert_says(error_of(ended), "confusion_matrix.csv", FULL)
    assert {path.name for path in Path("runs/version_0").iterdir()} == {"config_test.yaml"}


def test_a_disk_that_is_full_while_images_are_written() -> None:
    write_photographs(Path("photos"))
    small = Image.fromarray(np.zeros((20, 30, 3), np.uint8))  # of which there is little to write
    small.save("photos/0.png")
    ended = program(
        *("predict", *TASK, "--data=RealSRDataModule", "--data.predict_dir=photos", "--trainer.default_root_dir=runs"),
        *(UNTRAINED, accident("LimitFiles", batch=0, size=500)),
        *("--trainer.callbacks+=RestoredImages", "--trainer.callbacks.num_shown=0"),
    )
    assert_says(error_of(ended), "predictions/1.png", FULL)
    (written,) = Path("runs/version_0/predictions").iterdir()
    assert written.name == "0.png"
    assert np.array_equal(np.asarray(Image.open(written)), np.asarray(small))


def test_a_disk_that_is_full_while_rows_are_written() -> None:
    """What was predicted before stays in the part that is there while prediction runs."""
    write_photographs(Path("photos"))
    ended = program(
        *("predict", *DIGITS, "--data.predict_dir=photos", "--data.batch_size=1", "--trainer.default_root_dir=runs"),
        *(UNTRAINED, accident("LimitFiles", batch=0, size=250)),
        *("--trainer.callbacks+=ClassPredictions", "--trainer.callbacks.num_shown=0"),
    )
    assert_says(error_of(ended), "predictions.csv", FULL)
    with Path("runs/version_0/predictions.csv.rank0.part").open() as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows][:2] == ["0.png", "1.png"]
    assert not Path("runs/version_0/predictions.csv").exists()


SIDD = (*TASK, "--data=SIDDDataModule", "--data.data_dir=data", "--data.batch_size=1", "--data.patch_size=16")
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=0")


def test_a_folder_for_converted_data_that_cannot_be_made_is_named() -> None:
    write_sidd(Path("data"), scenes=2)
    Path("file").write_text("a file")
    before = contents(Path("data"))
    for folder in ("/sys/kernel/converted", "file"):
        line = error_of(program("fit", *SIDD, "--data.validate_on=test", f"--data.cache_dir={folder}"))
        assert f"'{folder}'" in line
        assert "--data.init_args.cache_dir=FOLDER" in line
    assert contents(Path("data")) == before
    assert Path("file").read_text() == "a file"


def test_a_disk_that_is_full_while_data_is_converted() -> None:
    """What was converted before is not touched, and conversion goes on there when there is room."""
    write_sidd(Path("data"), scenes=1)
    larger = np.random.RandomState(0).randint(0, 256, (100, 200, 3), np.uint8)
    for path in Path("data/SIDD_Medium_Srgb/Data").glob("0002_*/*_011.PNG"):
        Image.fromarray(larger).save(path)  # the last pair
    arguments = (*SIDD, "--data.validate_on=test", *SHORT)
    kept = {}
    for _ in range(2):
        line = error_of(limited(30_000, "fit", *arguments))
        assert_says(line, "data/converted", FULL, "--data.init_args.cache_dir=FOLDER")
        converted = contents(Path("data/converted"))
        assert len([path for path in converted if path.suffix == ".npy"]) == 6
        assert not (kept.items() - converted.items())
        kept = {path: content for path, content in converted.items() if path.suffix == ".npy"}
    ended = program("fit", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert not (kept.items() - contents(Path("data/converted")).items())
    assert np.array_equal(np.load(next(Path("data/converted").glob("0002_*_011.clean.npy"))), larger)


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx"])
def test_a_disk_that_is_full_while_a_network_is_exported(name: str) -> None:
    """An earlier file of that name stays."""
    Path(name).write_text("an earlier one")
    form = {"model.pt2": "torch_export", "model.onnx": "onnx"}[name]
    ended = limited(20_000, "export", *DIGITS, UNTRAINED, f"--format={form}", f"--output={name}")
    assert_says(error_of(ended), name, FULL)
    assert Path(name).read_text() == "an earlier one"
    assert not Path(f"{name}.part").exists()


@pytest.mark.parametrize(
    ("place", "named"),
    [("/sys/kernel/new/model.pt2", "/sys/kernel/new"), ("toy.yaml/model.pt2", "toy.yaml"), ("pipe", "pipe")],
)
def test_a_place_where_nothing_can_be_exported_to_is_named(place: str, named: str) -> None:
    """Nor is what is no file replaced by one, such as a device, which root could do."""
    os.mkfifo("pipe")
    line = error_of(program("export", *DIGITS, UNTRAINED, f"--output={place}"))
    assert_says(line, named, "--output=FILE")
    assert Path("pipe").is_fifo()
    assert Path("toy.yaml").is_file()
