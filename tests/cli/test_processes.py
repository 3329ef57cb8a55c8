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
