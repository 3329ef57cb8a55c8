"""Errors of counts, as the literature on crowd counting states them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lit_modules.metrics.double_metric import DoubleMetric


def count_heads(density: Tensor) -> Tensor:
    """Sum up density maps.

    Args:
        density: Heads per cell, ``[N, 1, h, w]``.

    Returns:
        Heads in each map, float64 ``[N]``.
    """
    return density.double().sum(dim=(1, 2, 3))


class ImageCount(NamedTuple):
    """What is kept of an image.

    Attributes:
        annotated: Its heads.
        error: Predicted minus annotated heads.
    """

    annotated: float
    error: float


def mae(images: Sequence[ImageCount]) -> float:
    """Mean absolute error, in heads; like its siblings the same to the last digit in any order, NaN without images."""
    return _mean([abs(image.error) for image in images])


def rmse(images: Sequence[ImageCount]) -> float:
    """Root of the mean squared error, in heads: what the papers call MSE."""
    return math.sqrt(_mean([image.error * image.error for image in images]))


def nae(images: Sequence[ImageCount]) -> float:
    """Mean of the absolute error relative to the annotated count, over images that have heads; NaN if none has."""
    return _mean([abs(image.error) / image.annotated for image in images if image.annotated > 0])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


class CountErrors(DoubleMetric):
    """Keeps the annotated count and the error of each image, in double precision.

    With several processes all images come together in each, and what is computed from them does not depend on who had
    which.
    """

    higher_is_better = False
    annotated: list[Tensor]
    error: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("annotated", [], dist_reduce_fx="cat")
        self.add_state("error", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, annotated: Tensor) -> None:
        """Add images.

        Args:
            predicted: Counts, ``[N]``.
            annotated: Counts, ``[N]``.
        """
        self.annotated.append(annotated.double())
        self.error.append(predicted.double() - annotated.double())

    def compute(self) -> Any:
        """Give what was added, in all processes: an :class:`ImageCount` for each image."""
        annotated, error = dim_zero_cat(self.annotated), dim_zero_cat(self.error)
        return [ImageCount(*pair) for pair in zip(annotated.tolist(), error.tolist(), strict=True)]


class CountScore(CountErrors, ABC):
    """One number made of the errors of all images, float64."""

    @staticmethod
    @abstractmethod
    def score(images: Sequence[ImageCount]) -> float:
        """Make it."""

    def compute(self) -> Tensor:
        """Make it of what was added, in all processes."""
        return torch.tensor(self.score(super().compute()), dtype=torch.float64, device=self.device)


class CountMAE(CountScore):
    """Mean absolute error of counts."""

    score = staticmethod(mae)


class CountRMSE(CountScore):
    """Root of the mean squared error of counts."""

    score = staticmethod(rmse)


class CountNAE(CountScore):
    """Mean error of counts relative to the annotated ones, over images that have heads."""

    score = staticmethod(nae)
