"""On an accelerator no step waits to know whether its loss is finite, and training ends no less surely."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from datamodules.batches import LabelledBatch
from lit_modules import ClassificationTask
from lit_modules.errors import TrainingError
from lit_modules.tasks import base

ON_GPU = torch.cuda.is_available()


@pytest.fixture(autouse=True)
def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "is_asked_late", lambda device: True)


class Asked(TorchDispatchMode):
    """Counts numbers that are asked of tensors, for which a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class Waits(Callback):
    """Notes how often each training step waits."""

    def __init__(self) -> None:
        self.of_steps: list[int] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        with Asked() as self.asked, warnings.catch_warnings(record=True) as self.warned:
            warnings.simplefilter("always")
            if ON_GPU:
                torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                if ON_GPU:
                    torch.cuda.set_sync_debug_mode("default")

    def _count(self) -> int:
        if not ON_GPU:
            return self.asked.times
        return sum("synchroniz" in str(warning.message) for warning in self.warned)

    def on_train_batch_start(self, *_: Any) -> None:
        self._before = self._count()

    def on_train_batch_end(self, *_: Any) -> None:
        self.of_steps.append(self._count() - self._before)


def batch(step: int, image: torch.Tensor | None = None) -> LabelledBatch:
    return LabelledBatch(
        torch.rand(4, 1, 2, 2) if image is None else image, torch.arange(4) % 3, [f"{step}_{i}" for i in range(4)]
    )


def fit(batches: list[LabelledBatch], folder: Path, *callbacks: Callback, lr: float = 0.1, **options: Any) -> None:
    """Train a linear network on the batches."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    task = ClassificationTask(network, 3, optimizer=lambda p: torch.optim.SGD(p, lr))
    task.default_callbacks = lambda: []  # type: ignore[method-assign]
    trainer = Trainer(
        accelerator="auto" if ON_GPU else "cpu", logger=False, callbacks=list(callbacks), default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=bool(callbacks),
        **{"max_epochs": 1, **options},
    )  # fmt: skip
    trainer.fit(task, DataLoader(batches, batch_size=None))


def test_no_step_waits_but_the_last_of_an_epoch(tmp_path: Path) -> None:
    waits = Waits()
    with waits.counting():
        fit([batch(step) for step in range(5)], tmp_path, waits)
    assert waits.of_steps[1:4] == [0] * 3
    assert len(waits.of_steps) == 5


def test_steps_that_wait_are_noticed(tmp_path: Path) -> None:
    class Asks(Callback):
        def on_train_batch_end(self, trainer: Trainer, task: Any, *_: Any) -> None:
            float(next(task.parameters()).sum())

    waits = Waits()
    with waits.counting():
        fit([batch(step) for step in range(3)], tmp_path, Asks(), waits)
    assert waits.of_steps[1] == 1


def test_a_loss_is_told_of_one_step_late(tmp_path: Path) -> None:
    """By its own step and samples, and before the next step trains on it."""
    bad = batch(1, torch.full((4, 1, 2, 2), torch.nan))
    seen: list[int] = []

    class Seen(Callback):
        def on_train_batch_start(self, trainer: Trainer, task: Any, data: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

    with pytest.raises(TrainingError) as error:
        fit([batch(0), bad, *(batch(step) for step in (2, 3, 4))], tmp_path, Seen())
    assert seen == [0, 1, 2]
    lines = str(error.value).splitlines()
    assert lines[0] == "the loss is nan at step 1 (epoch 0, batch 1), samples: 1_0, 1_1, 1_2, 1_3"
    assert lines[1] == "data: image is not finite in 1_0, 1_1, 1_2, 1_3"


def test_the_place_is_not_looked_for_in_weights_that_were_updated(tmp_path: Path) -> None:
    large = [batch(step, torch.full((4, 1, 2, 2), 1e30)) for step in range(6)]
    with pytest.raises(TrainingError, match="first place: not looked for, since weights were updated"):
        fit(large, tmp_path, lr=1e30)


@pytest.mark.parametrize("where", [1, 4])
def test_no_checkpoint_is_of_a_bad_step(where: int, tmp_path: Path) -> None:
    """Neither one in an epoch, nor that of its end."""
    batches = [batch(step) for step in range(5)]
    batches[where] = batch(where, torch.full((4, 1, 2, 2), torch.nan))
    keeps = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    with pytest.raises(TrainingError, match=rf"the loss is nan at step {where} \(epoch 0, batch {where}\)"):
        fit(batches, tmp_path, keeps)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert [file.stem for file in files] == [f"step={step}" for step in range(1, where + 1)]
    for file in files:
        weights = torch.load(file, weights_only=True)["state_dict"].values()
        assert all(weight.isfinite().all() for weight in weights)


def test_the_last_step_is_asked_of_where_training_stops_within_an_epoch(tmp_path: Path) -> None:
    batches = [batch(0), batch(1, torch.full((4, 1, 2, 2), torch.nan)), batch(2)]
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 \(epoch 0, batch 1\)"):
        fit(batches, tmp_path, max_epochs=-1, max_steps=2)
