"""Absolute errors of means over squares of all sizes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiScaleL1(nn.Module):
    """Mean absolute difference of two maps, plus that of their means over 2×2 values, 4×4, and so on.

    For a density the first terms say where heads are, the last ones how many there are in a crop: it is their absolute
    error that a count is judged by. Squared errors are dominated by the densest crowds, and leave a haze on empty
    ground, which absolute ones do not.

    Args:
        levels: How many sizes, from single values on; larger squares than the map are left out.

    Raises:
        ValueError: If ``levels`` is below 1.
    """

    def __init__(self, levels: int = 7) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels must be at least 1, got {levels}")
        self.levels = levels

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target.

        Args:
            prediction: ``[N, C, H, W]``.
            target: The same shape.

        Returns:
            Scalar; squares that reach beyond the map are of what is within.
        """
        difference = prediction - target
        side = max(difference.shape[2:])
        sizes = [size for size in (2**level for level in range(self.levels)) if size < 2 * side]
        pooled = [F.avg_pool2d(difference, size, ceil_mode=True, count_include_pad=False) for size in sizes]
        return torch.stack([means.abs().mean() for means in pooled]).sum()
