"""Several processes, however they are started, and jobs of a cluster."""

import csv
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import run
from tests.cli.programs import CONFIGS, in_two_processes, program, torchrun


def comment(preset: str) -> str:
    """Read what a preset's file says."""
    lines = (CONFIGS / "trainer" / f"{preset}.yaml").read_text().splitlines()
    return "\n".join(line.removeprefix("#") for line in lines if line.startswith("#"))


@pytest.mark.slow
def test_torchrun_makes_one_run() -> None:
    ended = torchrun("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--trainer.devices=2")
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]
    folder = Path("runs/toy/version_0")
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"epoch000.ckpt", "last.ckpt"}
    assert len(list(folder.glob("events.out.tfevents*"))) == 1


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_twice_as_large() -> None:
    """Both end with the same weights; and one process ends with those, but for rounding."""
    arguments: list[object] = ["fit", "--config", CONFIGS / "digits/lenet.yaml", "--trainer.accelerator=cpu"]
    arguments += ["--data=tests.cli.ranks.OrderedDigits", "--trainer.callbacks+=tests.cli.ranks.SaveWeights"]
    arguments += ["--model.optimizer=SGD", "--model.optimizer.lr=0.1", "--model.optimizer.momentum=0.9"]
    arguments += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=8"]
    in_two_processes([*arguments, "--data.batch_size=16"])
    shared, other = (torch.load(f"rank{rank}.pt") for rank in range(2))
    run(*arguments, "--data.batch_size=32")
    alone = torch.load("rank0.pt")
    run(*arguments, "--data.batch_size=32", "--trainer.limit_train_batches=7")
    shorter = torch.load("rank0.pt")
    assert shared.keys() == alone.keys()
    for name, weight in alone.items():
        assert torch.equal(shared[name], other[name]), name
        moved = (weight - shorter[name]).abs().max()
        assert (shared[name] - weight).abs().max() < 1e-3 * moved, name


@pytest.mark.slow
def test_the_ddp_preset_runs_on_the_cpu_as_it_says() -> None:
    options = re.findall(r"--trainer\.\S+", comment("ddp"))
    assert "--trainer.devices=2" in options
    files = ("--config", CONFIGS / "digits/lenet_acda.yaml", "--config", CONFIGS / "trainer/ddp.yaml")
    ended = program("fit", *files, *options, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2")
    assert ended.returncode == 0, ended.stderr
    assert "Starting with 2 processes" in ended.stderr


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the environment of the one task of a SLURM job, and a ``scontrol`` that notes what it is asked to do."""
    names = {"SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "acda", "SLURM_JOB_NODELIST": "localhost"}
    numbers = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "NNODES": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    for name, value in (names | {f"SLURM_{name}": str(value) for name, value in numbers.items()}).items():
        monkeypatch.setenv(name, value)
    noted = tmp_path / "scontrol.log"
    command = tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(noted))}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    return noted


ON_ONE_CPU = ("--config", CONFIGS / "trainer/slurm.yaml", "--trainer.accelerator=cpu", "--trainer.devices=1")
ON_ONE_CPU += ("--trainer.num_nodes=1", "--trainer.sync_batchnorm=false", "--trainer.precision=32-true")


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_requeued_and_goes_on(job: Path) -> None:
    """In the same folder, with the steps that were left."""
    arguments = ("fit", "--config", "toy.yaml", *ON_ONE_CPU, "--trainer.max_epochs=2")
    arguments += ("--trainer.callbacks+=tests.cli.ranks.EndOfTime",)
    first = program(*arguments)
    assert job.exists(), first.stderr
    assert job.read_text() == "requeue 1234\n"
    second = program(*arguments, SLURM_RESTART_COUNT="1")
    assert second.returncode == 0, second.stderr
    assert [path.name for path in Path("runs/toy").iterdir()] == ["job_1234"]
    with Path("runs/toy/job_1234/metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == list(range(8))


def test_the_job_script_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Bash takes it, its options belong together, and its command is one of ours."""
    script = re.search(r"^ +#!/bin/bash\n(?: .*\n)+", comment("slurm"), re.MULTILINE)[0]
    lines = [line.strip() for line in script.splitlines()]
    subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, check=True)
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert {"--signal=SIGUSR1@90", "--requeue", "--open-mode=append"} < options
    monkeypatch.setenv("SLURM_NNODES", "3")
    monkeypatch.chdir(CONFIGS.parent)
    command = os.path.expandvars(script[script.index("srun") :].replace("\\\n", ""))
    srun, python, program, *arguments = shlex.split(command)
    assert (srun, python, program) == ("srun", "python", "cli.py")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*arguments, "--print_config")
    assert not ended.value.code
    assert "num_nodes: 3" in capsys.readouterr().out
