"""What users read when something they wrote is wrong."""

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import EXPERIMENT, Refuse, run


@pytest.mark.parametrize(("argument", "key", "meant"), [
    ("--trainer.max_epoch=3", "trainer.max_epoch", "trainer.max_epochs"),
    ("--trainr.max_epochs=3", "trainr", "trainer"),
    ("--chekpoint.monitor=x", "chekpoint", "checkpoint"),
    ("--ckpt=last", "ckpt", "ckpt_path"),
    ("--max_epochs=3", "max_epochs", "trainer.max_epochs"),
    ("--model.init_args.optimzer=SGD", "model.init_args.optimzer", "optimizer"),
    ("--model.net.init_args.widht=3", "model.init_args.net.init_args.widht", "width"),
    ("--model.net.layer.base=3", "model.init_args.net.init_args.layer.init_args.base", "bases"),
    ("--model.optimizer.momentm=0", "model.init_args.optimizer.init_args.momentm", "momentum"),
    ("--data.batchsize=3", "data.init_args.batchsize", "batch_size"),
    ("--trainer.callbacks+={class_path: EarlyStopping, init_args: {monitr: x}}", "trainer.callbacks", "monitor"),
])  # fmt: skip
def test_a_mistyped_key_is_named_with_the_nearest_valid_ones(
    refuse: Refuse, argument: str, key: str, meant: str
) -> None:
    lines = refuse("fit", "--config", "toy.yaml", argument)
    assert key in lines[0]
    assert meant in lines[0].split("did you mean")[1]


@pytest.mark.parametrize(("old", "new", "key", "meant"), [
    ("max_epochs", "max_epoch", "trainer.max_epoch:", "trainer.max_epochs"),
    ("lr_scheduler:", "lr_schedular:", "model.init_args.lr_schedular", "lr_scheduler"),
    ("width", "widht", "model.init_args.net.init_args.widht", "width"),
    ("bases", "base", "layer.init_args.base:", "bases"),
    ("step_size", "stepsize", "lr_scheduler.init_args.stepsize", "step_size"),
    ("batch_size", "batchsize", "data.init_args.batchsize", "batch_size"),
    ("cli.toy.Net", "cli.toy.Nett", "model.init_args.net", "Net"),
    ("torch.optim.SGD", "SDG", "model.init_args.optimizer", "SGD"),
])  # fmt: skip
def test_the_file_with_the_mistake_is_named(refuse: Refuse, old: str, new: str, key: str, meant: str) -> None:
    assert EXPERIMENT.count(old) == 1
    Path("mine.yaml").write_text(EXPERIMENT.replace(old, new))
    Path("fine.yaml").write_text("trainer: {limit_train_batches: 1}")
    lines = refuse("fit", "--config", "mine.yaml", "--config", "fine.yaml")
    assert "mine.yaml: " in lines[0]
    assert key in lines[0]
    assert meant in lines[0].split("did you mean")[1]


@pytest.mark.parametrize(("argument", "words"), [
    ("--trainer.max_epochs=many", ("trainer.max_epochs", "int", "many")),
    ("--trainer.precision=bf17", ("trainer.precision", "bf16-mixed", "bf17")),
    ("--data.batch_size=two", ("data.init_args.batch_size", "int", "two")),
    ("--model.net.layer.bases=six", ("layer.init_args.bases", "int", "six")),
    ("--seed_everything=true", ("seed_everything", "int")),
    ("--model=ToyData", ("model", "LightningModule")),
    ("--config=missing.yaml", ("missing.yaml",)),
    ("stray", ("stray",)),
    ("--print_shtab=bash", ("print_shtab: no such key",)),
    ("--seed_everything=-1", ("seed_everything", ">=0")),
    ("--seed_everything=4294967296", ("seed_everything", "<4294967296")),
    ("--log_level=loud", ("log_level", "warning", "loud")),
    ("--trainer=[1]", ("trainer", "[1]")),
])  # fmt: skip
def test_a_wrong_value_is_named_with_what_is_expected(refuse: Refuse, argument: str, words: tuple[str, ...]) -> None:
    lines = refuse("fit", "--config", "toy.yaml", argument)
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("content", ["trainer:\n  max_epochs: [3\nmodel:\n", "", "just words", "trainer:"])
def test_a_file_that_is_no_configuration_is_named(refuse: Refuse, content: str) -> None:
    Path("broken.yaml").write_text(content)
    assert "broken.yaml" in refuse("fit", "--config", "toy.yaml", "--config", "broken.yaml")[0]


def test_a_missing_argument_is_named(refuse: Refuse) -> None:
    assert "ToyTask" in (line := refuse("fit", "--model=ToyTask", "--data=ToyData")[0])
    assert "required: net" in line
    assert "model" in refuse("fit")[0]
    assert "fit" in refuse("fti", "--config", "toy.yaml")[0]
    assert "predict" in refuse()[0]


def test_a_stored_configuration_that_no_longer_fits_says_where_it_is_from(trained: Path, refuse: Refuse) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "config": checkpoint["config"].replace("width", "breadth")}, path)
    line = refuse("test", "--ckpt_path", path)[0]
    assert str(path) in line
    assert "breadth" in line


def test_a_value_that_a_constructor_refuses(refuse: Refuse) -> None:
    lines = refuse("fit", "--config", "toy.yaml", "--model.net.layer.bases=0")
    assert lines == ["error: model.init_args.net.init_args.layer (Layer): bases must be positive, got 0"]
    lines = refuse("fit", "--config", "toy.yaml", "--trainer.accelerator=cuda", "--trainer.devices=1000")
    assert "cuda" in lines[0].lower() or "gpu" in lines[0].lower()
    assert not list(Path("runs/toy").iterdir())


def test_an_error_in_the_program_keeps_its_traceback() -> None:
    with pytest.raises(AttributeError, match="missing") as error:
        run("fit", "--config", "toy.yaml", "--model.net=Buggy")
    assert any(entry.path.name == "toy.py" for entry in error.traceback)


def test_data_that_the_user_must_fix(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("fit", "--config", "toy.yaml", "--data.folder=nowhere")
    assert refuse(*args, code=1) == ["error: folder: no such folder nowhere"]
    monkeypatch.setenv("ACDA_DEBUG", "1")
    with pytest.raises(RuntimeError, match="no such folder"):
        run(*args)


def test_debugging_shows_where_a_value_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACDA_DEBUG", "1")
    with pytest.raises(Exception, match="bases must be positive") as error:
        run("fit", "--config", "toy.yaml", "--model.net.layer.bases=0")
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_help_is_readable(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    assert not ended.value.code
    text = capsys.readouterr().out
    assert text.startswith("usage: ")
    assert text.index("--config") < 200
    assert "--trainer.max_epochs" in text
