"""Loss on the bands of a Laplacian pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acda.models import laplacian_pyramid


class PyramidLoss(nn.Module):
    """Compares bands of images with those of their targets, and sums up over the bands.

    Args:
        loss: Compares a band with its target; None: mean squared error.

    Reference:
        Cai, Zeng, Yong, Cao, Zhang, *Toward Real-World Single Image Super-Resolution: A New Benchmark and a New Model*,
        ICCV 2019: the loss of its network, LP-KPN.
    """

    def __init__(self, loss: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = nn.MSELoss() if loss is None else loss

    def forward(self, prediction: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Compare predictions with their targets.

        Args:
            prediction: Images, ``[N, C, H, W]``, or the bands of images as :func:`acda.models.laplacian_pyramid` gives
                them, such as a network's ``levels``: what it makes of a band of its input.
            target: Images, ``[N, C, H, W]``.

        Returns:
            Scalar.
        """
        bands = laplacian_pyramid(prediction) if isinstance(prediction, Tensor) else prediction
        losses = [self.loss(*pair) for pair in zip(bands, laplacian_pyramid(target), strict=True)]
        return torch.stack(losses).sum()
