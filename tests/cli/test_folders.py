"""Where things are written, and that nothing earlier is lost."""

import csv
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.conftest import contents, run

EMA = str(Path(__file__).parents[2] / "configs" / "trainer" / "ema.yaml")


def rows(run_folder: Path) -> list[dict[str, str]]:
    with (run_folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def test_a_run_folder_holds_all_that_came_out(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config_fit.yaml", "checkpoints", "metrics.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"epoch001.ckpt", "last.ckpt"}
    losses = [row for row in rows(trained) if row["train/loss"]]
    assert [int(row["step"]) for row in losses] == list(range(12))
    assert [float(row["val/score"]) for row in rows(trained) if row["val/score"]] == pytest.approx([0.5, 0.9, 0.1])


def test_every_checkpoint_loads_without_pickled_objects(trained: Path) -> None:
    for path in (trained / "checkpoints").iterdir():
        checkpoint = torch.load(path, weights_only=True)
        assert yaml.safe_load(checkpoint["config"])["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.01


def test_last_is_the_last_epoch_also_when_the_metric_got_worse(trained: Path) -> None:
    assert load(trained / "checkpoints" / "last.ckpt")["state_dict"]["epochs"] == 3
    assert load(trained / "checkpoints" / "epoch001.ckpt")["state_dict"]["epochs"] == 2


def test_a_second_training_touches_nothing_of_the_first(trained: Path) -> None:
    before = contents(trained)
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1")
    assert contents(trained) == before
    assert yaml.safe_load(Path("runs/toy/version_1/config_fit.yaml").read_text())["trainer"]["max_epochs"] == 1


def test_evaluations_have_folders_in_the_run_and_keep_its_config(trained: Path) -> None:
    before = contents(trained)
    for _ in range(2):
        run("test", "--config", "toy.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt")
    run("validate", "--config", "toy.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt")
    for name, config in (("test", "test"), ("test_1", "test"), ("validate", "validate")):
        assert (trained / name / f"config_{config}.yaml").is_file()
        assert (trained / name / "metrics.csv").is_file()
    assert not (before.items() - contents(trained).items())
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]


def test_resuming_goes_on_in_the_folder_and_keeps_all_rows(trained: Path) -> None:
    old = rows(trained)
    # a column that the first training did not have
    run(
        "fit", "--config", "toy.yaml", "--ckpt_path", "last", "--trainer.max_epochs=4", "--lr_monitor.log_momentum=true"
    )
    new = rows(trained)
    assert [{key: row[key] for key in old[0]} for row in new[: len(old)]] == old
    assert [int(row["step"]) for row in new if row["train/loss"]] == list(range(16))
    assert new[0].keys() - old[0].keys() == {"lr-SGD-momentum"}
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]
    configs = {
        path.name: yaml.safe_load(path.read_text())["trainer"]["max_epochs"]
        for path in trained.glob("*.yaml")
        if path.name.startswith("config")
    }
    assert configs == {"config_fit.yaml": 3, "config_fit_1.yaml": 4}


