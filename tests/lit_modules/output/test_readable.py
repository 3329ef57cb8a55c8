"""Every kind of picture that is logged or written can be read where TensorBoard shows it small."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from acda.models import VariationalDenoiser
from datamodules.batches import LabelledBatch, PatternBatch
from lit_modules import ClassificationTask, CountingTask, PatternTask, RestorationTask, VariationalTask
from lit_modules.callbacks.coefficient_maps import draw_coefficients
from tests.lit_modules.conftest import Logits
from tests.support.crowds import Crowds, Seen, crowd
from tests.support.pictures import title_on_card
from tests.support.restorations import Scaled, pair

SIZES = [(28, 28), (32, 320), (120, 90), (384, 512), (256, 4000)]


def misclassified(height: int, width: int) -> Iterable[Tensor]:
    task = ClassificationTask(Logits(), 12)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(task)
    task.trainer = trainer
    batch = LabelledBatch(torch.rand(1, 3, height, width), torch.tensor([11]), ["a.png"])
    return [picture for _, picture in task.pictures(batch, torch.eye(12)[:1])]


def counted(height: int, width: int) -> Iterable[Tensor]:
    task, batch = CountingTask(Seen()), crowd([(9.0, 9.0)], height, width)
    return [picture for _, picture in task.pictures(batch, task.step(batch, "val").prediction)]


def restored(height: int, width: int) -> Iterable[Tensor]:
    task, batch = RestorationTask(Scaled()), pair(height, width)
    return [picture for _, picture in task.pictures(batch, task.step(batch, "val"))]


class Doubled(Scaled):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(torch.cat([image, image], dim=1))


def denoised(height: int, width: int) -> Iterable[Tensor]:
    task, batch = VariationalTask(VariationalDenoiser(Doubled(), Doubled())), pair(height, width)
    return [picture for _, picture in task.pictures(batch, task.step(batch, "val"))]


def detected(height: int, width: int) -> Iterable[Tensor]:
    map_ = torch.rand(1, 1, height, width)
    task = PatternTask(Scaled())
    batch = PatternBatch(map_, map_, map_, map_, torch.tensor([1]), ["a"])
    return [picture for _, picture in task.pictures(batch, map_)]


def coefficients(height: int, width: int) -> Iterable[Tensor]:
    maps = {scale: torch.rand(2, -(-height // 2), -(-width // 2)) for scale in (1, 3, 5)}
    return [draw_coefficients(torch.rand(2, 3, height, width), maps)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("draw", [misclassified, counted, restored, denoised, detected, coefficients])
def test_titles_of_logged_pictures(draw: Callable[[int, int], Iterable[Tensor]], size: tuple[int, int]) -> None:
    """Letters that reach up, such as t and d, are 9 of a card's pixels high, with those that reach down at most 16."""
    pictures = list(draw(*size))
    assert pictures
    assert all(9 <= title_on_card(picture) <= 16 for picture in pictures)


@pytest.mark.parametrize("size", SIZES)
def test_titles_of_written_pictures(trainer: Trainer, tmp_path: Path, size: tuple[int, int]) -> None:
    trainer.predict(CountingTask(Seen()), Crowds([crowd([(9.0, 9.0)], *size, "1.jpg")]), return_predictions=False)
    with Image.open(tmp_path / "run" / "predictions" / "1.jpg.png") as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert 9 <= title_on_card(pixels) <= 16
