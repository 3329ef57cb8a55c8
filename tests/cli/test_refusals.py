"""A setting that Lightning, PyTorch or a network refuses is told in one line, with its key."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lit_modules.cli.refusals import explain_refusal
from tests.cli.conftest import Refuse, run
from tests.cli.programs import CONFIGS
from tests.cli.toy import ToyData

TRAINER = [
    ("--trainer.accumulate_grad_batches=-2", "trainer.accumulate_grad_batches must be at least 1, got -2"),
    ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch must be at least 1, got 0"),
    ("--trainer.gradient_clip_val=-0.5", "trainer.gradient_clip_val must be at least 0, got -0.5"),
    ("--trainer.min_steps=-3", "trainer.min_steps must be at least 0, got -3"),
    ("--trainer.num_sanity_val_steps=-5", "trainer.num_sanity_val_steps must be at least -1, got -5"),
    ("--trainer.log_every_n_steps=-10", "trainer.log_every_n_steps must be at least 0, got -10"),
    ("--trainer.val_check_interval=0.0", "trainer.val_check_interval must be above 0, got 0.0"),
    ("--trainer.val_check_interval=9", "trainer.val_check_interval=9: "),
    ("--trainer.val_check_interval=soon", "trainer.val_check_interval=soon: "),
    ("--trainer.devices=-4", "trainer.devices=-4: "),
    ("--trainer.num_nodes=-1", "trainer.num_nodes=-1: "),
    ("--trainer.accelerator=abacus", "trainer.accelerator=abacus: "),
    ("--trainer.accelerator=mps", "trainer.accelerator=mps: "),
    ("--trainer.precision=transformer-engine-float16", "trainer.precision=transformer-engine-float16: "),
    ("--trainer.strategy=dpp", "trainer.strategy=dpp: "),
    ("--trainer.strategy=deepspeed_stage_2", "trainer.strategy=deepspeed_stage_2: "),
    ("--trainer.max_epochs=-2", "trainer.max_epochs=-2: "),
    ("--trainer.max_steps=-7", "trainer.max_steps=-7: "),
    ("--trainer.max_time=tomorrow", "trainer.max_time=tomorrow: "),
    ("--trainer.limit_val_batches=3.5", "trainer.limit_val_batches=3.5: "),
    ("--trainer.overfit_batches=-0.5", "trainer.overfit_batches=-0.5: "),
    ("--trainer.profiler=quick", "trainer.profiler=quick: "),
    ("--trainer.profiler=XLAProfiler", "trainer.profiler (XLAProfiler): Requirement 'torch_xla"),
    ("--trainer.logger=MLFlowLogger", "trainer.logger (MLFlowLogger): Requirement 'mlflow"),
    ("--trainer.default_root_dir=/proc/none", "trainer.default_root_dir: '/proc/none/version_0' cannot be made"),
    ("--checkpoint.save_top_k=-2", "checkpoint.save_top_k=-2: "),
    ("--checkpoint.monitor=val/scores", "checkpoint.monitor=val/scores: "),
]
CALLBACKS = [
    ("EarlyStopping", ("monitor=val/scores",), ".init_args.monitor=val/scores (EarlyStopping): "),
    ("EarlyStopping", ("monitor=val/score", "mode=up"), ".init_args.mode=up (EarlyStopping): "),
    ("ModelCheckpoint", ("monitor=none/such",), ".init_args.monitor=none/such (ModelCheckpoint): "),
    ("Timer", ("duration=12:60",), ".init_args.duration=12:60 (Timer): "),
    ("StochasticWeightAveraging", ("swa_lrs=-0.25",), ".init_args.swa_lrs=-0.25 (StochasticWeightAveraging): "),
    ("LearningRateMonitor", ("logging_interval=step",), " (LearningRateMonitor): "),
    ("DeviceStatsMonitor", (), " (DeviceStatsMonitor): "),
    ("BackboneFinetuning", (), " (BackboneFinetuning): "),
]
OPTIMISATION = [
    (("optimizer.momentum=-0.75",), "optimizer.init_args.momentum=-0.75 (SGD): "),
    (("optimizer=Adam", "optimizer.eps=-0.125"), "optimizer.init_args.eps=-0.125 (Adam): "),
    (("optimizer=RMSprop", "optimizer.alpha=-2"), "optimizer.init_args.alpha=-2.0 (RMSprop): "),
    (("optimizer=AdamW", "optimizer.fused=true", "optimizer.foreach=true"), "optimizer.init_args.fused=True (AdamW): "),
    (("optimizer=SparseAdam",), "optimizer (SparseAdam): "),
    (("lr_scheduler=StepLR", "lr_scheduler.step_size=0"), "lr_scheduler.init_args.step_size=0 (StepLR): "),
    (("lr_scheduler=ConstantLR", "lr_scheduler.factor=3"), "lr_scheduler.init_args.factor=3.0 (ConstantLR): "),
    (
        ("lr_scheduler=CosineAnnealingWarmRestarts", "lr_scheduler.T_0=-2"),
        "lr_scheduler.init_args.T_0=-2 (CosineAnnealingWarmRestarts): ",
    ),
    (
        ("optimizer=Adagrad", "lr_scheduler=CyclicLR", "lr_scheduler.base_lr=0.1", "lr_scheduler.max_lr=0.2"),
        "lr_scheduler.init_args.cycle_momentum=True (CyclicLR): ",
    ),
    (("lr_scheduler=OneCycleLR", "lr_scheduler.max_lr=0.1", "lr_scheduler.total_steps=1"), "(OneCycleLR): "),
    (("lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau",), "lr_scheduler (ReduceLROnPlateau): "),
    (
        ("lr_scheduler=lightning.pytorch.cli.ReduceLROnPlateau", "lr_scheduler.monitor=val/scores"),
        "lr_scheduler.init_args.monitor=val/scores (ReduceLROnPlateau): ",
    ),
]
NETWORKS = [
    (
        "digits/lenet",
        ("in_channels=4",),
        "model.init_args.network (LeNet) cannot take an input of shape [32, 1, 8, 8]: "
        "set --model.init_args.network.init_args.in_channels=1; features.0 (Conv2d): ",
    ),
    ("digits/lenet", ("image_size=16",), "image_size=16"),
    ("digits/lenet", ("num_classes=-5",), "model.init_args.network.init_args.num_classes=-5 (LeNet): "),
    ("digits/lenet", ("conv=torch.nn.Conv3d",), "features.0 (Conv3d): "),
    ("digits/ad_resnet", ("in_channels=2",), "--model.init_args.network.init_args.in_channels=1; conv1 (Conv2d): "),
]


def refused(refuse: Refuse, config: object, *args: str) -> str:
    lines = refuse("fit", "--config", config, "--trainer.max_epochs=2", *args)
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(("argument", "text"), TRAINER, ids=[argument for argument, _ in TRAINER])
def test_a_setting_of_the_trainer(refuse: Refuse, argument: str, text: str) -> None:
    line = refused(refuse, "toy.yaml", argument)
    assert line.startswith("error: trainer" if argument.startswith("--trainer") else f"error: {text}")
    assert text in line


@pytest.mark.parametrize(("name", "arguments", "text"), CALLBACKS)
def test_a_setting_of_a_callback(refuse: Refuse, name: str, arguments: tuple[str, ...], text: str) -> None:
    given = (f"--trainer.callbacks.{argument}" for argument in arguments)
    other = (
        "--trainer.callbacks+={class_path: tests.cli.toy.Note, init_args: {text: first}}",
        "--trainer.logger=false",
    )
    line = refused(refuse, "toy.yaml", *other, f"--trainer.callbacks+={name}", *given)
    assert line.startswith(f"error: trainer.callbacks[1]{text}")


@pytest.mark.parametrize(("arguments", "text"), OPTIMISATION)
def test_a_setting_of_optimizer_or_schedule(refuse: Refuse, arguments: tuple[str, ...], text: str) -> None:
    line = refused(refuse, "toy.yaml", *(f"--model.init_args.{argument}" for argument in arguments))
    assert line.startswith("error: model.init_args.")
    assert text in line


@pytest.mark.parametrize(("config", "arguments", "text"), NETWORKS)
def test_a_network_that_does_not_fit_the_images(
    refuse: Refuse, config: str, arguments: tuple[str, ...], text: str
) -> None:
    given = (f"--model.init_args.network.init_args.{argument}" for argument in arguments)
    line = refused(refuse, CONFIGS / f"{config}.yaml", "--trainer.accelerator=cpu", *given)
    assert line.startswith("error: model.init_args.network")
    assert text in line


@pytest.mark.parametrize(("command", "argument"), [
    ("test", "--trainer.limit_test_batches=-3"),
    ("validate", "--trainer.devices=-3"),
    ("predict", "--trainer.precision=transformer-engine"),
])  # fmt: skip
def test_evaluations_tell_it_too(trained: Path, refuse: Refuse, command: str, argument: str) -> None:
    before = sorted(trained.iterdir())
    lines = refuse(command, "--ckpt_path", trained, argument)
    assert len(lines) == 1
    assert lines[0].startswith("error: trainer")
    assert sorted(trained.iterdir()) == before


def test_settings_that_work(refuse: Refuse) -> None:
    timer = ("--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:01:00:00")  # has an Enum as a default
    run("fit", "--config", "toy.yaml", "--trainer.max_epochs=1", *timer)
    assert "interval: step" in Path("runs/toy/version_0/config_fit.yaml").read_text()
    plateau = "--model.init_args.lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau"
    digits = ("fit", "--config", CONFIGS / "digits" / "lenet.yaml", "--trainer.accelerator=cpu", plateau)
    patience = ("--model.init_args.lr_scheduler.patience=0", "--model.init_args.lr_scheduler.threshold=0.9")
    run(*digits, *patience, "--trainer.max_epochs=3", "--trainer.limit_train_batches=2")
    checkpoint = torch.load("runs/digits/lenet/version_0/checkpoints/last.ckpt", weights_only=True)
    # no epoch is better by nine tenths than the first: the second lowers the rate, the third after its checkpoint
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.002 / 10)


class Faulty(nn.Linear):
    """Has a fault of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.missing(x)


