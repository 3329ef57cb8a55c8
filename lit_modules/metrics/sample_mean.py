"""A mean over samples that come in batches of any size."""

import torch
from torch import Tensor

from lit_modules.metrics.double_metric import DoubleMetric


class SampleMean(DoubleMetric):
    """Mean of a batch's value over all samples, each of which counts once, also when processes have unequally many.

    Lightning's own mean over processes weighs them wrongly then. torchmetrics' ``MeanMetric`` leaves NaN out, which
    would hide it, or, told not to, the weights.
    """

    total: Tensor
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, value: Tensor, samples: int) -> None:
        """Add a batch.

        Args:
            value: Mean over the batch, scalar.
            samples: How many there are in it.
        """
        self.total += value.detach().double() * samples
        self.samples += samples

    def compute(self) -> Tensor:
        """Mean over what was added, in all processes, float64; NaN without samples."""
        return self.total / self.samples
