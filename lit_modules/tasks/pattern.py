"""The pattern detection experiment (paper section 3.3)."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.batches import PatternBatch
from lit_modules.callbacks import MapPredictions
from lit_modules.output import arrange_panels, draw_heat, draw_image
from lit_modules.tasks.base import Stage, StepOutput, Task


class PatternTask(Task):
    """Trains a network to mark the centres of patterns in a noisy map, by mean squared error.

    Logs ``{train,val,test}/mse``; ``test`` also ``test/mse_shifted``, on the input moved to the lower right, and
    ``test/equivariance_error``, the largest difference between the moved prediction and the prediction on the moved
    input where no border is involved.

    Args:
        network: Maps ``[N, 1, H, W]`` to ``[N, 1, H, W]``.
        border: Pixels along each border that the equivariance error leaves out; at least the network's receptive
            radius.
        optimizer: Makes the optimizer from the parameters.
        kwargs: Further arguments of :class:`Task`.

    Raises:
        ValueError: If ``border`` is negative.

    Reference:
        Paper section 3.3, Figure 6.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        border: int = 8,
        optimizer: OptimizerCallable = torch.optim.SGD,
        **kwargs: Any,
    ) -> None:
        if border < 0:
            raise ValueError(f"border must be at least 0, got {border}")
        super().__init__(network, optimizer=optimizer, **kwargs)
        self.border = border

    def default_callbacks(self) -> list[Callback]:
        """Write the predicted maps."""
        return [*super().default_callbacks(), MapPredictions()]

    def step(self, batch: PatternBatch, stage: Stage) -> StepOutput:
        """Take the mean squared error of a batch; in a test also of the moved input, and the equivariance error."""
        prediction = self(batch.image)
        loss = F.mse_loss(prediction, batch.target)
        metrics = {f"{stage}/mse": loss.detach()}
        if stage == "test":
            shifted = self(batch.shifted_image)
            metrics["test/mse_shifted"] = F.mse_loss(shifted, batch.shifted_target)
            shift = int(batch.shift[0])
            metrics["test/equivariance_error"] = equivariance_error(prediction, shifted, shift, self.border)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(batch.id))
        return StepOutput(loss, prediction)

    def pictures(self, batch: PatternBatch, prediction: Tensor) -> Iterable[tuple[str, Tensor]]:
        """Draw input, target and prediction, as given and moved."""
        with torch.no_grad():
            shifted = self(batch.shifted_image)
        for i, name in enumerate(batch.id):
            as_given = (batch.image[i], batch.target[i, 0], prediction[i, 0])
            moved = (batch.shifted_image[i], batch.shifted_target[i, 0], shifted[i, 0])
            for suffix, (image, target, map_) in (("", as_given), ("_shifted", moved)):
                panels = [
                    ("input", draw_image(image)),
                    ("target", draw_heat(target)),
                    ("prediction", draw_heat(map_, 0, 1)),
                ]
                yield f"{name}{suffix}", arrange_panels(panels)

    def predict_step(self, batch: PatternBatch, batch_idx: int) -> Tensor:
        """Give detection maps ``[N, 1, H, W]``."""
        prediction: Tensor = self(batch.image)
        return prediction


def equivariance_error(prediction: Tensor, shifted_prediction: Tensor, shift: int, border: int) -> Tensor:
    """Take the largest difference between a prediction, moved, and the prediction on the moved input.

    Args:
        prediction: ``[N, 1, H, W]``.
        shifted_prediction: Prediction on the input moved down and to the right, ``[N, 1, H, W]``.
        shift: By this many pixels.
        border: Pixels along each border, before and after, that are left out.

    Returns:
        Scalar.

    Raises:
        ValueError: If nothing is left between the borders.
    """
    height, width = prediction.shape[-2:]
    if min(height, width) <= shift + 2 * border:
        raise ValueError(f"border={border} and shift={shift} leave nothing of a {height}×{width} map")
    moved = prediction[..., border : height - shift - border, border : width - shift - border]
    there = shifted_prediction[..., border + shift : height - border, border + shift : width - border]
    return (moved - there).abs().max()
