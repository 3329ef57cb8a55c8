import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.splits import split_indices


def test_parts_are_disjoint_and_together_everything() -> None:
    parts = split_indices(103, {"val": 0.2, "test": 0.3}, seed=4)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(103))
    assert {part: len(indices) for part, indices in parts.items()} == {"train": 51, "val": 21, "test": 31}


def test_same_seed_same_split_on_every_release() -> None:
    assert split_indices(12, {"val": 0.25}, seed=0)["val"].tolist() == [4, 6, 11]
    assert split_indices(12, {"val": 0.25}, seed=1)["val"].tolist() != [4, 6, 11]


def test_stratified_parts_have_each_class_in_proportion() -> None:
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [10, 50, 100]))
    parts = split_indices(160, {"val": 0.2, "test": 0.3}, labels=labels)
    counts = {part: np.bincount(labels[indices]).tolist() for part, indices in parts.items()}
    assert counts == {"train": [5, 25, 50], "val": [2, 10, 20], "test": [3, 15, 30]}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fraction_out_of_range_is_named(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"^val_fraction must be above 0 and below 1, got {fraction}$"):
        split_indices(10, {"val": fraction})


def test_fractions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"^val_fraction \+ test_fraction must be below 1, so that a part is left to train on, got 1.2$",
    ):
        split_indices(10, {"val": 0.6, "test": 0.6})


def test_empty_part_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^val_fraction must be larger, so that val gets one of 10 samples, got 0\.01$"
    ):
        split_indices(10, {"val": 0.01})


def test_nothing_to_train_on_is_refused() -> None:
    message = (
        r"^val_fraction \+ test_fraction must be smaller, so that some of 2 samples are left to train on, got 0\.96$"
    )
    with pytest.raises(DataError, match=message):
        split_indices(2, {"val": 0.48, "test": 0.48})


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^len\(labels\) must be 10, one label for each sample, got 3$"):
        split_indices(10, {"val": 0.5}, labels=np.zeros(3, np.int64))
