from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch import Trainer
from torch import nn

from acda.models import LeNet
from datamodules.batches import LabelledBatch
from lit_modules import ClassificationTask
from lit_modules.errors import UsageError
from tests.lit_modules.conftest import GivenLogits, Logits, TinyData, tiny_task
from tests.support.crowds import rows_of

NAMES = [f"class {letter}" for letter in "abcdefg"]


@pytest.fixture
def data() -> GivenLogits:
    """Eleven samples of seven classes: an odd number of batches, the last one smaller; class g does not occur."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 1, 1, 7, generator=generator)
    return GivenLogits(logits, torch.randint(0, 6, (11,), generator=generator), NAMES)


def test_test_metrics_are_exact_on_an_odd_sized_set(trainer: Trainer, data: GivenLogits) -> None:
    (metrics,) = trainer.test(ClassificationTask(Logits(), 7), data, verbose=False)
    scores = data.logits.flatten(1)
    wrong = (scores.argmax(1) != data.labels).double().mean().item()
    true_scores = scores.gather(1, data.labels[:, None])
    not_in_five = ((scores > true_scores).sum(1) >= 5).double().mean().item()
    assert metrics["test/top1_error"] == pytest.approx(100 * wrong, abs=1e-4)
    assert metrics["test/top5_error"] == pytest.approx(100 * not_in_five, abs=1e-4)
    assert metrics["test/loss"] == pytest.approx(nn.functional.cross_entropy(scores, data.labels).item(), abs=1e-5)


def test_few_classes_have_no_top5_error() -> None:
    assert set(ClassificationTask(Logits(), 5).val_metrics) == {"val/top1_error"}


def test_pictures_are_the_misclassified_images() -> None:
    task = ClassificationTask(Logits(), 3)
    Trainer(logger=False, enable_checkpointing=False, accelerator="cpu").strategy.connect(task)
    task.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    logits = torch.eye(3)
    batch = LabelledBatch(torch.rand(3, 1, 4, 4), torch.tensor([0, 2, 2]), ["right", "wrong", "right too"])
    assert [name for name, _ in task.pictures(batch, logits)] == ["wrong"]


def test_network_of_another_width_is_refused() -> None:
    task = ClassificationTask(LeNet(num_classes=10), num_classes=100)
    batch = LabelledBatch(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(UsageError, match=r"num_classes=100.*got \[2, 10\]"):
        task.step(batch, "val")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"num_classes": 3, "label_smoothing": 1.5}, "label_smoothing must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationTask(Logits(), **arguments)


def fit(module: ClassificationTask, data: LightningDataModule | None = None) -> None:
    Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False,
    ).fit(module, data or TinyData())  # fmt: skip


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
    module = tiny_task(Recorder(), mixup_alpha=1.0)
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
    module = tiny_task(Recorder(), mixup_alpha=1.0)
    module.log_dict = lambda *a, **k: None  # type: ignore[method-assign]
    module.step(batch, "val")
    assert torch.equal(module.network.seen[0], batch.image)
    with pytest.raises(ValueError, match="mixup_alpha must be at least 0, got -1"):
        tiny_task(Recorder(), mixup_alpha=-1)


def test_another_number_of_classes_than_in_the_data_is_refused() -> None:
    class FourClasses(TinyData):
        class_names = ("a", "b", "c", "d")

    with pytest.raises(UsageError, match="num_classes=3, but the data has 4 classes"):
        fit(tiny_task(Recorder()), FourClasses())


def test_mixup_trains() -> None:
    module = tiny_task(Recorder(), mixup_alpha=0.2, label_smoothing=0.1)
    before = module.network.linear.weight.detach().clone()
    fit(module)
    after = module.network.linear.weight
    assert after.isfinite().all()
    assert not torch.equal(after, before)


def test_names_that_are_given_are_those_of_a_prediction_and_of_nothing_else(trainer: Trainer, tmp_path: Path) -> None:
    """So that weights name classes where the data that they were trained on is not."""
    given = [f"kind {number}" for number in range(3)]
    data = GivenLogits(torch.eye(3)[:, None, None], torch.arange(3), ["a", "b", "c"])
    task = ClassificationTask(Logits(), 3, class_names=given)
    trainer.predict(task, data, return_predictions=False)
    assert [row["class_name"] for row in rows_of(tmp_path / "run" / "predictions.csv")] == given
    trainer.test(task, data)
    assert [row["class_name"] for row in rows_of(tmp_path / "run" / "per_class.csv")] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="class_names must be as many as num_classes=3, got 2"):
        ClassificationTask(Logits(), 3, class_names=given[:2])
