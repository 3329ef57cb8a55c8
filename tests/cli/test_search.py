"""A value that is searched before a training is as if the user had written it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.cli.conftest import Refuse, run
from tests.cli.programs import CONFIGS

RATE = "model.init_args.optimizer.init_args.lr"
BATCH = "data.init_args.batch_size"
DIGITS = ("--config", CONFIGS / "digits" / "lenet.yaml", "--trainer.accelerator=cpu", "--trainer.limit_train_batches=2")


def fit(root: str, *args: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train; give the kept configuration and the last checkpoint, without where they are."""
    run("fit", *args, f"--trainer.default_root_dir={root}")
    config = yaml.safe_load(max(Path(root).glob("version_0/config_fit*.yaml"), key=lambda path: path.name).read_text())
    checkpoint = torch.load(Path(root, "version_0/checkpoints/last.ckpt"), weights_only=True)
    assert yaml.safe_load(checkpoint["config"]) == config
    del config["trainer"]["default_root_dir"], checkpoint["config"], checkpoint["callbacks"]
    return config, checkpoint


def value(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def assert_same(one: object, other: object) -> None:
    """Equal to the bit, weights, states and settings."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)  # type: ignore[arg-type]
    elif isinstance(one, dict | list | tuple):
        assert len(one) == len(other)  # type: ignore[arg-type]
        for key in one if isinstance(one, dict) else range(len(one)):
            assert_same(one[key], other[key])  # type: ignore[index]
    else:
        assert one == other


@pytest.mark.parametrize(("finder", "arguments", "keys"), [
    (("LearningRateFinder",), ("--trainer.callbacks.max_lr=0.5",), (RATE,)),
    (("BatchSizeFinder",), ("--trainer.callbacks.max_val=4",), (BATCH,)),
    (("BatchSizeFinder", "LearningRateFinder"), ("--trainer.callbacks.max_lr=0.25",), (BATCH, RATE)),
])  # fmt: skip
def test_the_training_is_that_with_the_values_found(
    finder: tuple[str, ...], arguments: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    toy = ("--config", "toy.yaml", "--trainer.max_epochs=2")
    search = (*toy, *(f"--trainer.callbacks+={name}" for name in finder), *arguments)
    config, searched = fit("searched", *search)
    found = {key: value(config, key) for key in keys}
    assert found.get(BATCH, 4 if arguments[0].endswith("=4") else 8) == (4 if arguments[0].endswith("=4") else 8)
    assert found.get(RATE, 0.1) != 0.01  # that of the file
    assert config["trainer"]["callbacks"] is None
    again, written = fit("written", *toy, *(f"--{key}={x}" for key, x in found.items()))
    assert again == config
    assert_same(searched, written)
    assert not list(Path("searched").glob(".*"))
    assert [path.name for path in Path("searched/version_0").glob("config*")] == ["config_fit.yaml"]
    # it goes on with what was found, and searches nothing
    longer = [x.replace("epochs=2", "epochs=3") for x in map(str, search)]
    _, resumed = fit("searched", *longer, "--ckpt_path=last")
    _, straight = fit("straight", *longer[:2], "--trainer.max_epochs=3", *(f"--{key}={x}" for key, x in found.items()))
    assert_same(resumed["state_dict"], straight["state_dict"])


def test_a_search_ends_where_the_loss_is_not_finite_and_begins_with_other_weights() -> None:
    ema = ("--config", CONFIGS / "trainer" / "ema.yaml", "--trainer.max_epochs=1")
    lrs = ("--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.max_lr=1e30")
    config, _ = fit("averaged", *DIGITS, *ema, *lrs)
    assert 1e-8 < value(config, RATE) < 1e3
    assert [callback["class_path"].rpartition(".")[2] for callback in config["trainer"]["callbacks"]] == [
        "EMAWeightAveraging"
    ]


@pytest.mark.parametrize(("arguments", "words"), [
    (("LearningRateFinder", "num_training_steps=4"), ("found no learning rate", "num_training_steps")),
    (("LearningRateFinder", "mode=cubic"), ("trainer.callbacks[0].init_args.mode=cubic (LearningRateFinder)",)),
    (("LearningRateFinder", "attr_name=rate"), ("none of model.init_args.rate",)),
    (("BatchSizeFinder", "margin=1.5"), ("trainer.callbacks[0].init_args.margin=1.5 (BatchSizeFinder)",)),
    (("BatchSizeFinder", "batch_arg_name=size"), ("none of data.init_args.size",)),
])  # fmt: skip
def test_a_search_that_finds_nothing(refuse: Refuse, arguments: tuple[str, str], words: tuple[str, ...]) -> None:
    finder, argument = arguments
    lines = refuse("fit", "--config", "toy.yaml", f"--trainer.callbacks+={finder}", f"--trainer.callbacks.{argument}")
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    assert not list(Path("runs/toy").glob("version_*"))


def test_what_is_not_to_be_taken_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    told = ("--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.update_attr=false")
    config, _ = fit("told", "--config", "toy.yaml", "--trainer.max_epochs=1", *told)
    assert value(config, RATE) == 0.01
    assert "which is not taken" in capfd.readouterr().err
    run("fit", "--config", "toy.yaml", "--trainer.fast_dev_run=true", told[0])
    assert "does not search" in capfd.readouterr().err


def test_only_training_searches(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("test", "--config", "toy.yaml", "--ckpt_path=best", "--trainer.callbacks+=BatchSizeFinder")
    assert "atch size" not in capfd.readouterr().err