@pytest.mark.parametrize("more", [(), ("--data.workers=1", "--config", EMA)], ids=["plain", "workers and ema"])
def test_resuming_gives_the_weights_of_a_training_without_a_break(more: tuple[str, ...]) -> None:
    stop = "--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 2}}"
    run("fit", "--config", "toy.yaml", *more, "--trainer.default_root_dir=runs/whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run("fit", "--config", "toy.yaml", *more, stop)
    run("fit", "--config", "toy.yaml", *more, "--ckpt_path", "last")
    whole, broken = (load(Path(f"runs/{x}/version_0/checkpoints/last.ckpt")) for x in ("whole", "toy"))
    assert whole["global_step"] == broken["global_step"] == 12
    for key, value in whole["state_dict"].items():
        assert torch.equal(value, broken["state_dict"][key])
    losses = [
        [row["train/loss"] for row in rows(Path(f"runs/{x}/version_0")) if row["train/loss"]] for x in ("whole", "toy")
    ]
    assert losses[0][8:] == losses[1][-4:]


def test_another_seed_wins_over_the_checkpoints(trained: Path) -> None:
    start = trained / "checkpoints" / "last.ckpt"
    start.rename("start.ckpt")
    losses = []
    for seed in (0, 1):
        run(
            "fit",
            "--config",
            "toy.yaml",
            "--ckpt_path=start.ckpt",
            "--trainer.max_epochs=4",
            f"--seed_everything={seed}",
        )
        losses.append([row["train/loss"] for row in rows(Path(f"runs/toy/version_{seed + 1}"))])
    assert losses[0] != losses[1]


def test_a_moved_run_goes_on_and_remembers_its_best(trained: Path) -> None:
    shutil.move("runs", "elsewhere")
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=5", "--ckpt_path=elsewhere/toy/version_0")
    moved = Path("elsewhere/toy/version_0/checkpoints")
    assert {path.name for path in moved.iterdir()} == {"epoch001.ckpt", "last.ckpt"}
    assert load(moved / "last.ckpt")["state_dict"]["epochs"] == 5


def test_a_requeued_job_goes_on_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    stop = "--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 1}}"
    for _ in range(2):  # the second time it starts from the end of epoch 0, and stops again
        with pytest.raises(RuntimeError, match="power cut"):
            run("fit", "--config", "toy.yaml", stop)
    assert [path.name for path in Path("runs/toy").iterdir()] == ["job_1234"]
    steps = [int(row["step"]) for row in rows(Path("runs/toy/job_1234")) if row["train/loss"]]
    assert steps == [0, 1, 2, 3, 4, 4]


def test_a_requeued_job_that_began_with_a_checkpoint_does_not_begin_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trained / "checkpoints" / "last.ckpt").rename("start.ckpt")
    shutil.rmtree("runs")
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="power cut"):
            run(
                *("fit", "--config", "toy.yaml", "--ckpt_path=start.ckpt", "--trainer.max_epochs=5"),
                "--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 4}}",
            )
    steps = [int(row["step"]) for row in rows(Path("runs/toy/job_1234")) if row["train/loss"]]
    assert steps == [12, 13, 14, 15, 16, 16]


def test_another_training_in_the_same_job_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    for seed in (1, 2):
        run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", f"--seed_everything={seed}")
    seeds = {
        path.name: yaml.safe_load((path / "config_fit.yaml").read_text())["seed_everything"]
        for path in Path("runs/toy").iterdir()
    }
    assert seeds == {"job_1234": 1, "job_1234_1": 2}
    assert load(Path("runs/toy/job_1234_1/checkpoints/last.ckpt"))["global_step"] == 4


def test_the_users_logger_takes_the_place_of_ours() -> None:
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--trainer.logger=false")
    folder = Path("runs/toy/version_0")
    assert visible(folder) == {"checkpoints", "config_fit.yaml"}
    logger = "--trainer.logger={class_path: CSVLogger, init_args: {save_dir: logs}}"
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", logger)
    assert os.path.exists("logs/lightning_logs/version_0/metrics.csv")
    assert visible(Path("runs/toy/version_1")) == {"checkpoints", "config_fit.yaml"}


@pytest.mark.parametrize("how", ["fast_dev_run", "barebones"])
def test_trying_out_a_training_leaves_nothing_behind(how: str) -> None:
    Path("try.yaml").write_text(f"trainer: {{{how}: true, log_every_n_steps: 0}}")
    run("fit", "--config", "toy.yaml", "--config", "try.yaml")
    assert not list(Path("runs").rglob("*"))


def test_a_training_without_checkpoints() -> None:
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--trainer.enable_checkpointing=false")
    assert not list(Path("runs").rglob("*.ckpt"))
    assert Path("runs/toy/version_0/metrics.csv").exists()
