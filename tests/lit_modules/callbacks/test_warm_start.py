from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from lit_modules.callbacks import WarmStart
from lit_modules.errors import UsageError
from tests.lit_modules.conftest import TinyData, tiny_task


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(4, 3).state_dict(), path)
    return path


def fit(callback: WarmStart, tmp_path: Path, **options: object) -> nn.Module:
    module = tiny_task(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), lr=0.0)
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[callback],
    )  # fmt: skip
    trainer.fit(module, TinyData(), **options)
    return module.network


def test_fit_starts_from_the_weights(weights: Path, tmp_path: Path) -> None:
    network = fit(WarmStart(str(weights)), tmp_path)
    assert torch.equal(network[1].weight, torch.load(weights)["weight"])


def test_a_file_that_fits_nothing_stops_fit(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(2, 2, 3).state_dict(), tmp_path / "conv.pt")
    with pytest.raises(UsageError, match="fit nothing in Sequential"):
        fit(WarmStart(str(tmp_path / "conv.pt")), tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        fit(WarmStart(str(tmp_path / "none.pt")), tmp_path)
