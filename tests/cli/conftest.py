import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import cli

EXPERIMENT = """
trainer:
  accelerator: cpu
  max_epochs: 3
  enable_model_summary: false
  default_root_dir: runs/toy
  log_every_n_steps: 1
checkpoint: {monitor: val/score, mode: max}
model:
  class_path: tests.cli.toy.ToyTask
  init_args:
    net:
      class_path: tests.cli.toy.Net
      init_args:
        width: 3
        layer: {class_path: tests.cli.toy.Layer, init_args: {bases: 2}}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01, momentum: 0.9}}
    lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 1, gamma: 0.5}}
data:
  class_path: tests.cli.toy.ToyData
  init_args: {batch_size: 2}
"""

Refuse = Callable[..., list[str]]


def run(*args: object) -> None:
    cli.main([str(arg) for arg in args])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a folder of its own to run in, and neither SLURM nor a debug setting around it."""
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NAME", "ACDA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(EXPERIMENT)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an experiment's folder with one finished run in it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLURM_JOB_ID", raising=False)
        patch.chdir(folder)
        Path("toy.yaml").write_text(EXPERIMENT)
        run("fit", "--config", "toy.yaml")
    return folder / "runs" / "toy"


@pytest.fixture
def trained(finished_run: Path) -> Path:
    """Give a run folder, ``runs/toy/version_0``, trained for three epochs; the second is the best."""
    shutil.copytree(finished_run, "runs/toy")
    return Path("runs/toy/version_0")


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that must fail as users are told things: short, exit code 2. Give the lines."""

    def call(*args: object, code: int = 2) -> list[str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(*args)
        text = capfd.readouterr().err
        assert ended.value.code == code
        text = text[text.index("error: ") :]
        lines = text.strip().splitlines()
        assert len(lines) <= 6
        assert "Traceback" not in text
        return lines

    return call
