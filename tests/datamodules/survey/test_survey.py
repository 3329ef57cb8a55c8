"""A survey of data modules that know nothing of it, and of small ones whose numbers are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from datamodules import ImageDataModule
from datamodules.batches import CrowdBatch, LabelledBatch
from datamodules.errors import DataError
from datamodules.samples import LabelledArrays, SampleSet
from datamodules.survey import Survey
from datamodules.survey.survey import SPLITS


class Own(ImageDataModule):
    """A data module as a user writes it.

    Args:
        make: Makes the samples of a split.
    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self.make = make

    def train_samples(self) -> Any:
        return self.make("train")

    def val_samples(self) -> Any:
        return self.make("val")

    def test_samples(self) -> Any:
        return self.make("test")

    def predict_samples(self) -> Any:
        raise AssertionError("nothing is predicted")


def arrays(split: str, seed: int | None = None, count: int = 6) -> LabelledArrays:
    seed = SPLITS.index(split) if seed is None else seed
    images = np.random.RandomState(seed).randint(0, 256, (count, 5, 7, 3), np.uint8)
    transform = lambda image: torch.from_numpy(image).permute(2, 0, 1).float()  # noqa: E731
    return LabelledArrays(images, np.arange(count) % 2, np.arange(count), transform, split + "_{:02d}")


class Crops(SampleSet[CrowdBatch]):
    """Samples that do not say what is stored."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> CrowdBatch:
        image = torch.full((1, 3, 8, 12), float(index))
        points = torch.zeros(index, 2)
        units = torch.zeros(1, 3), torch.ones(1, 3)
        return CrowdBatch(image, torch.zeros(1, 1, 8, 12), torch.tensor([index]), [points], [f"crop {index}"], *units)


class Lists(Dataset[LabelledBatch]):
    """Samples that are of no class of this project."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> LabelledBatch:
        return LabelledBatch(torch.zeros(1, 1, 4, 4), torch.tensor([index]), [str(index)])


class Pairs(Lists):
    """Samples that nothing is known of."""

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(4, 4), index


def survey(make: Callable[[str], Any]) -> Survey:
    return Own(make).survey()


def test_own_arrays_are_compared_as_stored() -> None:
    found = survey(arrays)
    assert found.num_faults == 0
    assert [line.split()[:2] for line in found.lines[1:4]] == [["train", "6"], ["val", "6"], ["test", "6"]]
    leaking = survey(lambda split: arrays(split, 0 if split == "test" else None))
    assert leaking.num_faults == 6
    assert "  'train_03' (train) and 'test_03' (test) have the same pixels" in leaking.lines


def test_validation_on_test_images_is_no_leak() -> None:
    found = survey(lambda split: arrays("train" if split == "train" else "test"))
    assert found.num_faults == 0
    assert "Validation and test take the same images (6)" in found.lines
    training = survey(lambda split: arrays("test" if split == "test" else "train"))
    assert training.num_faults == 6
    assert "  'train_00' is in train and in val" in training.lines


def test_repeated_images_within_a_split_are_no_leak() -> None:
    def repeated(split: str) -> LabelledArrays:
        samples = arrays(split)
        samples._images[4:] = samples._images[1]
        return samples

    found = survey(repeated)
    assert found.num_faults == 0
    assert [line for line in found.lines if line.startswith("Repeated")] == [
        f"Repeated within {split}: 2 images" for split in SPLITS
    ]


def test_what_is_only_handed_out_is_taken_for_that() -> None:
    found = survey(lambda split: Crops())
    assert found.num_faults == 0  # though all splits are the same
    assert found.lines[1].split()[1:] == ["3", "12", "×", "8", "3", "float", "0,", "1,", "2,", "3", "0"]
    (line,) = (line for line in found.lines if line.startswith("As handed out"))
    assert "stored(index): docs/extending.md" in line
    assert survey(lambda split: Lists()).num_faults == 0


def test_batches_of_which_nothing_is_known_are_refused() -> None:
    found = survey(lambda split: Pairs())
    (line,) = (line for line in found.lines if line.startswith("  "))
    assert "got tuple. Give the samples a method stored(index)" in line


def test_one_split_that_is_missing_ends_it() -> None:
    def make(split: str) -> LabelledArrays:
        if split == "test":
            raise DataError("'test.npz' does not exist.")
        return arrays(split)

    with pytest.raises(DataError, match=r"test\.npz"):
        survey(make)
