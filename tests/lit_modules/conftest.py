"""Small tasks and data for the tests of this folder."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.batches import ImageBatch, LabelledBatch


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
