from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from acda.models import DNet, SNet, VariationalDenoiser
from lit_modules import VariationalTask
from lit_modules.callbacks import ClipBounds
from lit_modules.errors import UsageError
from tests.support.restorations import Photographs, pair


def small() -> VariationalDenoiser:
    return VariationalDenoiser(DNet(widths=(8, 8)), SNet(width=8, depth=3))


# Norms of the gradients of the two networks in each step, epoch by epoch.
NORMS = [[(6.0, 1.0), (30.0, 5.0)], [(4.0, 1.0), (6.0, 2.0)], [(20.0, 3.0), (1.0, 0.5)], [(8.0, 0.1), (8.0, 0.1)]]


class Slopes(LightningModule):
    """Two networks of one number each, whose gradients the data says."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("denoiser", "noise_estimator")})
        for linear in self.network.values():
            nn.init.zeros_(linear.weight)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        weights = [self.network[name].weight for name in ("denoiser", "noise_estimator")]
        return batch[0] * weights[0].sum() + batch[1] * weights[1].sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1.0)

    def weights(self) -> list[float]:
        return [self.network[name].weight.item() for name in ("denoiser", "noise_estimator")]


class Norms(LightningDataModule):
    """Two batches in each epoch."""

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader([torch.tensor(norms) for norms in NORMS[self.trainer.current_epoch]], batch_size=None)


class SaveBefore(Callback):
    """Saves a checkpoint after the last step of epoch 1, before its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1 and trainer.is_last_batch:
            trainer.save_checkpoint(self.path)


def fit(epochs: int, *callbacks: Callback, ckpt_path: Path | None = None) -> tuple[Slopes, Trainer]:
    trainer = Trainer(
        max_epochs=epochs, callbacks=list(callbacks), logger=False, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, reload_dataloaders_every_n_epochs=1,
    )  # fmt: skip
    module = Slopes()
    trainer.fit(module, Norms(), ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return module, trainer


# After each epoch, of bounds 10 and 2 at first. The second step of the first epoch and the first of the third are
# clipped, as are both of the last for the denoiser. Means: 18 and 3, 5 and 1.5, 10.5 and 1.75, 8 and 0.1.
WEIGHTS = [(-16, -3), (-26, -6), (-32, -8), (-42, -8.2)]


BOUNDS = [(10, 2), (5, 1.5), (5, 1.5), (5, 0.1)]


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_bounds_fall_to_the_mean_norm_of_an_epoch(epochs: int) -> None:
    bounds = ClipBounds(denoiser=10, noise_estimator=2)
    module, trainer = fit(epochs, bounds)
    assert module.weights() == pytest.approx(WEIGHTS[epochs - 1], rel=1e-5)
    assert list(bounds.bounds.values()) == pytest.approx(BOUNDS[epochs - 1], rel=1e-5)
    logged = trainer.callback_metrics
    means = np.mean(NORMS[epochs - 1], axis=0)
    for i, name in enumerate(("denoiser", "noise_estimator")):
        assert logged[f"train/grad_norm_{name}"].item() == pytest.approx(means[i], rel=1e-5)
        assert logged[f"train/clip_bound_{name}"].item() == pytest.approx(BOUNDS[epochs - 1][i], rel=1e-5)


def test_bounds_of_the_paper() -> None:
    assert ClipBounds().bounds == {"denoiser": 1e4, "noise_estimator": 1e3}


@pytest.mark.parametrize("before_the_end", [False, True])
def test_resumed_training_ends_as_the_uninterrupted_one(tmp_path: Path, before_the_end: bool) -> None:
    """From a checkpoint made before the end of an epoch, too: its norms are in it."""
    path = tmp_path / "some.ckpt"
    interrupted, resumed, uninterrupted = (ClipBounds(denoiser=10, noise_estimator=2) for _ in range(3))
    _, trainer = fit(2, interrupted, SaveBefore(path))
    if not before_the_end:
        trainer.save_checkpoint(path)
    module, _ = fit(4, resumed, ckpt_path=path)
    expected, _ = fit(4, uninterrupted)
    assert module.weights() == expected.weights()
    assert resumed.bounds == uninterrupted.bounds


def test_steps_that_mixed_precision_skips_do_not_count() -> None:
    module, bounds = Slopes(), ClipBounds(denoiser=10, noise_estimator=2)
    now = SimpleNamespace(current_epoch=0)
    for norms in ((3.0, 1.0), (torch.inf, torch.nan), (5.0, 1.0)):
        module.training_step(torch.tensor(norms), 0).backward()
        bounds.on_before_optimizer_step(now, module, None)
        module.zero_grad()
    now.current_epoch = 1
    bounds.on_before_optimizer_step(now, module, None)
    assert bounds.bounds == pytest.approx({"denoiser": 4, "noise_estimator": 1})


def test_bounds_are_in_the_checkpoints_of_a_task(trainer: Trainer, tmp_path: Path) -> None:
    task = VariationalTask(small())
    trainer.callbacks.append(ClipBounds())
    trainer.fit(task, Photographs([pair(24, 24)]))
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    checkpoint = torch.load(tmp_path / "task.ckpt", weights_only=True)
    state = checkpoint["callbacks"]["ClipBounds"]
    norms = {name: trainer.callback_metrics[f"train/grad_norm_{name}"].item() for name in state["bounds"]}
    assert norms.keys() == {"denoiser", "noise_estimator"}
    expected = {"denoiser": min(1e4, norms["denoiser"]), "noise_estimator": min(1e3, norms["noise_estimator"])}
    assert state["bounds"] == pytest.approx(expected, rel=1e-6)
    assert all(name.startswith("network.") for name in checkpoint["state_dict"])


def test_optimizers_that_hide_the_norms_are_refused() -> None:
    trainer = SimpleNamespace(
        precision="16-mixed", optimizers=[torch.optim.Adam(nn.Linear(1, 1).parameters(), fused=True)]
    )
    with pytest.raises(UsageError, match=r"fused optimizer .* --trainer.precision=16-mixed: set its fused to false"):
        ClipBounds().on_train_start(trainer, Slopes())
    trainer.precision = "bf16-mixed"
    ClipBounds().on_train_start(trainer, Slopes())


@pytest.mark.parametrize("arguments", [{"denoiser": 0.0}, {"noise_estimator": -1.0}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be positive, got {arguments[name]}"):
        ClipBounds(**arguments)
