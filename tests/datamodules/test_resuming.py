"""Trainings that are resumed in the middle of an epoch, by Lightning's trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules import ImageDataModule
from datamodules.batches import LabelledBatch
from datamodules.samples import ImageFolder, LabelledArrays
from datamodules.transforms.augmentation import pad_crop_flip
from datamodules.transforms.pixels import Normalise
from lit_modules.runs.random_state import RandomState

Seen = list[tuple[int, int, list[str], float]]


class Data(ImageDataModule):
    """Twelve images of 8×8 pixels, augmented in training."""

    def train_samples(self) -> LabelledArrays:
        images = np.random.RandomState(0).randint(0, 256, (12, 8, 8, 3), np.uint8)
        transform = Normalise([0, 0, 0], [1, 1, 1], after=pad_crop_flip(8, 2))
        return LabelledArrays(images, np.arange(12) % 3, np.arange(12), transform, "{}")

    def val_samples(self) -> LabelledArrays:
        return self.train_samples()

    def test_samples(self) -> LabelledArrays:
        return self.train_samples()

    def predict_samples(self) -> ImageFolder:
        return self.predict_folder(Normalise([0, 0, 0], [1, 1, 1]))


class Task(LightningModule):
    """Notes of each batch: epoch, number, ids and sum of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(8 * 8 * 3, 3))
        self.seen: Seen = []

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch_idx, batch.id, batch.image.sum().item()))
        return nn.functional.cross_entropy(self.network(batch.image), batch.label)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


def fit(folder: Path, num_workers: int, ckpt_path: Path | None = None, **options: Any) -> Task:
    """Train for three epochs of up to six batches, with a checkpoint after each batch."""
    seed_everything(3, workers=True, verbose=False)
    checkpoints = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False)
    task = Task()
    Trainer(
        max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        callbacks=[checkpoints, RandomState()], **options,
    ).fit(task, Data(batch_size=2, num_workers=num_workers), ckpt_path=ckpt_path, weights_only=True)  # fmt: skip
    return task


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(("limit", "step"), [(6, 7), (6, 10), (4, 6), (4, 8)])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path, num_workers: int, limit: int, step: int) -> None:
    """Resumed in the middle of the second epoch, or where ``limit_train_batches`` ended it."""
    options = {"num_workers": num_workers, "limit_train_batches": limit, "limit_val_batches": 0}
    whole = fit(tmp_path / "whole", **options)
    resumed = fit(tmp_path / "resumed", **options, ckpt_path=tmp_path / "whole" / f"{step}.ckpt")
    assert len(resumed.seen) == 3 * limit - step
    assert resumed.seen == whole.seen[step:]
    assert len({sum_ for *_, sum_ in whole.seen}) > 2 * limit  # other batches in each epoch
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_overfitting_repeats_batches_and_augmentations(tmp_path: Path) -> None:
    batches = [seen[1:] for seen in fit(tmp_path, 0, overfit_batches=2).seen]
    assert [ids for _, ids, _ in batches[:2]] == [["0", "1"], ["2", "3"]]
    assert batches == 3 * batches[:2]
