"""A task that lacks what a callback needs is told so in one line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from lit_modules import RestorationTask
from lit_modules.callbacks import (
    ClassificationReport,
    ClassPredictions,
    ClipBounds,
    CoefficientMaps,
    CostSummary,
    CrowdPredictions,
    PictureLogger,
    RestorationReport,
    WarmStart,
)
from lit_modules.callbacks.contracts import HasNetwork, ShowsInput, ask
from lit_modules.errors import UsageError
from tests.support.restorations import Scaled, pair


class Bare(LightningModule):
    """Has nothing that a callback may need."""


class Adversarial(Bare):
    """Has a network of one part."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential()


def logging(trainer: Trainer) -> PictureLogger:
    callback = PictureLogger()
    callback.on_test_epoch_start(trainer, Bare())
    return callback


CALLS: list[tuple[str, Callable[[Trainer], Any]]] = [
    ("ClassPredictions needs a task with class_names", lambda t: ClassPredictions().on_predict_start(t, Bare())),
    (
        "ClassificationReport needs a task with class_names",
        lambda t: ClassificationReport().on_test_epoch_start(t, Bare()),
    ),
    (
        "CoefficientMaps needs a task with network and network_input",
        lambda t: CoefficientMaps().on_test_batch_end(t, Bare(), None, None, 0),
    ),
    (
        "CoefficientMaps needs a task with network_input, which Adversarial",
        lambda t: CoefficientMaps().on_test_batch_end(t, Adversarial(), None, None, 0),
    ),
    (
        "CostSummary needs a task with network and network_input",
        lambda t: CostSummary().on_train_batch_start(t, Bare(), None, 0),
    ),
    ("PictureLogger needs a task with pictures", lambda t: logging(t).on_test_batch_end(t, Bare(), None, None)),
    (
        "RestorationReport needs a task with score_names and summarise",
        lambda t: RestorationReport().on_test_epoch_start(t, Bare()),
    ),
    ("WarmStart needs a task with network, which Bare has not", lambda t: WarmStart("a").setup(t, Bare(), "fit")),
    (
        "ClipBounds needs a network with denoiser and noise_estimator, which Sequential has not",
        lambda t: ClipBounds().on_before_optimizer_step(t, Adversarial(), None),
    ),
]


@pytest.mark.parametrize(("message", "call"), CALLS, ids=[message.partition(",")[0] for message, _ in CALLS])
def test_the_callback_says_what_it_needs(message: str, call: Callable[[Trainer], Any], trainer: Trainer) -> None:
    with pytest.raises(UsageError, match=message):
        call(trainer)


def test_cells_are_asked_for_when_there_is_a_batch(trainer: Trainer) -> None:
    callback = CrowdPredictions()
    callback.on_predict_start(trainer, Bare())
    with pytest.raises(UsageError, match="CrowdPredictions needs a task with cell_size, which Bare has not"):
        callback.on_predict_batch_end(trainer, Bare(), torch.zeros(1, 1, 2, 2), pair(8, 8))


def test_a_report_of_scores_needs_them_in_the_output(trainer: Trainer) -> None:
    task, report = RestorationTask(Scaled()), RestorationReport()
    report.on_test_epoch_start(trainer, task)
    with pytest.raises(UsageError, match="needs an output of test_step with prediction and scores, which Tensor has"):
        report.on_test_batch_end(trainer, task, torch.zeros(1, 3, 8, 8), pair(8, 8))


def test_a_task_that_has_all_is_given_back() -> None:
    task = RestorationTask(Scaled())
    assert ask(Callback(), task, ShowsInput) is task
    assert ask(Callback(), task, HasNetwork).network is task.network
