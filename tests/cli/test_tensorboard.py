"""What TensorBoard, and the CSV file beside it, show of runs and of evaluations of their checkpoints."""

import csv
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.api_pb2 import ListSessionGroupsRequest, Status
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from lit_modules.runs import folders
from lit_modules.runs.hyper_parameters import select_hyper_parameters
from tests.cli.conftest import run
from tests.cli.programs import CONFIGS

DIGITS = ("--config", CONFIGS / "digits" / "lenet_acda.yaml", "--trainer.default_root_dir=runs/digits")
STEPS = 4
"""Steps in an epoch of the toy task, whose best epoch is the second of three."""


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def points(folder: Path, metric: str) -> list[tuple[int, str]]:
    """Step and epoch of each value of a metric in the CSV file."""
    return [(int(row["step"]), row["epoch"]) for row in rows(folder) if row.get(metric)]


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def steps(folder: Path, metric: str) -> list[int]:
    """Steps of a metric in TensorBoard."""
    return [point.step for point in events(folder).Scalars(metric)]


def sessions(experiment: Path) -> dict[str, tuple[dict[str, Any], dict[str, tuple[float, int]], int]]:
    """Hyper-parameters, metrics with their steps, and status of each run, as TensorBoard asks for them."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(experiment))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(experiment))))
    request = ListSessionGroupsRequest(start_index=0, slice_size=100, allowed_statuses=Status.values())
    response = Handler(RequestContext(), context, "", request).run()
    return {
        group.name: (
            {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()},
            {f"{m.name.group}:{m.name.tag}": (m.value, m.training_step) for m in group.metric_values},
            group.sessions[0].status,
        )
        for group in response.session_groups
    }


# The step of the weights


@pytest.mark.parametrize("ema", [False, True])
def test_evaluations_stand_at_the_step_of_their_weights(ema: bool) -> None:
    more = ("--config", CONFIGS / "trainer" / "ema.yaml") if ema else ()
    run("fit", "--config", "toy.yaml", *more)
    version = Path("runs/toy/version_0")
    saved = torch.load(version / "checkpoints" / "epoch001.ckpt", weights_only=True)
    assert (saved["global_step"], saved["epoch"]) == (2 * STEPS, 1)
    assert ("averaging_state" in saved) == ema
    expected = [(STEPS, "0"), (2 * STEPS, "1"), (3 * STEPS, "2")]
    assert points(version, "val/score") == expected
    assert steps(version, "val/score") == [step for step, _ in expected]

    run("test", "--ckpt_path", version)
    run("validate", "--ckpt_path", version)
    run("test", "--ckpt_path", version / "checkpoints" / "last.ckpt")
    for name, metric, (step, epoch) in (
        ("test", "test/batches", expected[1]),
        ("validate", "val/score", expected[1]),
        ("test_1", "test/batches", expected[2]),
    ):
        assert points(version / name, metric) == [(step, epoch)]
        assert steps(version / name, metric) == steps(version / name, "epoch") == [step]
    (score,) = [float(row["val/score"]) for row in rows(version / "validate")]
    assert score == pytest.approx(0.9)  # the toy task's of epoch 1


def test_validations_within_an_epoch_stand_at_their_steps() -> None:
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--trainer.val_check_interval=0.5")
    assert points(Path("runs/toy/version_0"), "val/score") == [(STEPS // 2, "0"), (STEPS, "0")]


def test_steps_count_on_in_a_resumed_training(trained: Path) -> None:
    run("fit", "--config", "toy.yaml", "--ckpt_path", "last", "--trainer.max_epochs=4")
    assert [step for step, _ in points(trained, "val/score")] == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]


@pytest.mark.parametrize("name", ["alone", "of another program"])
def test_weights_that_say_no_step_stand_at_0(trained: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    weights = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    more = {} if name == "alone" else {"global_step": "many", "epoch": None}
    torch.save({"state_dict": weights, **more}, f"{name}.ckpt")
    run("test", "--config", "toy.yaml", "--ckpt_path", f"{name}.ckpt")
    told = f"{name}.ckpt does not say after which step its weights are: results are logged at step 0"
    assert caplog.messages.count(told) == 1
    assert points(Path("runs/toy/version_1"), "test/batches") == [(0, "0")]
    caplog.clear()
    run("test", "--ckpt_path", trained)
    assert "does not say" not in caplog.text


def test_a_training_does_not_go_on_from_weights_alone(trained: Path, refuse: Any) -> None:
    weights = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    torch.save({"state_dict": weights}, "weights.ckpt")
    (line,) = refuse("fit", "--config", "toy.yaml", "--ckpt_path=weights.ckpt")
    assert "weights.ckpt holds weights alone, from which no training can go on" in line
    assert line.endswith("--trainer.callbacks+=WarmStart --trainer.callbacks.weights=weights.ckpt")


@pytest.mark.slow
def test_pictures_stand_where_the_metrics_do() -> None:
    """And an evaluation logs them whatever its epoch is, of which a training takes every fifth."""
    seldom = [
        f"--trainer.callbacks+={{class_path: {name}, init_args: {{every_n_epochs: 5}}}}"
        for name in ("lit_modules.callbacks.PictureLogger", "lit_modules.callbacks.CoefficientMaps")
    ]
    run("fit", *DIGITS, *seldom, "--trainer.max_epochs=2", "--trainer.limit_train_batches=3")
    version = Path("runs/digits/version_0")
    for subcommand in ("test", "validate"):
        run(subcommand, "--ckpt_path", version / "checkpoints" / "last.ckpt")
    for folder, stage, step in ((version, "val", 3), (version / "test", "test", 6), (version / "validate", "val", 6)):
        found = events(folder)
        tags = found.Tags()["images"]
        assert {tag.split("/")[0] for tag in tags} == {"coefficients", f"{stage}_pictures"}
        assert {point.step for tag in tags for point in found.Images(tag)} == {step}
        assert step in steps(folder, f"{stage}/top1_error")


# Hyper-parameters


def test_runs_and_their_tests_can_be_compared_by_hyper_parameters() -> None:
    run("fit", "--config", "toy.yaml")
    run("fit", "--config", "toy.yaml", "--model.init_args.optimizer.init_args.lr=0.02", "--seed_everything=7")
    run("test", "--ckpt_path", "runs/toy/version_0")
    found = sessions(Path("runs/toy"))
    assert found.keys() == {"version_0", "version_1"}
    (first, metrics, status), (second, _, _) = found["version_0"], found["version_1"]
    assert first == {
        **{"task": "ToyTask", "net": "Net", "net.layer": "Layer", "net.layer.bases": 2, "data": "ToyData"},
        **{"data.batch_size": 2, "optimizer": "SGD", "optimizer.lr": 0.01, "optimizer.momentum": 0.9},
        **{"lr_scheduler": "StepLR", "lr_scheduler.step_size": 1, "lr_scheduler.gamma": 0.5},
        **{"seed": 0, "max_epochs": 3},
    }
    assert dict(first.items() ^ second.items()).keys() == {"optimizer.lr", "seed"}
    assert (second["optimizer.lr"], second["seed"]) == (0.02, 7)
    assert status == Status.Value("STATUS_SUCCESS")
    assert metrics[":best/val/score"] == (pytest.approx(0.9), 2 * STEPS)
    assert metrics[":val/score"] == (pytest.approx(0.1), 3 * STEPS)
    assert metrics["test:test/epochs"] == (2, 2 * STEPS)
    best = events(Path("runs/toy/version_0")).Scalars("best/val/score")
    assert [(point.step, point.value) for point in best] == [
        (STEPS, pytest.approx(0.5)),
        (2 * STEPS, pytest.approx(0.9)),
    ]


def test_an_evaluation_without_a_run_has_its_own(trained: Path) -> None:
    (trained / "checkpoints" / "last.ckpt").rename("some.ckpt")
    shutil.rmtree("runs")
    for subcommand in ("test", "validate"):
        run(subcommand, "--config", "toy.yaml", "--ckpt_path", "some.ckpt")
    found = sessions(Path("runs/toy"))
    assert found["version_0"][0] == found["version_1"][0]
    assert found["version_0"][1][":test/epochs"] == (3, 3 * STEPS)
    assert found["version_1"][1][":val/score"] == (pytest.approx(0.1), 3 * STEPS)


def test_a_training_that_failed_has_not_ended() -> None:
    stop = "--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 1}}"
    with pytest.raises(RuntimeError, match="power cut"):
        run("fit", "--config", "toy.yaml", stop)
    _, metrics, status = sessions(Path("runs/toy"))["version_0"]
    assert status == Status.Value("STATUS_UNKNOWN")
    assert metrics[":best/val/score"] == (pytest.approx(0.5), STEPS)


SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.0, "nesterov": True, "foreach": None}}


@pytest.mark.parametrize(("model", "expected"), [
    ({"class_path": "tests.cli.toy.ToyTask", "init_args": {"optimizer": SGD}},
     {"task": "ToyTask", "optimizer": "SGD", "optimizer.lr": 0.1, "optimizer.nesterov": True}),
    ({"class_path": "acda.models.LeNet", "init_args": {"num_classes": 3, "channels": [6, 16], "kernel_size": 3}},
     {"task": "LeNet", "num_classes": 3, "kernel_size": 3}),
    ({"class_path": "acda.models.LeNet", "init_args": {"channels": [8, 16], "conv": {"class_path": "acda.ACDAConv2d"}}},
     {"task": "LeNet", "channels": "[8, 16]", "conv": "ACDAConv2d"}),
    ({"class_path": "lit_modules.VariationalTask", "init_args": {"protocol": "sidd", "shave": 2, "ssim": "per_channel",
                                                                  "compile_network": True, "tile": None}},
     {"task": "VariationalTask", "shave": 2}),
    (None, {}),
])  # fmt: skip
def test_hyper_parameters_are_what_is_not_left_at_its_default(
    model: Mapping[str, Any] | None, expected: dict[str, Any]
) -> None:
    """Those that a class hands to its bases too."""
    assert select_hyper_parameters({"model": model, "seed_everything": 3}) == expected | {"seed": 3}


@pytest.mark.parametrize("name", ["digits/lenet_acda", "imagenet/ad_resnet_s", "crowd/synthetic_acda", "sidd/vdn"])
def test_hyper_parameters_of_experiments_are_few(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("fit", "--config", CONFIGS / f"{name}.yaml", "--print_config")
    config = yaml.safe_load(capsys.readouterr().out)
    found = select_hyper_parameters(config)
    expected = {"task", "network", "optimizer", "optimizer.lr", "lr_scheduler", "data", "seed", "max_epochs"}
    assert expected <= found.keys()
    assert {"data.batch_size", "data.total_batch_size"} & found.keys()
    assert len(found) <= 32
    assert all(isinstance(value, bool | int | float | str) for value in found.values())
    assert not [key for key in found if key.endswith(("_dir", "num_workers", "backend"))]


# Where to look


@pytest.mark.parametrize(("run_folder", "experiment"), [
    ("runs/a/version_3", "runs/a"), ("version_3", "."), ("/x y/version_12", "/x y"), ("runs/a/job_12", "runs/a"),
    ("job_12_1", "."), ("elsewhere/best run", "elsewhere/best run"), ("version_of_mine", "version_of_mine"),
])  # fmt: skip
def test_an_experiment_is_where_numbered_runs_are(run_folder: str, experiment: str) -> None:
    assert folders.find_experiment(Path(run_folder)) == Path(experiment)


def looked_at(caplog: pytest.LogCaptureFixture, *args: object) -> Path:
    """The folder in the command that is printed at the end, as a shell reads it."""
    caplog.clear()
    run(*args)
    (line,) = [line for line in caplog.messages if line.startswith("Results are in ")]
    *_, option, folder = shlex.split(line.partition("to look at them: ")[2])
    assert option == "--logdir"
    return Path(folder)


@pytest.mark.parametrize("subcommand", ["test", "validate"])
def test_the_folder_to_look_at_is_that_of_the_run_elsewhere(
    trained: Path, subcommand: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path("other disk/our runs").absolute()
    there.parent.mkdir()
    shutil.move("runs/toy", there)
    best = "version_0/checkpoints/epoch001.ckpt"
    assert looked_at(caplog, subcommand, "--ckpt_path", "other disk/our runs/version_0") == Path("other disk/our runs")
    assert looked_at(caplog, subcommand, "--config", "toy.yaml", "--ckpt_path", there / best) == there
    monkeypatch.chdir(there / "version_0/checkpoints")
    assert looked_at(caplog, subcommand, "--ckpt_path", "epoch001.ckpt").resolve() == there
    monkeypatch.chdir(there / "version_0")
    assert looked_at(caplog, subcommand, "--ckpt_path", "checkpoints/epoch001.ckpt").resolve() == there
    assert looked_at(caplog, subcommand, "--ckpt_path", ".").resolve() == there
    assert len(list(there.glob(f"version_0/{subcommand}*/metrics.csv"))) == 5
    assert not Path("runs").exists()
    moved = there.parent / "the best"
    shutil.move(there / "version_0", moved)
    monkeypatch.chdir(moved.parent)
    assert looked_at(caplog, subcommand, "--ckpt_path", "the best") == Path("the best")


def test_the_folder_to_look_at_is_that_of_the_results(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the checkpoint lies in no run, or the user's logger writes elsewhere."""
    assert looked_at(caplog, "fit", "--config", "toy.yaml", "--trainer.max_epochs=1") == Path("runs/toy")
    shutil.copy(trained / "checkpoints" / "last.ckpt", "some.ckpt")
    mine = "--trainer.default_root_dir=my results"
    assert looked_at(caplog, "test", "--config", "toy.yaml", mine, "--ckpt_path=some.ckpt") == Path("my results")
    logger = "--trainer.logger={class_path: TensorBoardLogger, init_args: {save_dir: my logs, name: toy}}"
    assert looked_at(caplog, "test", "--ckpt_path", trained, logger) == Path("my logs/toy")
    caplog.clear()
    run("test", "--ckpt_path", trained, "--trainer.logger=false")
    assert "Results are in" in caplog.text
    assert "to look at them" not in caplog.text
