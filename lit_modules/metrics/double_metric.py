"""Metrics that keep what they add up in double precision."""

import torch
from torchmetrics import Metric


class DoubleMetric(Metric):
    """Base of metrics that are the same to the last digit however samples are shared among processes."""

    full_state_update = False
    is_differentiable = False

    @property
    def dtype(self) -> torch.dtype:
        """Float64, also of the empty state that a process without samples hands in, whatever the network's type."""
        return torch.float64
