"""What README shows works as it stands there."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml

import cli
from tests.support.image_files import write_images

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EVERYWHERE = ("--trainer.accelerator=cpu", "--trainer.precision=32-true")
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")


def block(language: str, containing: str) -> str:
    """The block of code in which a text stands."""
    (found,) = (code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in code)
    return str(found)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")


def test_the_layer_in_your_own_network(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), "resnet34.pth")
    names: dict[str, torch.Tensor] = {}
    exec(block("python", "acda.convert_conv2d"), names)
    assert names["y"].shape == (1, 128, 14, 14)
    assert len(names["maps"]) > 0
    torch.testing.assert_close(names["restored"], names["restorer"](names["photograph"]), atol=1e-5, rtol=1e-4)
    assert "layer4" in capsys.readouterr().out


def test_the_command_lines() -> None:
    lines = [shlex.split(line, comments=True) for line in block("sh", "cli.py export").splitlines()]
    commands = [words[2:] for words in lines if words[:2] == ["python", "cli.py"]]
    assert [command[0] for command in commands].count("fit") >= 2
    write_images(Path("my_images"), seed=0)
    for command in commands:
        more = () if command[0] == "export" else EVERYWHERE + (SHORT if command[0] == "fit" else ())
        cli.main([*command, *more])
    run = Path("runs/digits/lenet_acda/version_0")
    assert (run / "predict" / "predictions.csv").is_file()
    assert (run / "export" / "model.onnx").is_file()


def test_adding_your_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_lab.py").write_text(block("python", "class TinyBackbone"))
    config = yaml.safe_load(block("yaml", "my_lab.TinyNetwork"))
    monkeypatch.syspath_prepend(".")
    importlib.import_module("my_lab")
    random = np.random.default_rng(0)
    Path("my_data").mkdir()
    for split in ("train", "val", "test"):
        images = random.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        np.savez(f"my_data/{split}.npz", images=images, labels=np.arange(12) % 3)
    Path("my_lab.yaml").write_text(yaml.safe_dump(config))
    cli.main(["fit", "--config", "my_lab.yaml", *EVERYWHERE, *SHORT])
    cli.main(["test", "--config", "my_lab.yaml", "--ckpt_path=best", *EVERYWHERE])
    assert "test/top1_error" in Path("runs/my_lab/version_0/test/metrics.csv").read_text()
    counter = sys.modules["acda"].models.CrowdCounter(sys.modules["my_lab"].TinyBackbone(), widths=(8,))
    assert counter(torch.rand(1, 3, 30, 40)).shape == (1, 1, 8, 10)
    del sys.modules["my_lab"]


def test_every_experiment_and_file_that_is_named_exists() -> None:
    for named in re.findall(r"\]\(((?:docs|benchmarks|configs)/[^)#]*)\)", README):
        assert (ROOT / named).exists(), named
    for experiment in re.findall(r"configs/[\w/]+\.yaml", README):
        assert (ROOT / experiment).is_file(), experiment
