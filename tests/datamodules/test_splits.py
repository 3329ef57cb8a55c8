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
    with pytest.raises(ValueError, match=rf"^val_fraction={fraction} is not allowed; allowed: 0 < val_fraction < 1$"):
        split_indices(10, {"val": fraction})


def test_fractions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^val_fraction \+ test_fraction=1.2 is not allowed; allowed: a sum below 1"):
        split_indices(10, {"val": 0.6, "test": 0.6})


def test_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match=r"^val_fraction=0.01 of 10 samples leave none for val"):
        split_indices(10, {"val": 0.01})


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^len\(labels\)=3 is not allowed; allowed: one label for each of the 10"):
        split_indices(10, {"val": 0.5}, labels=np.zeros(3, np.int64))
