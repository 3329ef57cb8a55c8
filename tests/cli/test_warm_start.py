"""``WarmStart`` from the command line: loads when a training begins, and only then."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import run

CONFIG = Path(__file__).parents[2] / "configs" / "digits" / "lenet.yaml"
EMA = CONFIG.parents[1] / "trainer" / "ema.yaml"
QUICK = ["--config", CONFIG, "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    return {k: v for k, v in checkpoint["state_dict"].items() if k.startswith("network.")}


def test_it_loads_when_a_training_begins_and_only_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("fit", *QUICK, f"--trainer.default_root_dir={first}")
    weights = tmp_path / "weights.ckpt"
    shutil.copy(first / "version_0" / "checkpoints" / "last.ckpt", weights)
    trained = weights_of(first)
    # After averaging, by the order of arguments: it must come before nevertheless. Without steps nothing else changes.
    start = [*QUICK, "--config", EMA, f"--trainer.default_root_dir={second}", "--trainer.callbacks+=WarmStart"]
    start += [f"--trainer.callbacks.weights={weights}"]
    frozen = "--model.init_args.optimizer={class_path: torch.optim.SGD, init_args: {lr: 0.0}}"
    run("fit", *start, frozen)
    assert f"{weights}: loaded {len(trained)} of the network's {len(trained)} tensors" in caplog.text
    for key, value in weights_of(second).items():
        torch.testing.assert_close(value, trained[key])
    weights.unlink()
    caplog.clear()
    run("fit", *start, frozen, "--trainer.max_epochs=2", "--ckpt_path=last")
    run("test", "--ckpt_path", second / "version_0")
    assert "tensors" not in caplog.text
    with pytest.raises(SystemExit) as stopped:
        run("fit", *start)
    assert stopped.value.code == 2


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("fit", *QUICK, f"--trainer.default_root_dir={tmp_path}", "--trainer.callbacks+=WarmStart",
            "--trainer.callbacks.weights=none.ckpt")  # fmt: skip
    assert capsys.readouterr().err.strip().endswith("error: weights 'none.ckpt': no such file")
