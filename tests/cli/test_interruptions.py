"""What stops a training from outside: it goes on as if nothing had happened, and nothing is lost."""

import csv
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cli.accidents import accident
from tests.cli.conftest import Refuse, contents, run
from tests.cli.programs import CONFIGS, in_two_processes, program, started

BOTH = ("--trainer.devices=2", "--trainer.strategy=ddp")
EMA = ("--config", CONFIGS / "trainer" / "ema.yaml")
EACH_STEP = "--checkpoint.last_every_minutes=0"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in the processes that are started here: sums of another number of threads differ in their last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def last(root: str) -> dict:
    return load(Path(root, "version_0/checkpoints/last.ckpt"))


def rows(root: str, column: str) -> list[list[str]]:
    with Path(root, "version_0/metrics.csv").open() as file:
        return [[row["step"], row[column]] for row in csv.DictReader(file) if row[column]]


def differences(one: object, other: object, path: str = "") -> list[str]:
    """Where two checkpoints differ: in weights, optimizer, schedule, averages, progress, random numbers …"""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{path}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [x for i, pair in enumerate(zip(one, other, strict=True)) for x in differences(*pair, f"{path}/{i}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    return [] if one == other else [path]


def unlike(one: dict, other: dict) -> list[str]:
    """Differences but for what tells where and how the runs were started, and Lightning's counters of the past."""
    for checkpoint in (one, other):
        for key in ("config", "hyper_parameters", "datamodule_hyper_parameters"):
            checkpoint.pop(key, None)
    found = differences(one, other)
    return [path for path in found if not path.startswith(("/loops/", "/callbacks/RunCheckpoint"))]


SMALL = {"batch_size": 2, "num_workers": 0}
EXPERIMENTS: dict[str, tuple[str, dict[str, object], tuple[object, ...]]] = {
    "toy": ("toy/acda", {"steps_per_epoch": 4}, EMA),
    "digits": ("digits/lenet_acda", {"num_workers": 2}, ()),
    "crowd": (
        "crowd/synthetic_acda",
        SMALL
        | {"data_dir": "data", "num_train": 10, "num_test": 2, "height": 64, "width": 96, "max_heads": 20}
        | {"crop_size": 64, "val_fraction": 0.2},
        (),
    ),
    "photographs": ("sample_photos/denoising_acda", SMALL | {"patch_size": 24, "patches_per_image": 2}, EMA),
    "clip bounds": ("sample_photos/denoising_variational", SMALL | {"patch_size": 24, "patches_per_image": 2}, ()),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_killed_in_the_middle_of_an_epoch_and_resumed_is_uninterrupted_bit_for_bit(name: str) -> None:
    config, sizes, more = EXPERIMENTS[name]
    command: list[object] = ["fit", "--config", CONFIGS / f"{config}.yaml", *more, "--trainer.accelerator=cpu"]
    command += [f"--data.init_args.{key}={value}" for key, value in sizes.items()]
    command += ["--trainer.max_epochs=3", "--trainer.limit_train_batches=4", "--trainer.limit_val_batches=1"]
    command += ["--trainer.check_val_every_n_epoch=1", "--trainer.log_every_n_steps=1", EACH_STEP]
    run(*command, "--trainer.default_root_dir=whole")
    kill = accident("SendSignal", name="SIGKILL", batch=6)
    assert program(*command, "--trainer.default_root_dir=broken", kill).returncode == -signal.SIGKILL
    assert last("broken")["global_step"] == 6
    run(*command, "--trainer.default_root_dir=broken", "--ckpt_path=last")
    assert last("whole")["global_step"] == 12
    assert unlike(last("whole"), last("broken")) == []
    assert rows("broken", "train/loss") == rows("whole", "train/loss")
    best = [next(Path(root, "version_0/checkpoints").glob("epoch*.ckpt")) for root in ("whole", "broken")]
    assert best[0].name == best[1].name
    assert unlike(*map(load, best)) == []


@pytest.mark.parametrize("validates", [True, False])
def test_a_training_of_so_many_steps_goes_on_from_the_end_of_an_epoch(validates: bool) -> None:
    command: list[object] = ["fit", "--config", CONFIGS / "digits" / "lenet_acda.yaml", "--trainer.accelerator=cpu"]
    command += ["--trainer.limit_train_batches=4", f"--trainer.limit_val_batches={int(validates)}"]
    command += ["--trainer.max_steps=11", "--trainer.max_epochs=-1", "--checkpoint.monitor=null"]
    run(*command, "--trainer.default_root_dir=whole")
    stop = "--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 2}}"
    with pytest.raises(RuntimeError, match="power cut"):
        run(*command, "--trainer.default_root_dir=broken", stop)
    assert last("broken")["global_step"] == 8
    run(*command, "--trainer.default_root_dir=broken", "--ckpt_path=last")
    assert last("whole")["global_step"] == 11
    assert unlike(last("whole"), last("broken")) == []


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_training_with_a_checkpoint_that_tells_how_to_go_on(name: str, code: int) -> None:
    command = ("fit", "--config", "toy.yaml", "--data.workers=1")
    ended = program(*command, accident("SendSignal", name=name, batch=5))
    assert ended.returncode == code
    told = ended.stderr.strip().splitlines()[-1]
    assert told.startswith(f"{name}: stopped after step 6; go on with: python cli.py fit --ckpt_path ")
    assert load(Path(told.split()[-1]))["global_step"] == 6
    run(*command, "--ckpt_path", told.split()[-1])
    assert last("runs/toy")["global_step"] == 12
    assert [int(step) for step, _ in rows("runs/toy", "train/loss")] == list(range(12))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_all_processes_of_a_run_ends_it_no_differently(name: str) -> None:
    command = ("fit", "--config", CONFIGS / "digits" / "lenet_acda.yaml", "--trainer.accelerator=cpu")
    command += ("--data.init_args.num_workers=2", "--trainer.default_root_dir=runs")
    ended = program(*command, accident("SendSignal", name=name, batch=3, workers=True))
    assert f"{name}: stopped after step 4; go on with" in ended.stderr
    assert ended.stderr.count(f"{name}: stopping") == 1
    assert last("runs")["global_step"] == 4


def test_a_second_ctrl_c_ends_at_once() -> None:
    twice = [accident("SendSignal", name="SIGINT", batch=5) for _ in range(2)]
    ended = program("fit", "--config", "toy.yaml", *twice)
    assert ended.returncode == 1
    assert last("runs/toy")["global_step"] == 4


def test_a_training_that_keeps_no_checkpoints_ends_too() -> None:
    term = accident("SendSignal", name="SIGTERM", batch=5)
    ended = program("fit", "--config", "toy.yaml", "--trainer.enable_checkpointing=false", term)
    assert ended.returncode == 143
    assert "step 6 without a checkpoint" in ended.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_stopped_while_it_validates_it_goes_on_with_the_whole_validation(name: str) -> None:
    run("fit", "--config", "toy.yaml", "--trainer.default_root_dir=whole")
    stop = accident("SendSignal", name=name, batch=6, validating=True)
    assert program("fit", "--config", "toy.yaml", stop).returncode != 0
    assert last("runs/toy")["global_step"] == 8
    run("fit", "--config", "toy.yaml", "--ckpt_path=last")
    assert unlike(last("whole"), last("runs/toy")) == []
    assert rows("runs/toy", "val/score") == rows("whole", "val/score")
    checkpoints = [
        {path.name for path in Path(root, "version_0/checkpoints").iterdir()} for root in ("whole", "runs/toy")
    ]
    assert checkpoints[0] == checkpoints[1] == {"epoch001.ckpt", "last.ckpt"}


def test_gradients_that_accumulate_are_applied_before_a_signal_ends_training() -> None:
    command = ("fit", "--config", "toy.yaml", "--trainer.accumulate_grad_batches=4")
    run(*command, "--trainer.default_root_dir=whole")
    ended = program(*command, accident("SendSignal", name="SIGTERM", batch=5))
    assert "after step 2;" in ended.stderr
    run(*command, "--ckpt_path=last")
    assert unlike(last("whole"), last("runs/toy")) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_stop_after_the_same_step_whichever_was_told(rank: int) -> None:
    term = accident("SendSignal", name="SIGTERM", batch=2, rank=rank)
    ended = program("fit", "--config", "toy.yaml", *BOTH, term)
    assert ended.returncode == 143
    assert "stopped after step 3;" in ended.stderr
    in_two_processes(("fit", "--config", "toy.yaml", "--trainer.strategy=ddp", "--ckpt_path=last"))
    assert last("runs/toy")["global_step"] == 6


def test_an_evaluation_ends_on_a_signal(trained: Path) -> None:
    slow = program("predict", "--ckpt_path", trained, accident("SendSignal", name="SIGTERM", batch=1))
    assert slow.returncode == 143
    assert "SIGTERM: stopped" in slow.stderr


# Saving


@pytest.mark.parametrize("kill", [False, True], ids=["full disk", "killed"])
def test_what_stops_the_writing_of_a_checkpoint_leaves_the_one_before(kill: bool) -> None:
    """A limit on the size of files ends the writing of a checkpoint in its middle."""
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", "--trainer.default_root_dir=first")
    ended = program("fit", "--config", "toy.yaml", accident("LimitFiles", size=10_000, batch=5, kill=kill))
    assert ended.returncode == (-signal.SIGXFSZ if kill else 1)
    folder = Path("runs/toy/version_0/checkpoints")
    if not kill:
        lines = ended.stderr[ended.stderr.index("error: ") :].strip().splitlines()
        assert len(lines) <= 3
        assert f"{folder}/last.ckpt cannot be written: File too large" in lines[0]
    assert {path.name for path in folder.glob("*.ckpt")} == {"epoch000.ckpt", "last.ckpt"}
    assert bool(list(folder.glob("*.part"))) == kill  # which nobody could clear away
    assert unlike(last("first"), last("runs/toy")) == []
    run("fit", "--config", "toy.yaml", "--ckpt_path=last")
    assert last("runs/toy")["global_step"] == 12
    assert not list(folder.glob("*.part"))


# One folder, one training


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_second_training_is_kept_out_of_a_folder_in_use(refuse: Refuse) -> None:
    pause = accident("SendSignal", name="SIGSTOP", batch=5)
    first = started("fit", "--config", "toy.yaml", pause)
    try:
        while not is_stopped(first.pid):
            time.sleep(0.01)
        before = contents(Path("runs"))
        assert "in use by another training" in refuse("fit", "--config", "toy.yaml", "--ckpt_path=last")[0]
        assert contents(Path("runs")) == before
    finally:
        os.kill(first.pid, signal.SIGCONT)
        ended = first.wait(120)
    assert ended.returncode == 0
    run("fit", "--config", "toy.yaml", "--ckpt_path=last", "--trainer.max_epochs=4")
    assert last("runs/toy")["global_step"] == 16


def test_two_trainings_started_together_have_folders_of_their_own() -> None:
    both = [started("fit", "--config", "toy.yaml", f"--seed_everything={seed}") for seed in (1, 2)]
    for process in both:
        assert process.wait(120).returncode == 0
    assert {path.name for path in Path("runs/toy").iterdir()} == {"version_0", "version_1"}
    assert all(load(path)["global_step"] == 12 for path in Path("runs/toy").glob("*/checkpoints/last.ckpt"))