def _broken(samples: list[int]) -> int:
    return sum(samples, "")  # type: ignore[call-overload, no-any-return]


class FaultyData(ToyData):
    """Has one in the processes that load it."""

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(2), num_workers=self.workers, collate_fn=_broken)  # type: ignore[arg-type]


@pytest.mark.parametrize(("arguments", "error"), [
    (("--model.net=tests.cli.test_refusals.Faulty", "--model.net.in_features=4", "--model.net.out_features=1"),
     AttributeError),
    (("--trainer.callbacks+={class_path: tests.cli.toy.StopAfter, init_args: {epochs: 0}}",), RuntimeError),
    (("--data.workers=1", "--data.class_path=tests.cli.test_refusals.FaultyData"), TypeError),
])  # fmt: skip
def test_a_fault_of_the_program_keeps_its_traceback_and_says_so(
    arguments: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        run("fit", "--config", "toy.yaml", *arguments)
    assert "fault of the program" in raised.value.__notes__[0]


def test_what_no_setting_led_to_is_left_alone() -> None:
    for error in (KeyError("a"), ValueError("no traceback"), RuntimeError("Original Traceback")):
        assert explain_refusal(error, {}, building=False) is None
    with pytest.raises(RuntimeError) as raised:
        threading.Thread().join()  # of the standard library, called by a test
    assert explain_refusal(raised.value, {"trainer": {}}, building=False) is None


def test_a_class_that_cannot_be_imported_any_more_is_no_obstacle() -> None:
    with pytest.raises(ValueError, match="learning rate") as raised:
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=-3.5)
    gone = {"class_path": "gone.Away", "init_args": {"lr": -3.5}}
    config = {"model": {"init_args": {"other": gone, "optimizer": {**gone, "class_path": "torch.optim.SGD"}}}}
    text = explain_refusal(raised.value, config, building=False)
    assert text is not None
    assert text.startswith("model.init_args.optimizer.init_args.lr=-3.5 (SGD): Invalid learning rate: -3.5")
