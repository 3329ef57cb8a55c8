import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch import Tensor, nn

from acda.models import DNet, SNet, VariationalDenoiser
from lit_modules import VariationalTask
from lit_modules.callbacks import ClipBounds, PictureLogger
from lit_modules.losses import VariationalLoss
from tests.support.restorations import Photographs, degraded, pair


class Constant(nn.Module):
    """Says the same of every pixel."""

    total_stride = 1

    def __init__(self, first: float, second: float, channels: int = 3) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([first] * channels + [second] * channels))

    def forward(self, image: Tensor) -> Tensor:
        return self.values[:, None, None] + 0 * image[:, :1]


R, M2, ALPHA, SIGMA2 = 0.05, 1e-4, 5.0, 0.04**2


def given(channels: int = 3) -> VariationalDenoiser:
    """Predicts noise of ``R`` everywhere, and a variance of ``SIGMA2`` = β / (α − 1)."""
    estimator = Constant(math.log(ALPHA), math.log(SIGMA2 * (ALPHA - 1)), channels)
    return VariationalDenoiser(Constant(R, math.log(M2), channels), estimator)


def small() -> VariationalDenoiser:
    return VariationalDenoiser(DNet(widths=(8, 8)), SNet(width=8, depth=3))


def test_training_minimises_the_bound_and_logs_its_terms(trainer: Trainer) -> None:
    batch = pair(20, 24, count=2)
    task = VariationalTask(given(), loss=VariationalLoss(window=5))
    values = [torch.full_like(batch.image, value) for value in (R, *np.log([M2, ALPHA, SIGMA2 * (ALPHA - 1)]))]
    expected = VariationalLoss(window=5)(*values, batch.image, batch.target)
    trainer.limit_val_batches = 0
    trainer.fit(task, Photographs([batch]))
    for name, value in expected._asdict().items():
        assert trainer.callback_metrics[f"train/{name}"].item() == pytest.approx(value.item(), rel=1e-4)


def test_evaluation_takes_the_noise_away_and_clips() -> None:
    batch = pair(20, 24, count=2)
    task = VariationalTask(given())
    output = task.step(batch, "val")
    torch.testing.assert_close(output.prediction.detach(), (batch.image - R).clamp(0, 1))
    torch.testing.assert_close(output.loss.detach(), (batch.image - R - batch.target).square().mean())
    assert torch.equal(task.predict_step(degraded(batch.image), 0), output.prediction)
    assert set(task.val_metrics) == {"val/psnr", "val/ssim"}


def test_a_denoiser_of_y(trainer: Trainer) -> None:
    task = VariationalTask(given(channels=1), channels="y", protocol="per_image")
    trainer.fit(task, Photographs([pair(20, 24)]))
    assert {"train/lh", "val/psnr_y"} < set(trainer.callback_metrics)


def test_training_denoises(trainer: Trainer) -> None:
    batches = [pair(24, 24, noise=0.2, count=4) for _ in range(16)]
    task = VariationalTask(small(), optimizer=lambda parameters: torch.optim.Adam(parameters, 0.01))
    trainer.fit_loop.max_epochs = 8
    trainer.limit_val_batches = 2
    trainer.callbacks.append(PictureLogger(num_pictures=0))
    trainer.fit(task, Photographs(batches))
    assert trainer.callback_metrics["val/psnr"] > trainer.callback_metrics["val/psnr_input"] + 1


def test_picture_shows_the_noise_as_it_is_and_as_it_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flat image all is 0.08 off: twice the standard deviation that is estimated."""
    target = torch.full((1, 3, 32, 40), 0.5)
    batch = pair(32, 40)._replace(image=target + 0.08, target=target)
    task = VariationalTask(given())
    shown: list[dict[str, Tensor]] = []
    monkeypatch.setattr("lit_modules.tasks.restoration.arrange_panels", lambda panels: shown.append(dict(panels)))
    next(iter(task.pictures(batch, task.step(batch, "val"))))
    (panels,) = shown
    assert list(panels)[-2:] == ["noise sigma, 0 to 0.080", "estimated"]
    measured, estimated = list(panels.values())[-2:]
    assert measured[:, 5, 5].tolist() == [253, 231, 37]  # the end of the colours
    assert estimated[:, 5, 5].tolist() == [33, 144, 141]  # their middle


def test_infinite_variances_can_be_drawn() -> None:
    """The mean of an inverse gamma distribution with α ≤ 1."""
    task = VariationalTask(VariationalDenoiser(Constant(0.0, 0.0), Constant(math.log(0.5), 0.0)))
    (*_, (title, picture)) = task.draw_maps(*(torch.rand(3, 20, 20) for _ in range(3)))
    assert title == "estimated"
    assert picture[:, 0, 0].tolist() == [253, 231, 37]


def test_both_networks_are_compiled() -> None:
    network = VariationalTask(small(), compile_network=True).network
    assert network.denoiser._compiled_call_impl is not None
    assert network.noise_estimator._compiled_call_impl is not None


UNCLIPPED = "nothing clips the gradients .* --trainer.callbacks\\+=lit_modules.callbacks.ClipBounds"


@pytest.mark.parametrize(
    ("callbacks", "gradient_clip_val", "warns"), [([], None, True), ([ClipBounds()], None, False), ([], 1.0, False)]
)
def test_a_training_that_nothing_clips_warns(
    callbacks: list[ClipBounds], gradient_clip_val: float | None, warns: bool, trainer: Trainer
) -> None:
    trainer.callbacks += callbacks
    trainer.gradient_clip_val = gradient_clip_val
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(VariationalTask(small()), Photographs([pair(24, 24)]))
    assert len([w for w in caught if re.match(UNCLIPPED, str(w.message))]) == warns


def test_configurations_clip() -> None:
    """Each experiment with the task has the callback, and no other experiment has."""
    clipping, variational = set(), set()
    for path in (Path(__file__).parents[3] / "configs").glob("*/*.yaml"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "lit_modules.callbacks.ClipBounds" in config.get("trainer", {}).get("callbacks", []):
            clipping.add(path)
        if config.get("model", {}).get("class_path") == "lit_modules.VariationalTask":
            variational.add(path)
    assert len(variational) == 3
    assert clipping == variational
