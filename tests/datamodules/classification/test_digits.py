from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from datamodules import DigitsDataModule
from datamodules.batches import ImageBatch, LabelledBatch
from datamodules.samples import collate


@pytest.fixture(scope="module")
def splits() -> dict[str, LabelledBatch]:
    data = DigitsDataModule()
    loaders = {"train": data.train_dataloader(), "val": data.val_dataloader(), "test": data.test_dataloader()}
    return {split: collate(list(loader)) for split, loader in loaders.items()}


def test_batches_have_the_documented_shapes() -> None:
    batch = next(iter(DigitsDataModule(batch_size=5).train_dataloader()))
    assert isinstance(batch, LabelledBatch)
    assert (batch.image.shape, batch.image.dtype) == ((5, 1, 8, 8), torch.float32)
    assert (batch.label.shape, batch.label.dtype, len(batch.id)) == ((5,), torch.int64, 5)


def test_splits_are_disjoint_and_of_the_documented_size(splits: dict[str, LabelledBatch]) -> None:
    assert {split: len(batch.id) for split, batch in splits.items()} == {"train": 899, "val": 359, "test": 539}
    names = [name for batch in splits.values() for name in batch.id]
    assert sorted(names) == [f"digit_{index:04d}" for index in range(1797)]


def test_splits_have_each_digit_in_proportion(splits: dict[str, LabelledBatch]) -> None:
    everything = np.bincount(load_digits().target)
    for split, fraction in (("val", 0.2), ("test", 0.3)):
        assert np.abs(splits[split].label.bincount().numpy() - fraction * everything).max() <= 1


def test_seed_decides_the_split(splits: dict[str, LabelledBatch]) -> None:
    ids = collate(list(DigitsDataModule(split_seed=0).val_dataloader())).id
    assert ids == splits["val"].id
    assert collate(list(DigitsDataModule(split_seed=1).val_dataloader())).id != ids


def test_images_are_the_digits_normalised(splits: dict[str, LabelledBatch]) -> None:
    digits = load_digits()
    batch = splits["test"]
    source = [int(name.removeprefix("digit_")) for name in batch.id]
    assert batch.label.tolist() == digits.target[source].tolist()
    np.testing.assert_allclose(batch.image[:, 0] * 0.3760 + 0.3053, digits.images[source] / 16, atol=1e-6)
    together = torch.cat([part.image for part in splits.values()])
    assert abs(together.mean()) < 1e-3
    assert abs(together.std() - 1) < 1e-3


def test_class_names() -> None:
    assert DigitsDataModule().class_names == list("0123456789")


def test_predicted_images_look_like_the_digits(tmp_path: Path, splits: dict[str, LabelledBatch]) -> None:
    digit = load_digits().images[int(splits["test"].id[0].removeprefix("digit_"))]
    enlarged = np.kron(np.rint(digit * 255 / 16), np.ones((10, 10))).astype(np.uint8)
    Image.fromarray(np.stack([enlarged] * 3, -1)).save(tmp_path / "digit.png")
    (batch,) = DigitsDataModule(predict_dir=str(tmp_path)).predict_dataloader()
    assert isinstance(batch, ImageBatch)
    assert batch.id == ["digit.png"]
    torch.testing.assert_close(batch.image, splits["test"].image[:1], atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["val_fraction", "test_fraction"])
def test_fractions_out_of_range_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be above 0 and below 1, got 1.5$"):
        DigitsDataModule(**{name: 1.5})


def test_negative_seed_is_named() -> None:
    with pytest.raises(ValueError, match=r"^split_seed must be at least 0, got -1$"):
        DigitsDataModule(split_seed=-1)
