"""Scores of restored images and their means."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lit_modules.metrics.double_metric import DoubleMetric


class Score(NamedTuple):
    """Values of one sample: an image, or a tile of one.

    Attributes:
        psnr: Decibels.
        ssim: At most 1.
    """

    psnr: float
    ssim: float


class MeanScore(DoubleMetric):
    """Mean of one value over all samples.

    Every sample's value is kept, and the sum is exact before it is rounded: the mean does not depend on the order of
    the images, nor on the processes that share them.

    Args:
        value: Which value of a score.
    """

    higher_is_better = True
    values: list[Tensor]

    def __init__(self, value: Literal["psnr", "ssim"]) -> None:
        super().__init__()
        self.value = value
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, images: Iterable[Iterable[Score]]) -> None:
        """Add images.

        Args:
            images: The samples of each image, as :meth:`EvaluationProtocol.score` gives them.
        """
        values = [getattr(sample, self.value) for image in images for sample in image]
        self.values.append(torch.tensor(values, dtype=self.dtype, device=self.device))

    def compute(self) -> Tensor:
        """Mean over what was added, in all processes, float64."""
        values: list[float] = dim_zero_cat(self.values).tolist()
        return torch.tensor(math.fsum(values) / len(values), dtype=self.dtype, device=self.device)
