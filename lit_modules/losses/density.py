"""What a density is trained by so that its sums are right, too."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DensityLoss(nn.Module):
    """Mean squared error of a density, plus absolute errors of its means over squares of several sizes.

    The squared error says where heads are. It is dominated by the densest crowds, and mostly by places that cannot be
    told exactly, so that by itself it learns slowly to count; the absolute errors of means over larger squares, that is
    of counts, are what a counter is judged by. They alone would leave out heads wherever that is uncertain: their
    optimum is the median.

    Args:
        weight: Of the absolute errors, beside the squared one. The default suits densities as
            :class:`~lit_modules.CountingTask` scales them.
        sides: Of the squares, in cells of the density; larger squares than the map are as large as it is.

    Raises:
        ValueError: If ``weight`` is negative, or a side is below 1.
    """

    def __init__(self, weight: float = 4.0, sides: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight must be at least 0, got {weight}")
        if min(sides, default=1) < 1:
            raise ValueError(f"sides must be at least 1, got {list(sides)}")
        self.weight = weight
        self.sides = tuple(sides)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare a density with its target.

        Args:
            prediction: ``[N, 1, H, W]``.
            target: The same shape.

        Returns:
            Scalar. At the right and the bottom squares may be cut off; their means are of what is left.
        """
        difference = prediction - target
        terms = [difference.square().mean()]
        for side in self.sides:
            squares = F.avg_pool2d(difference, side, ceil_mode=True, count_include_pad=False)
            terms.append(self.weight * squares.abs().mean())
        return torch.stack(terms).sum()
