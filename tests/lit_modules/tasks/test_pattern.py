from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from acda import ACDAConv2d
from acda.models import SingleLayer
from datamodules import PatternsDataModule
from lit_modules import PatternTask
from lit_modules.tasks.pattern import equivariance_error


def test_exactly_moved_predictions_have_no_error() -> None:
    prediction = torch.randn(2, 1, 30, 40)
    shifted = torch.randn(2, 1, 30, 40)
    shifted[..., 5:, 5:] = prediction[..., :-5, :-5]
    assert equivariance_error(prediction, shifted, shift=5, border=0) == 0


@pytest.mark.parametrize(("row", "counts"), [(7, False), (8, True), (24, True), (27, False)])
def test_only_differences_off_the_border_count(row: int, counts: bool) -> None:
    """With shift 5 and border 3, rows 8 to 26 of a moved map of 30 rows come from rows 3 to 21."""
    prediction = torch.zeros(1, 1, 30, 30)
    shifted = prediction.clone()
    shifted[0, 0, row, 15] = 0.25
    assert equivariance_error(prediction, shifted, shift=5, border=3) == (0.25 if counts else 0)


def test_borders_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="border=13 and shift=5 leave nothing of a 30×30 map"):
        equivariance_error(torch.zeros(1, 1, 30, 30), torch.zeros(1, 1, 30, 30), shift=5, border=13)
    with pytest.raises(ValueError, match="border must be at least 0, got -1"):
        PatternTask(SingleLayer(), border=-1)


@pytest.mark.parametrize("conv", [nn.Conv2d, ACDAConv2d])
def test_metrics_of_a_test(conv: type[nn.Module], trainer: Trainer, tmp_path: Path) -> None:
    data = PatternsDataModule(size=48, num_patterns=4, shift=9)
    task = PatternTask(SingleLayer(conv))
    (metrics,) = trainer.test(task, data, verbose=False)
    batch = next(iter(data.test_dataloader()))
    task.eval()
    with torch.no_grad():
        prediction, shifted = task(batch.image), task(batch.shifted_image)
    assert metrics["test/mse"] == pytest.approx((prediction - batch.target).square().mean().item(), rel=1e-5)
    assert metrics["test/mse_shifted"] == pytest.approx(
        (shifted - batch.shifted_target).square().mean().item(), rel=1e-5
    )
    assert metrics["test/equivariance_error"] < 1e-5  # both layers are equivariant before any training
    pictures = sorted(p.name for p in (tmp_path / "run" / "pictures" / "test_pictures").iterdir())
    assert pictures == ["00_patterns_seed0.png", "01_patterns_seed0_shifted.png"]
