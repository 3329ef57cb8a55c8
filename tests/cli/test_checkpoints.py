"""Which checkpoint is used, which configuration, and who wins."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from lit_modules.cli import CLI
from tests.cli.conftest import EXPERIMENT, Refuse, run
from tests.cli.toy import Note


def results(folder: Path) -> dict[str, float]:
    """Read what a test wrote into its folder."""
    with (folder / "metrics.csv").open() as file:
        return {key: float(value) for key, value in next(csv.DictReader(file)).items() if value}


def experiment(name: str, **net: object) -> str:
    """Write the experiment with another network."""
    config = yaml.safe_load(EXPERIMENT)
    config["model"]["init_args"]["net"] = net
    Path(name).write_text(yaml.safe_dump(config))
    return name


# Who wins


def test_a_new_learning_rate_wins_over_the_one_in_the_checkpoint(trained: Path) -> None:
    run(
        *("fit", "--config", "toy.yaml", "--ckpt_path", "last", "--trainer.max_epochs=5"),
        "--model.init_args.optimizer.init_args.lr=0.8",
    )
    with (trained / "metrics.csv").open() as file:
        rates = [float(row["lr-SGD"]) for row in csv.DictReader(file) if row["lr-SGD"]]
    # halved after each epoch, then the same schedule from 0.8 instead of 0.01
    assert rates == pytest.approx([0.01, 0.005, 0.0025, 0.8 / 8, 0.8 / 16])
    last = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.8
    assert last["hyper_parameters"]["optimizer"]["init_args"]["lr"] == 0.8


def test_other_settings_of_optimizer_and_schedule_win_too(trained: Path) -> None:
    run(
        *("fit", "--config", "toy.yaml", "--ckpt_path", "last", "--trainer.max_epochs=5"),
        *("--model.init_args.optimizer.init_args.momentum=0.5", "--model.init_args.lr_scheduler.init_args.gamma=0.1"),
    )
    last = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["momentum"] == 0.5
    assert last["lr_schedulers"][0]["gamma"] == 0.1


def test_resuming_with_another_optimizer_is_refused(trained: Path, refuse: Refuse) -> None:
    lines = refuse(
        *("fit", "--config", "toy.yaml", "--ckpt_path", "last"),
        '--model.init_args.optimizer={"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}',
    )
    assert "torch.optim.Adam" in lines[0]
    assert "torch.optim.SGD" in lines[0]


@pytest.mark.parametrize("command", ["test", "fit"])
def test_another_model_than_the_checkpoints_is_an_error_that_names_the_keys(
    trained: Path, refuse: Refuse, command: str
) -> None:
    deeper = experiment("deeper.yaml", class_path="tests.cli.toy.Deeper", init_args={"width": 5})
    lines = refuse(command, "--config", deeper, "--ckpt_path", trained / "checkpoints" / "last.ckpt")
    assert "ToyTask(net=Net" in lines[0]
    assert "ToyTask(net=Deeper" in lines[0]
    text = "\n".join(lines[1:])
    assert "net.extra.bias, net.extra.weight" in text
    assert "net.first.weight [3, 4] instead of [5, 4]" in text
    assert "optimizer" not in text


def test_a_config_with_a_model_is_all_that_counts(trained: Path) -> None:
    config = yaml.safe_load(EXPERIMENT)
    config["data"]["init_args"]["batch_size"] = 4
    Path("other.yaml").write_text(yaml.safe_dump(config))
    # the checkpoint's configuration would bring the callback back
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["config"] = checkpoint["config"].replace("limit_test_batches: null", "limit_test_batches: 1")
    torch.save(checkpoint, "limited.ckpt")
    run("test", "--config", "other.yaml", "--ckpt_path", "limited.ckpt")
    assert results(Path("runs/toy/version_1"))["test/batches"] == 2


# Everything from the checkpoint


def test_a_checkpoint_alone_is_enough(trained: Path) -> None:
    run("test", "--ckpt_path", trained / "checkpoints" / "last.ckpt")
    assert results(trained / "test")["test/epochs"] == 3
    assert results(trained / "test")["test/batches"] == 4
    config = yaml.safe_load((trained / "test" / "config_test.yaml").read_text())
    assert config["model"]["init_args"]["net"]["init_args"]["layer"]["init_args"] == {"bases": 2}


def test_the_command_line_goes_on_top_of_the_checkpoints_configuration(trained: Path) -> None:
    run("test", "--ckpt_path", trained / "checkpoints" / "last.ckpt", "--data.init_args.batch_size=7")
    assert results(trained / "test")["test/batches"] == 2  # 7 + 1 samples


def test_a_preset_goes_on_top_of_the_checkpoints_configuration(trained: Path) -> None:
    Path("preset.yaml").write_text("trainer: {limit_test_batches: 1}")
    run("test", "--ckpt_path", trained / "checkpoints" / "last.ckpt", "--config", "preset.yaml")
    assert results(trained / "test")["test/batches"] == 1


def test_a_checkpoint_copied_elsewhere_is_enough(trained: Path) -> None:
    shutil.copy(trained / "checkpoints" / "last.ckpt", "alone.ckpt")
    shutil.rmtree("runs")
    Path("toy.yaml").unlink()
    run("test", "--ckpt_path", "alone.ckpt")
    assert results(Path("runs/version_0"))["test/epochs"] == 3


def test_weights_alone_use_the_configuration_beside_them(trained: Path, refuse: Refuse) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    weights = torch.load(path, weights_only=True)
    del weights["config"]
    torch.save(weights, path)
    run("test", "--ckpt_path", path)
    assert results(trained / "test")["test/epochs"] == 3
    shutil.copy(path, "alone.ckpt")
    assert "--config" in refuse("test", "--ckpt_path", "alone.ckpt")[0]


def test_settings_of_the_machine_that_trained_are_not_needed_to_test(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"] = checkpoint["config"].replace("accelerator: cpu", "accelerator: tpu")
    torch.save(checkpoint, path)
    run("test", "--ckpt_path", path, "--trainer.accelerator=cpu")
    run("test", "--ckpt_path", path)
    assert results(trained / "test_1")["test/epochs"] == 3


def test_a_training_goes_on_from_its_checkpoint_alone(trained: Path) -> None:
    run("fit", "--ckpt_path", trained, "--trainer.max_epochs=4")
    assert torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["epochs"] == 4


# Which checkpoint


@pytest.mark.parametrize(("name", "epochs", "moved"), [
    ("best", 2, False), ("last", 3, False), ("runs/toy/version_0", 2, False), ("best", 2, True), ("last", 3, True),
])  # fmt: skip
def test_best_and_last_of_an_earlier_process(trained: Path, name: str, epochs: int, moved: bool) -> None:
    root = Path("runs/toy")
    if moved:
        shutil.move("runs", "moved")
        root = Path("moved/toy")
    run("test", "--ckpt_path", name, "--trainer.default_root_dir", root)
    assert results(root / "version_0" / "test")["test/epochs"] == epochs


def test_last_is_of_the_newest_run(trained: Path) -> None:
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1")
    Path("runs/toy/version_2").mkdir()  # a training that came to nothing
    run("test", "--config", "toy.yaml", "--ckpt_path=last")
    assert results(Path("runs/toy/version_1/test"))["test/epochs"] == 1


@pytest.mark.parametrize(
    ("command", "name"), [("fit", "last"), ("validate", "best"), ("test", "last"), ("predict", "best")]
)
def test_nothing_found_names_the_folder(refuse: Refuse, command: str, name: str) -> None:
    assert "runs/toy" in refuse(command, "--config", "toy.yaml", "--ckpt_path", name)[0]


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_random_weights_are_not_evaluated(refuse: Refuse, command: str) -> None:
    for config in (("--config", "toy.yaml"), ())[: 1 + (command == "test")]:
        line = refuse(command, *config)[0]
        assert "--ckpt_path" in line
        assert "--allow_untrained" in line
    assert not Path("runs").exists()


def test_random_weights_are_evaluated_on_demand() -> None:
    run("test", "--config", "toy.yaml", "--allow_untrained=true")
    assert results(Path("runs/toy/version_0"))["test/epochs"] == 0


def test_a_network_without_parameters_needs_no_checkpoint() -> None:
    run("test", "--config", experiment("mean.yaml", class_path="tests.cli.toy.Mean"))
    assert results(Path("runs/toy/version_0"))["test/batches"] == 4


def test_files_that_are_no_checkpoints_are_named(trained: Path, refuse: Refuse) -> None:
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(whole[: len(whole) // 2])
    Path("text.ckpt").write_text("not a checkpoint")
    Path("empty.ckpt").touch()
    torch.save([1, 2], "list.ckpt")
    for name in ("cut.ckpt", "text.ckpt", "empty.ckpt", "list.ckpt", "missing.ckpt"):
        assert name in refuse("test", "--ckpt_path", name)[0]
    assert "cut.ckpt" in refuse("fit", "--config", "toy.yaml", "--ckpt_path", "cut.ckpt")[0]


def test_pickled_objects_are_loaded_only_on_demand(trained: Path, refuse: Refuse) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    torch.save({**torch.load(path, weights_only=True), "extra": Note("hello")}, path)
    assert "--weights_only=false" in refuse("test", "--config", "toy.yaml", "--ckpt_path", path)[0]
    for config in (("--config", "toy.yaml"), ()):
        run("test", *config, "--ckpt_path", path, "--weights_only=false")
    assert results(trained / "test_1")["test/epochs"] == 3


def test_predictions_are_not_collected(trained: Path) -> None:
    cli = CLI(["predict", "--ckpt_path", str(trained)])
    assert cli.trainer.predict_loop.predictions == []
    assert (trained / "predict" / "config_predict.yaml").is_file()
    cli = CLI(["predict", "--ckpt_path", str(trained), "--return_predictions=true"])
    assert len(cli.trainer.predict_loop.predictions) == 4
