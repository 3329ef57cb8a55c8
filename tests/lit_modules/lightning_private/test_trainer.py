"""What is done to Lightning's trainer: its environment, the steps it logs at, its predictions, its finders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from lit_modules.lightning_private import OpenTrainer, cluster_environment, count_from, guard_prediction, only_search
from tests.lit_modules.lightning_private.conftest import STEPS, Tiny, relying_on, trainer


def test_the_environment_of_a_trainer_is_known(tmp_path: Path) -> None:
    environment = LightningEnvironment()
    with relying_on(cluster_environment):
        assert cluster_environment(trainer(tmp_path, plugins=[environment])) is environment


class Rows(CSVLogger):
    """Notes what is logged at which step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))


class NamesStep(Tiny):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("step", 5.0)


class Silent(Tiny):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        pass


def test_evaluations_are_logged_at_the_step_of_the_weights(tmp_path: Path) -> None:
    """Within a training, and where the trainer is told which step that is; a step that a task logs itself wins."""
    logger = Rows(tmp_path)
    with relying_on(OpenTrainer.log_evaluation):
        trainer(tmp_path, OpenTrainer, max_epochs=2, logger=logger).fit(Tiny())
        assert [(step, row["epoch"]) for step, row in logger.rows if "score" in row] == [(STEPS, 0), (2 * STEPS, 1)]
    logger.rows.clear()
    evaluator = trainer(tmp_path, OpenTrainer, logger=logger)
    with relying_on(count_from):
        count_from(evaluator, step=7, epoch=3)
        evaluator.validate(Tiny(), verbose=False)
        assert (evaluator.global_step, evaluator.current_epoch) == (7, 3)
        assert [(step, row["epoch"]) for step, row in logger.rows] == [(7, 3)]
    logger.rows.clear()
    evaluator.validate(NamesStep(), verbose=False)
    assert [step for step, _ in logger.rows] == [5]
    evaluator.validate(Silent(), verbose=False)
    assert len(logger.rows) == 1


class Predicting(Tiny):
    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if len(batch) > 1:
            raise ValueError("one at a time")
        return batch * 10

    def predict_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.arange(3.0), batch_size=2)  # type: ignore[arg-type]


class Seen(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[list[float], list[float], int]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        guard_prediction(trainer, guard_parts)

    def on_predict_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append((batch.tolist(), outputs.tolist(), batch_idx))


def guard_parts(predict: Callable[[Any], None], batch: Tensor) -> None:
    if len(batch) > 1:
        with pytest.raises(ValueError, match="one at a time"):
            predict(batch)
    for part in batch.split(1):
        predict(part)


def test_a_batch_that_fails_is_predicted_in_parts(tmp_path: Path) -> None:
    """Callbacks see the parts, and what was predicted of each; in a second prediction, too."""
    for _ in range(2):
        seen = Seen()
        with relying_on(guard_prediction):
            predictions = trainer(tmp_path, callbacks=[seen]).predict(Predicting())
            assert seen.seen == [([0.0], [0.0], 0), ([1.0], [10.0], 0), ([2.0], [20.0], 1)]
            assert [float(prediction) for prediction in predictions] == [0, 10, 20]


class Batches(LightningDataModule):
    batch_size = 1

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(STEPS, 1), batch_size=self.batch_size)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


@pytest.mark.parametrize("finder", [LearningRateFinder(num_training_steps=20), BatchSizeFinder(init_val=1)])
def test_a_finder_only_searches(tmp_path: Path, finder: Any) -> None:
    with relying_on(only_search):
        only_search(finder)
        searching = trainer(tmp_path, callbacks=[finder], max_epochs=-1)
        searching.fit(Tiny(), datamodule=Batches())
        assert searching.global_step == 0
        found = finder.optimal_batch_size if isinstance(finder, BatchSizeFinder) else finder.optimal_lr.suggestion()
        assert found == STEPS if isinstance(finder, BatchSizeFinder) else 0 < found < 1
