"""Runs and configurations from before classes moved and arguments got other names go on working."""

import csv
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from lit_modules.callbacks import ClipBounds
from lit_modules.cli import CLI
from lit_modules.runs import migration
from lit_modules.runs.migration import MOVED, RENAMED, add_clip_bounds, migrate
from tests.cli.conftest import EXPERIMENT, Refuse, run

OLD = Path(__file__).parent / "old_run"
# of `python cli.py test --ckpt_path version_0/checkpoints/last.ckpt` by the program that made the run, commit f5a647f
METRICS = {"test/loss": 2.031117816581797, "test/top1_error": 53.43228530883789, "test/top5_error": 6.679034233093262}


@pytest.fixture(autouse=True)
def _untold() -> None:
    migration._tell.cache_clear()


@pytest.fixture
def old_run() -> Path:
    """Copy a run of ACDA on digits, in which all that could be named by its module was."""
    shutil.copytree(OLD / "version_0", "runs/version_0")
    return Path("runs/version_0")


def metrics() -> list[dict[str, str]]:
    with Path("metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_an_old_checkpoint_gives_what_it_gave(old_run: Path) -> None:
    run("test", "--ckpt_path", old_run / "checkpoints" / "last.ckpt")
    (row,) = metrics()
    assert {key: float(row[key]) for key in METRICS} == pytest.approx(METRICS, rel=1e-5)


def test_an_old_configuration_fits_an_old_checkpoint(old_run: Path) -> None:
    run("test", "--config", OLD / "old.yaml", "--ckpt_path", "last")
    assert float(metrics()[0]["test/loss"]) == pytest.approx(METRICS["test/loss"], rel=1e-5)


def test_an_old_checkpoint_predicts(old_run: Path) -> None:
    Path("images").mkdir()
    Image.new("L", (8, 8), 99).save("images/a.png")
    run("predict", "--ckpt_path", old_run / "checkpoints" / "last.ckpt", "--data.init_args.predict_dir=images")
    with (old_run / "predict" / "predictions.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["a.png"]


@pytest.mark.slow
def test_an_old_training_goes_on(old_run: Path) -> None:
    last = old_run / "checkpoints" / "last.ckpt"
    before = torch.load(last, weights_only=True)
    run("fit", "--ckpt_path", old_run, "--trainer.max_epochs=6", "--trainer.limit_train_batches=1")
    after = torch.load(last, weights_only=True)
    assert (before["epoch"], after["epoch"]) == (4, 5)
    assert after["global_step"] == before["global_step"] + 1
    bases = {f"network.features.{layer}.bases" for layer in (0, 3)}  # which were not part of it
    assert after["state_dict"].keys() == before["state_dict"].keys() | bases
    assert "datamodules.DigitsDataModule" in after["config"]


def test_classes_that_moved_are_where_they_are_said_to_be() -> None:
    for module in MOVED.values():
        import_module(module)
    old = yaml.safe_load((OLD / "old.yaml").read_text())
    new = migrate(old)
    assert new["model"]["class_path"] == "lit_modules.ClassificationTask"
    assert new["trainer"]["logger"]["class_path"] == "lit_modules.runs.loggers.MetricsFile"
    assert old["model"]["class_path"] == "lit_modules.classification.ClassificationTask"


@pytest.mark.parametrize("config", [
    {"data": {"class_path": "datamodules.DigitsDataModule"}},
    {"trainer": {"default_root_dir": "datamodules.digits"}},
    {"a": ["lit_modules.losses.VariationalLoss", "mine.datamodules.digits.Digits", 3, None]},
    {"model": {"class_path": "mine.OwnTask", "init_args": {"test_time_flip": True}}},
])  # fmt: skip
def test_the_rest_stays(config: Any) -> None:
    assert migrate(config) == config


@pytest.mark.parametrize("class_path", ["lit_modules.counting.CountingTask", "lit_modules.CountingTask", None])
def test_flips_in_counting_have_another_name(class_path: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Also where one file names the class and another one its arguments."""
    named = {} if class_path is None else {"class_path": class_path}
    new = migrate({"model": {**named, "init_args": {"test_time_flip": True, "tile": 32}}})
    assert "test_time_flip in a configuration is now self_ensemble" in caplog.messages
    assert new["model"]["init_args"] == {"self_ensemble": True, "tile": 32}


def test_both_names_at_once_are_left_for_the_parser_to_refuse() -> None:
    config = {"class_path": "CountingTask", "init_args": {"test_time_flip": True, "self_ensemble": False}}
    assert migrate(config) == config


def test_an_earlier_name_of_an_argument_works(
    trained: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(RENAMED, "Net", {"breadth": "width"})
    old = EXPERIMENT.replace("width: 3", "breadth: 4")
    Path("old.yaml").write_text(old)
    run("fit", "--config", "old.yaml", "--trainer.max_epochs=1")
    assert caplog.messages.count("breadth in a configuration is now width") == 1
    path = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "config": checkpoint["config"].replace("width: 3", "breadth: 3")}, path)
    run("test", "--ckpt_path", path)
    run("fit", "--ckpt_path", trained, "--trainer.max_epochs=4")
    assert "width: 3" in torch.load(path, weights_only=True)["config"]


def test_an_earlier_name_on_the_command_line_is_told_the_present_one(
    monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    monkeypatch.setitem(RENAMED, "Net", {"breadth": "width"})
    (line,) = refuse("fit", "--config", "toy.yaml", "--model.net.init_args.breadth=4")
    assert line.endswith("no such key of tests.cli.toy.Net; it is width now")


def test_a_requeued_job_knows_its_folder_by_an_earlier_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_NAME", "job")
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1")
    config = Path("runs/toy/job_12/config_fit.yaml")
    config.write_text(config.read_text().replace("width", "breadth"))
    monkeypatch.setitem(RENAMED, "Net", {"breadth": "width"})
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1")
    assert [path.name for path in Path("runs/toy").iterdir()] == ["job_12"]


STATE = {"bounds": {"denoiser": 5.0, "noise_estimator": 7.0}, "epoch": 2,
         "noted": {"denoiser": [0.0, 0.0], "noise_estimator": [0.0, 0.0]}}  # fmt: skip


def test_bounds_that_were_the_tasks_own_are_kept(trained: Path) -> None:
    """Of a training that has no steps left, for its network is no pair of networks."""
    path = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "callbacks": {**checkpoint["callbacks"], "ClipBounds": STATE}}, path)
    cli = CLI(["fit", "--ckpt_path", str(trained)])
    (bounds,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, ClipBounds))
    assert bounds.bounds == STATE["bounds"]


@pytest.mark.parametrize(("callbacks", "states", "expected"), [
    (None, {"ClipBounds": STATE}, 1),
    ([{"class_path": "mine.Other"}], {"ClipBounds{}": STATE}, 2),
    ({"class_path": "mine.Other"}, {"ClipBounds": STATE}, 2),
    ([{"class_path": "lit_modules.callbacks.ClipBounds", "init_args": {"denoiser": 1}}], {"ClipBounds": STATE}, 1),
    (["lit_modules.callbacks.ClipBounds"], {"ClipBounds": STATE}, 1),
    ([{"class_path": "mine.Other"}], {"Other": {}}, 1),
    ([], None, 0),
])  # fmt: skip
def test_bounds_are_added_where_they_are_missing(callbacks: Any, states: Any, expected: int) -> None:
    config = {"trainer": {"callbacks": callbacks}}
    add_clip_bounds(config, {"callbacks": states})
    assert len(config["trainer"]["callbacks"] or []) == expected


def test_the_tables_of_names_are_not_chained() -> None:
    """What one entry gives is not another one's old name: each is looked up once."""
    assert not set(MOVED) & set(MOVED.values())
    assert all(not set(pairs) & set(pairs.values()) for pairs in migration.RENAMED.values())
