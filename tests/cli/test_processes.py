"""The command line as a program of its own, and two processes that give what one gives."""

import csv
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.cli.conftest import run
from tests.cli.programs import CONFIGS, fresh_program, in_two_processes, program
from tests.support.image_files import write_images
from tests.support.restoration_files import write_realsr, write_sidd

pytestmark = pytest.mark.slow

Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_exit_code_tells_of_a_mistake() -> None:
    ended = fresh_program("fit", "--config", "toy.yaml", "--trainer.max_epoch=1")
    assert ended.returncode == 2
    assert "trainer.max_epochs" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 6


def test_two_processes_share_one_folder() -> None:
    ended = program(
        *("fit", "--config", "toy.yaml", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"),
    )
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]
    folder = Path("runs/toy/version_0")
    assert len(list(folder.glob("config_fit*.yaml"))) == 1
    assert len(list(folder.glob("events.out.tfevents*"))) == 1
    steps = [int(row["step"]) for row in rows(folder / "metrics.csv") if row["train/loss"]]
    assert steps == [0, 1]  # eight samples, two in a batch, two processes
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"epoch000.ckpt", "last.ckpt"}


def test_two_processes_cannot_share_the_one_sample_of_the_pattern_task() -> None:
    """They end, both, before anything is trained."""
    ended = program("fit", "--config", CONFIGS / "toy/acda.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2")
    assert ended.returncode == 1
    assert "error: devices must be at most 1, the samples of the val split, got 2" in ended.stderr


class Experiment(NamedTuple):
    """An experiment with an odd number of test images.

    Attributes:
        config: Its file.
        write_data: Writes its data to a folder; returns ``data_dir``, None if it needs none.
        options: What keeps it small; keys without ``init_args``.
        images: How many there are to test.
        recomputed: Metrics of a test from the files that it writes of these images.
    """

    config: str
    write_data: Callable[[Path], Path | None]
    options: dict[str, object]
    images: int
    recomputed: Callable[[Path, int], dict[str, float]]

    def arguments(self, folder: Path) -> list[object]:
        """Of all commands, with data and runs in a folder."""
        options = {"data.predict_dir": folder / "images", **self.options}
        data_dir = self.write_data(folder / "data")
        if data_dir is not None:
            options["data.data_dir"] = data_dir
        roots = ("--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder / 'runs'}")
        return ["--config", CONFIGS / self.config, *roots, *(f"--{key}={value}" for key, value in options.items())]


def of_digits(results: Path, images: int) -> dict[str, float]:
    counts = [
        [int(cell) for name, cell in row.items() if name.isdigit()] for row in rows(results / "confusion_matrix.csv")
    ]
    total, right = sum(map(sum, counts)), sum(row[i] for i, row in enumerate(counts))
    assert total == images
    return {"test/top1_error": 100 * (total - right) / total}


def of_counts(results: Path, images: int) -> dict[str, float]:
    counted = rows(results / "counts.csv")
    assert [row["id"] for row in counted] == [f"test_data/images/IMG_{number}.jpg" for number in range(1, images + 1)]
    errors = [float(row["predicted"]) - float(row["annotated"]) for row in counted]
    squares = [error**2 for error in errors]
    return {"test/mae": sum(map(abs, errors)) / images, "test/rmse": math.sqrt(sum(squares) / images)}


def of_scores(results: Path, images: int) -> dict[str, float]:
    scores = rows(results / "scores.csv")
    assert len({row["id"] for row in scores}) == len(scores) == images
    names = [name for name in scores[0] if name not in ("id", "samples")]
    samples = [int(row["samples"]) for row in scores]
    totals = {name: sum(float(row[name]) * n for row, n in zip(scores, samples, strict=True)) for name in names}
    return {f"test/{name}": total / sum(samples) for name, total in totals.items()}


def realsr(folder: Path) -> Path:
    return write_realsr(folder, scales=(4,), cameras=("Canon",), train=4, test=3, size=(48, 60))


def sidd(folder: Path) -> Path:
    return write_sidd(folder, scenes=2, blocks=(1, 5))


CROWD = {"num_train": 6, "num_test": 7, "height": 96, "width": 128, "max_heads": 40, "crop_size": 64}
CROWD |= {"batch_size": 2, "num_workers": 0, "val_fraction": 0.4}
RESTORATION = {"data.batch_size": 2, "data.num_workers": 0, "data.patch_size": 32, "data.patches_per_image": 2}
SIDD = {**RESTORATION, "data.block_size": 32, "data.block_batch_size": 1, "data.val_fraction": 0.5}
SMALL_RESTORER = {"model.network.depth": 1, "model.network.inner_width": 8}
EXPERIMENTS = {
    "digits": Experiment("digits/lenet_acda.yaml", lambda folder: None, {}, 539, of_digits),
    "crowds": Experiment(
        "crowd/synthetic_acda.yaml",
        lambda folder: folder,
        {f"data.{name}": value for name, value in CROWD.items()},
        7,
        of_counts,
    ),
    "super_resolution": Experiment(
        "realsr/acda.yaml",
        realsr,
        {**RESTORATION, "data.cameras": "Canon", "data.val_fraction": 0.5, **SMALL_RESTORER},
        3,
        of_scores,
    ),
    "denoising": Experiment("sidd/acda.yaml", sidd, {**SIDD, **SMALL_RESTORER}, 5, of_scores),
    "variational": Experiment(
        "sidd/acda_variational.yaml",
        sidd,
        {**SIDD, "model.network.denoiser.depth": 1, "model.network.denoiser.inner_width": 8},
        5,
        of_scores,
    ),
}


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Each of two processes has one: in this one too, networks compute the same to the last digit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def results(folder: Path) -> dict[str, bytes]:
    """Read what a command wrote of images, by the name of the file; but for the times that it took."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    others = ("config_", "events.out.", "hparams.yaml", "metrics.csv", "pictures/")
    content = {name: path.read_bytes() for name, path in files.items() if not name.startswith(others)}
    return {name: re.sub(rb"[\d.e+-]+ s a megapixel", b"", read) for name, read in content.items()}


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_two_processes_give_what_one_gives(experiment: Experiment, tmp_path: Path) -> None:
    """Every metric, each image once in every table, every file that is predicted; of an odd number of images."""
    write_images(tmp_path / "images", seed=0)
    arguments = experiment.arguments(tmp_path)
    short = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.check_val_every_n_epoch=1")
    test = ("test", *arguments, "--ckpt_path=best")
    # Image by image: what a network makes of one may differ in the last digit with the others in its batch.
    predict = ("predict", *arguments, "--ckpt_path=best", "--data.batch_size=1")
    in_two_processes(("fit", *arguments, *short), test, predict)
    run(*test)
    run(*predict)
    folder = tmp_path / "runs" / "version_0"

    (shared,), (alone,) = (rows(folder / name / "metrics.csv") for name in ("test", "test_1"))
    assert shared.keys() == alone.keys()
    for name, value in alone.items():
        if name == "test/loss":  # batches are others
            assert float(shared[name]) == pytest.approx(float(value), rel=1e-6)
        else:
            assert shared[name] == value, name
    for name, value in experiment.recomputed(folder / "test", experiment.images).items():
        assert float(shared[name]) == pytest.approx(value, rel=1e-5), name

    assert results(folder / "test") == results(folder / "test_1")
    predicted = results(folder / "predict")
    assert predicted
    assert predicted == results(folder / "predict_1")
