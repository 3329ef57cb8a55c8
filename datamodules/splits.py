"""Reproducible splits of a data set."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from datamodules.errors import DataError, check_at_least, check_fractions, refuse
from datamodules.types import Indices

ValidateOn = Literal["held_out", "test"]
"""What validation takes: a part of the published training set, or the published test set."""


def split_indices(
    count: int, fractions: Mapping[str, float], seed: int = 0, labels: npt.NDArray[np.int64] | None = None
) -> dict[str, Indices]:
    """Split ``count`` samples into disjoint parts, the same ones for the same seed on every machine and release.

    Args:
        count: Number of samples.
        fractions: Share of each part beside the one to train on, by its name: ``{"val": 0.2, "test": 0.3}``.
        seed: What the split depends on beside ``count``, ``fractions`` and ``labels``.
        labels: Class of each sample, ``[count]``; with it each class is split in these shares (stratified), to the
            nearest whole sample. Default: samples are split without regard to their class.

    Returns:
        Ascending indices by part: ``"train"``, which is what the others leave over, then the parts as named.

    Raises:
        ValueError: If a fraction is out of range (named ``<part>_fraction``) or the seed negative, or the number of
            labels is not ``count``.
        DataError: If a part would be empty.

    Example:
        >>> {part: len(indices) for part, indices in split_indices(10, {"val": 0.2}).items()}
        {'train': 8, 'val': 2}
    """
    check_at_least(1, count=count)
    check_at_least(0, seed=seed)
    check_fractions(**{f"{part}_fraction": fraction for part, fraction in fractions.items()})
    groups = np.zeros(count, np.int64) if labels is None else labels
    if len(groups) != count:
        refuse("len(labels)", len(groups), f"{count}, one label for each sample")
    random = np.random.RandomState(seed)  # numpy keeps this one's numbers the same in every release
    bounds = np.cumsum([0.0, *fractions.values()])
    pieces: dict[str, list[Indices]] = {part: [] for part in ("train", *fractions)}
    for group in np.unique(groups):
        shuffled = random.permutation(np.flatnonzero(groups == group))
        cuts = np.rint(bounds * len(shuffled)).astype(int)
        for part, start, stop in zip(fractions, cuts, cuts[1:], strict=False):
            pieces[part].append(shuffled[start:stop])
        pieces["train"].append(shuffled[cuts[-1] :])
    parts = {part: np.sort(np.concatenate(piece)) for part, piece in pieces.items()}
    for part, indices in parts.items():
        if len(indices) == 0:
            if part == "train":
                names = " + ".join(f"{name}_fraction" for name in fractions)
                wanted = f"smaller, so that some of {count} samples are left to train on"
                refuse(names, sum(fractions.values()), wanted, DataError)
            refuse(
                f"{part}_fraction", fractions[part], f"larger, so that {part} gets one of {count} samples", DataError
            )
    return parts
