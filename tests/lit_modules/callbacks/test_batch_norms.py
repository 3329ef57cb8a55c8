"""Batch norms that are frozen keep their statistics and train the rest."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from acda.models import AdResNet
from datamodules import DigitsDataModule
from lit_modules import ClassificationTask
from lit_modules.callbacks import FreezeBatchNorms


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_stay_through_validations_and_all_else_is_trained(tmp_path: Path, frozen: bool) -> None:
    torch.manual_seed(0)
    network = AdResNet(10, 1, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 4), small_images=True)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Trainer(
        default_root_dir=tmp_path,
        max_epochs=2,  # with a validation between them
        limit_train_batches=1,
        limit_val_batches=1,
        callbacks=[FreezeBatchNorms()] if frozen else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    ).fit(ClassificationTask(network, 10), DigitsDataModule(batch_size=16, num_workers=0))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert all(norm.training != frozen for norm in norms)
    assert any("running" in name for name in moved) != frozen
    assert {name for name, _ in network.named_parameters()} <= moved
