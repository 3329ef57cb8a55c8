"""The command line as a program of its own."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def program(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, args)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Lightning has it where there are several processes
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=one_thread)


def test_the_exit_code_tells_of_a_mistake() -> None:
    ended = program("fit", "--config", "toy.yaml", "--trainer.max_epoch=1")
    assert ended.returncode == 2
    assert "trainer.max_epochs" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 6


def test_two_processes_share_one_folder() -> None:
    ended = program(
        *("fit", "--config", "toy.yaml", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"),
    )
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]
    run = Path("runs/toy/version_0")
    assert len(list(run.glob("config_fit*.yaml"))) == 1
    assert len(list(run.glob("events.out.tfevents*"))) == 1
    with (run / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == [0, 1]  # eight samples, two in a batch, two processes
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"epoch000.ckpt", "last.ckpt"}


def newest_test(root: Path) -> Path:
    return max((root / "version_0").glob("test*"), key=lambda folder: folder.stat().st_mtime)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def evaluated(root: Path, *args: object) -> tuple[dict[str, str], Path]:
    """Metrics of a test as they were written, and the folder of its results."""
    ended = program("test", *args, "--ckpt_path=best", f"--trainer.default_root_dir={root}")
    assert ended.returncode == 0, ended.stderr
    folder = newest_test(root)
    return rows(folder / "metrics.csv")[-1], folder


BOTH = ("--trainer.devices=2", "--trainer.strategy=ddp")


def test_two_processes_give_the_errors_of_one_on_an_odd_number_of_images(tmp_path: Path) -> None:
    """The digits' test set has 539 images; after one batch of training, by two processes, neither error is zero."""
    config = ("--config", ROOT / "configs" / "digits" / "lenet_acda.yaml", "--trainer.accelerator=cpu")
    ended = program(
        *("fit", *config, *BOTH, f"--trainer.default_root_dir={tmp_path}"),
        *("--trainer.max_epochs=1", "--trainer.limit_train_batches=1"),
    )
    assert ended.returncode == 0, ended.stderr
    (alone, one), (shared, two) = evaluated(tmp_path, *config), evaluated(tmp_path, *config, *BOTH)
    names = ("test/top1_error", "test/top5_error")
    assert [shared[name] for name in names] == [alone[name] for name in names]
    assert float(shared["test/loss"]) == pytest.approx(float(alone["test/loss"]), rel=1e-6)
    assert 0 < float(alone["test/top5_error"]) < float(alone["test/top1_error"])
    counts = rows(one / "confusion_matrix.csv")
    assert rows(two / "confusion_matrix.csv") == counts
    assert sum(int(cell) for row in counts for name, cell in row.items() if name != "true \\ predicted") == 539


def test_two_processes_count_as_one_does_on_an_odd_number_of_images(tmp_path: Path) -> None:
    """To the last digit, and each image once; networks compute the same in one thread as in another."""
    config = ("--config", ROOT / "configs" / "crowd" / "synthetic_acda.yaml", "--trainer.accelerator=cpu")
    sizes = {"num_train": 6, "num_test": 7, "height": 96, "width": 128, "max_heads": 40, "crop_size": 64}
    sizes |= {"batch_size": 2, "num_workers": 0, "val_fraction": 0.4}
    config += tuple(f"--data.init_args.{name}={value}" for name, value in sizes.items())
    config += (f"--data.init_args.data_dir={tmp_path / 'data'}",)
    ended = program(
        *("fit", *config, *BOTH, f"--trainer.default_root_dir={tmp_path / 'runs'}"),
        *("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"),
    )
    assert ended.returncode == 0, ended.stderr
    (alone, one), (shared, two) = (evaluated(tmp_path / "runs", *config, *more) for more in ((), BOTH))
    scores = ("test/mae", "test/rmse", "test/nae")
    assert [shared[name] for name in scores] == [alone[name] for name in scores]
    assert float(shared["test/loss"]) == pytest.approx(float(alone["test/loss"]), rel=1e-6)
    counted = rows(one / "counts.csv")
    assert rows(two / "counts.csv") == counted
    assert [row["id"] for row in counted] == [f"test_data/images/IMG_{number}.jpg" for number in range(1, 8)]
    errors = [float(row["predicted"]) - float(row["annotated"]) for row in counted]
    assert float(alone["test/mae"]) == pytest.approx(sum(map(abs, errors)) / 7, abs=1e-4)
    assert float(alone["test/rmse"]) == pytest.approx((sum(error**2 for error in errors) / 7) ** 0.5, abs=1e-4)
