from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from acda.models import SingleLayer
from datamodules import PatternsDataModule
from lit_modules import PatternTask


def test_predict_writes_each_map(trainer: Trainer, tmp_path: Path) -> None:
    data = PatternsDataModule(size=48, num_patterns=4, shift=9)
    task = PatternTask(SingleLayer())
    trainer.predict(task, data, return_predictions=False)
    written = np.load(tmp_path / "run" / "predictions" / "patterns_seed0.npy")
    with torch.no_grad():
        expected = task(next(iter(data.predict_dataloader())).image)[0, 0]
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, expected.numpy(), atol=1e-6)
