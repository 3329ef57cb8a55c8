"""What the classification task's training options do."""

import math
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from datamodules.batches import LabelledBatch
from lit_modules import ClassificationTask
from lit_modules.errors import UsageError
from lit_modules.schedules import WarmupCosineLR


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


def task(network: nn.Module, lr: float = 0.1, **options: Any) -> ClassificationTask:
    return ClassificationTask(network, 3, optimizer=lambda p: torch.optim.SGD(p, lr, weight_decay=0.5), **options)


def fit(module: ClassificationTask, data: LightningDataModule | None = None) -> None:
    Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False,
    ).fit(module, data or TinyData())  # fmt: skip


def test_weight_decay_leaves_norms_and_biases_alone() -> None:
    """Gradients are zero where the input is: weight decay alone moves the parameters."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))

    spared, all_decayed = task(network(), decay_norms_and_biases=False), task(network())
    groups = spared.configure_optimizers().param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in spared.named_parameters()} == {
        "network.0.weight": 0.5, "network.0.bias": 0.0, "network.1.weight": 0.0, "network.1.bias": 0.0,
        "network.3.weight": 0.5, "network.3.bias": 0.0,
    }  # fmt: skip
    assert {g["weight_decay"] for g in all_decayed.configure_optimizers().param_groups} == {0.5}


class Recorder(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.linear = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return self.linear(image.flatten(1))


def test_mixup_shows_mixtures_with_their_shares() -> None:
    torch.manual_seed(0)
    (batch, _) = TinyData().train_dataloader()
    module = task(Recorder(), mixup_alpha=1.0)
    targets: list[torch.Tensor] = []
    module.loss.register_forward_pre_hook(lambda loss, inputs: targets.append(inputs[1]))
    module.log_dict = lambda *a, **k: None  # type: ignore[method-assign]
    module.step(batch, "train")
    (mixed,), (target,) = module.network.seen, targets
    assert target.shape == (4, 3)
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    # The image's share of itself, by least squares over the pair that was mixed: with the next image, as MixUp rolls.
    a, b = batch.image.flatten(1), batch.image.roll(1, 0).flatten(1)
    share = float(((mixed.flatten(1) - b) * (a - b)).sum() / (a - b).square().sum())
    assert 0 < share < 1
    torch.testing.assert_close(mixed.flatten(1), share * a + (1 - share) * b)
    one_hot = nn.functional.one_hot(batch.label, 3).float()
    torch.testing.assert_close(target, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_mixup_is_for_training_alone() -> None:
    (batch, _) = TinyData().train_dataloader()
    module = task(Recorder(), mixup_alpha=1.0)
    module.log_dict = lambda *a, **k: None  # type: ignore[method-assign]
    module.step(batch, "val")
    assert torch.equal(module.network.seen[0], batch.image)
    with pytest.raises(ValueError, match="mixup_alpha must be at least 0, got -1"):
        task(Recorder(), mixup_alpha=-1)


def test_another_number_of_classes_than_in_the_data_is_refused() -> None:
    class FourClasses(TinyData):
        class_names = ("a", "b", "c", "d")

    with pytest.raises(UsageError, match="num_classes=3, but the data has 4 classes"):
        fit(task(Recorder()), FourClasses())


def test_mixup_trains() -> None:
    module = task(Recorder(), mixup_alpha=0.2, label_smoothing=0.1)
    before = module.network.linear.weight.detach().clone()
    fit(module)
    after = module.network.linear.weight
    assert after.isfinite().all()
    assert not torch.equal(after, before)


def test_warm_up_then_half_a_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.8)
    schedule = WarmupCosineLR(optimizer, warmup=3, total=11)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[3:] == pytest.approx([0.4 * (1 + math.cos(math.pi * i / 8)) for i in range(9)])
    with pytest.raises(ValueError, match="warmup must be from 0 to below total=5, got 5"):
        WarmupCosineLR(optimizer, warmup=5, total=5)
