"""The command line as a program of its own."""

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def program(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


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


def evaluate(root: Path, *args: object) -> tuple[dict[str, float], list[list[str]]]:
    """Metrics of a test on the digits, and the counts of the classes."""
    ended = program("test", *args, "--ckpt_path=best", f"--trainer.default_root_dir={root}")
    assert ended.returncode == 0, ended.stderr
    newest = max((root / "version_0").glob("test*"), key=lambda folder: folder.stat().st_mtime)
    with (newest / "metrics.csv").open() as file:
        metrics = list(csv.DictReader(file))[-1]
    with (newest / "confusion_matrix.csv").open() as file:
        return {name: float(metrics[f"test/{name}"]) for name in ("top1_error", "top5_error")}, list(csv.reader(file))


def test_two_processes_give_the_errors_of_one_on_an_odd_number_of_images(tmp_path: Path) -> None:
    """The digits' test set has 539 images; after one batch of training, by two processes, neither error is zero."""
    config = ("--config", ROOT / "configs" / "digits" / "lenet_acda.yaml", "--trainer.accelerator=cpu")
    both = ("--trainer.devices=2", "--trainer.strategy=ddp")
    ended = program(
        *("fit", *config, *both, f"--trainer.default_root_dir={tmp_path}"),
        *("--trainer.max_epochs=1", "--trainer.limit_train_batches=1"),
    )
    assert ended.returncode == 0, ended.stderr
    alone = evaluate(tmp_path, *config)
    shared = evaluate(tmp_path, *config, *both)
    assert shared == alone
    assert 0 < alone[0]["top5_error"] < alone[0]["top1_error"]
    assert sum(int(cell) for row in alone[1][1:] for cell in row[1:]) == 539
