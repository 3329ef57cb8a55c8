"""Configurations are made of several files and the command line."""

from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.conftest import EXPERIMENT, run

PRESETS = sorted((Path(__file__).parents[2] / "configs" / "trainer").glob("*.yaml"))
NOTE = "{class_path: tests.cli.toy.Note, init_args: {text: %s}}"


def merged(capsys: pytest.CaptureFixture[str], *args: object) -> dict:
    """Read the configuration that a command would use."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*args, "--print_config")
    assert not ended.value.code
    return yaml.safe_load(capsys.readouterr().out)


def texts(config: dict) -> list[str]:
    return [callback["init_args"]["text"] for callback in config["trainer"]["callbacks"] or []]


def write(name: str, key: str, *callbacks: str) -> str:
    Path(name).write_text(f"trainer: {{{key}: [{', '.join(NOTE % text for text in callbacks)}]}}")
    return name


def test_there_is_a_preset_for_each_machine_and_purpose() -> None:
    purposes = ["bf16", "compile", "debug", "ema", "overfit", "profile"]
    assert [path.stem for path in PRESETS] == sorted(["cpu", "gpu", "ddp", "slurm", *purposes])


@pytest.mark.parametrize("preset", [p for p in PRESETS if p.stem != "compile"], ids=lambda path: path.stem)
def test_presets_go_with_an_experiment(preset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = merged(capsys, "fit", "--config", "toy.yaml", "--config", preset)
    for key, value in yaml.safe_load(preset.read_text())["trainer"].items():
        if key == "callbacks+":
            assert [x["class_path"] for x in config["trainer"]["callbacks"]] == [x["class_path"] for x in value]
        elif not isinstance(value, dict):
            assert config["trainer"][key] == value
    assert config["model"]["class_path"] == "tests.cli.toy.ToyTask"


@pytest.mark.parametrize("preset", ["cpu", "debug", "ema", "overfit", "profile"])
def test_presets_train_and_evaluate(preset: str, caplog: pytest.LogCaptureFixture) -> None:
    both = ("--config", "toy.yaml", "--config", next(path for path in PRESETS if path.stem == preset))
    run("fit", *both, "--trainer.max_epochs=1")
    # Trials have a folder of their own: the experiment's newest run, which `best` and `last` mean, is not one of them.
    folder = Path("runs", preset if preset in ("debug", "profile") else "toy", "version_0")
    if preset == "overfit":  # saves no checkpoints
        assert folder.exists()
        assert not list(folder.rglob("*.ckpt"))
        return
    if preset == "profile":
        assert "run_training_epoch" in (folder / "fit-profile.txt").read_text()
    for path in folder.glob("checkpoints/*"):
        torch.load(path, weights_only=True)
    assert ("moving averages" in caplog.text) == (preset == "ema")
    caplog.clear()
    run("test", *both, "--ckpt_path=last")
    assert (folder / "test" / "metrics.csv").exists()
    assert ("moving averages" in caplog.text) == (preset == "ema")


@pytest.mark.parametrize(("lists", "result"), [
    ((), []),
    ((("callbacks", "a", "b"), ("callbacks", "c")), ["c"]),
    ((("callbacks", "a", "b"), ("callbacks+", "c")), ["a", "b", "c"]),
    ((("callbacks+", "a"), ("callbacks+", "b")), ["a", "b"]),
])  # fmt: skip
def test_lists_replace_or_append(lists: tuple, result: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(f"{number}.yaml", *content) for number, content in enumerate(lists)]
    args = [arg for file in files for arg in ("--config", file)]
    assert texts(merged(capsys, "fit", "--config", "toy.yaml", *args)) == result
    more = f"--trainer.callbacks+={NOTE % 'z'}"
    assert texts(merged(capsys, "fit", "--config", "toy.yaml", *args, more)) == [*result, "z"]


def test_appending_to_the_checkpoints_callbacks(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--config", write("a.yaml", "callbacks+", "a"))
    capsys.readouterr()
    run("test", "--ckpt_path", "runs/toy/version_1", f"--trainer.callbacks+={NOTE % 'b'}")
    out = capsys.readouterr().out
    assert out.index("note: a") < out.index("note: b")


def test_one_file_for_several_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    both = {
        command: {**yaml.safe_load(EXPERIMENT), "seed_everything": seed} for command, seed in (("fit", 1), ("test", 2))
    }
    Path("both.yaml").write_text(yaml.safe_dump(both))
    for command, seed in (("fit", 1), ("test", 2)):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run("--config", "both.yaml", command, "--print_config")
        assert not ended.value.code
        assert yaml.safe_load(capsys.readouterr().out)["seed_everything"] == seed


def test_classes_have_short_names(capsys: pytest.CaptureFixture[str]) -> None:
    config = merged(capsys, "fit", "--model=ToyTask", "--model.net=Net", "--data=ToyData", "--model.optimizer=Adam")
    assert config["model"]["init_args"]["net"]["class_path"] == "tests.cli.toy.Net"
    assert config["model"]["init_args"]["optimizer"]["class_path"] == "torch.optim.Adam"


def test_seed_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert merged(capsys, "fit", "--config", "toy.yaml")["seed_everything"] == 0


def test_progress_in_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run("fit", "--config", "toy.yaml")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    assert lines[1].startswith("epoch 1 of 3: ")
    assert "val/score 0.9" in lines[1]
    run("fit", "--config", "toy.yaml", "--trainer.enable_progress_bar=false")
    assert "epoch 1" not in capsys.readouterr().out
