"""Small tasks and data for the tests of this folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules import DigitsDataModule
from datamodules.batches import ImageBatch, LabelledBatch
from lit_modules import ClassificationTask


class Logits(nn.Module):
    """Gives out as logits what stands in the image, so that a test decides what is predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.flatten(1)


class GivenLogits(LightningDataModule):
    """Batches of three whose images are the given logits ``[n, 1, 1, classes]``."""

    def __init__(self, logits: Tensor, labels: Tensor, class_names: list[str]) -> None:
        super().__init__()
        self.logits = logits
        self.labels = labels
        self.class_names = class_names

    def _batches(self) -> list[LabelledBatch]:
        ids = [f"image_{i}" for i in range(len(self.labels))]
        starts = range(0, len(ids), 3)
        return [LabelledBatch(self.logits[i : i + 3], self.labels[i : i + 3], ids[i : i + 3]) for i in starts]

    def test_dataloader(self) -> DataLoader[LabelledBatch]:
        return DataLoader(self._batches(), batch_size=None)

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        return DataLoader([ImageBatch(b.image, b.id) for b in self._batches()], batch_size=None)


def logged_images(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return set(events.Tags()["images"])


def small_digits() -> DigitsDataModule:
    return DigitsDataModule(batch_size=16)


def fake_process(rank: int, world_size: int) -> Trainer:
    strategy = SimpleNamespace(barrier=lambda name: None)
    return SimpleNamespace(global_rank=rank, world_size=world_size, is_global_zero=rank == 0, strategy=strategy)


class TinyData(LightningDataModule):
    """Eight images of 2×2 pixels in three classes, four in a batch."""

    def train_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(8, 1, 2, 2, generator=generator)
        labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
        batches = [
            LabelledBatch(images[i : i + 4], labels[i : i + 4], [f"{n}" for n in range(i, i + 4)]) for i in (0, 4)
        ]
        return DataLoader(batches, batch_size=None)


def tiny_task(network: nn.Module, lr: float = 0.1, **options: Any) -> ClassificationTask:
    """Learns :class:`TinyData`."""
    return ClassificationTask(network, 3, optimizer=lambda p: torch.optim.SGD(p, lr, weight_decay=0.5), **options)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(
        logger=TensorBoardLogger(tmp_path, name="", version="run"),
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
