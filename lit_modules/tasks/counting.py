"""Crowd counting by density maps."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection

from acda.inference import FLIP
from acda.models.contracts import output_stride
from datamodules.batches import CrowdBatch, PhotographBatch
from lit_modules.callbacks import CountReport, CrowdPredictions
from lit_modules.losses import DensityLoss
from lit_modules.metrics import CountMAE, CountNAE, CountRMSE, count_heads
from lit_modules.output import arrange_panels, draw_dots, draw_heat, draw_photograph, spread_cells
from lit_modules.tasks.base import Stage, StepOutput, Task
from lit_modules.tasks.whole_images import WholeImageNetwork


class CountingTask(Task):
    """Trains a network to estimate the density of heads, or other objects, and reports errors of the counts.

    The target is the density map summed up over the cells of the network's output, times ``density_scale``; a count is
    the sum of the output, in double precision, over ``density_scale``. Logs ``{train,val,test}/mae``,
    ``{val,test}/rmse`` (the papers' MSE) and ``{val,test}/nae`` (relative to the annotated count; NaN where no image
    has heads), and ``loss``. Training counts crops, evaluation whole images. ``test`` also writes the count of each
    image and errors by how dense the crowds are; ``predict`` writes counts, heat maps and the positions of heads, and
    speaks of them as the data does, see :class:`~lit_modules.callbacks.CrowdPredictions`.

    Args:
        network: Maps photographs ``[N, C, H, W]`` to ``[N, 1, ⌈H / s⌉, ⌈W / s⌉]``; s is its ``output_stride``, or,
            if it has no such attribute, follows from the sizes.
        density_scale: What the network gives is the density in heads per cell times this. Without it the targets are
            so small that a network that finds nothing anywhere is hard to improve on.
        loss: Compares output and target, in single precision; None: :class:`~lit_modules.losses.DensityLoss`.
        tile: Evaluate images in parts of this side in pixels, a multiple of the network's ``total_stride``, with the
            surroundings that they depend on: the result is that of the whole image, in less memory. Default: whole.
        self_ensemble: In evaluation take the mean of an image's and its mirror image's density.
        kwargs: Further arguments of :class:`Task`.

    Raises:
        ValueError: If ``density_scale`` is not positive, or ``tile`` does not suit the network's strides.

    Reference:
        Paper section 4.2, Table 3.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        density_scale: float = 100.0,
        loss: nn.Module | None = None,
        tile: int | None = None,
        self_ensemble: bool = False,
        **kwargs: Any,
    ) -> None:
        if density_scale <= 0:
            raise ValueError(f"density_scale must be positive, got {density_scale}")
        for former in kwargs.keys() & {"test_time_flip"}:  # in the hyper-parameters of earlier checkpoints
            self_ensemble = kwargs.pop(former)
        super().__init__(network, **kwargs)
        self.density_scale = density_scale
        self.loss = DensityLoss() if loss is None else loss
        self.on_whole_images = WholeImageNetwork(network, tile, FLIP if self_ensemble else None)
        errors = MetricCollection({"mae": CountMAE(), "rmse": CountRMSE(), "nae": CountNAE()})
        self.train_metrics = MetricCollection({"mae": CountMAE()}, prefix="train/")
        self.val_metrics = errors.clone(prefix="val/")
        self.test_metrics = errors.clone(prefix="test/")

    def default_callbacks(self) -> list[Callback]:
        """Write results of test and predict."""
        return [*super().default_callbacks(), CountReport(), CrowdPredictions()]

    def step(self, batch: CrowdBatch, stage: Stage) -> StepOutput:
        """Take loss and errors of the counts of a batch; the prediction is the density in heads per cell."""
        output = self(batch.image) if stage == "train" else self.on_whole_images(batch.image)
        cell_size = self.cell_size(batch.image, output)
        with torch.autocast(output.device.type, enabled=False):
            output = output.float()
            loss = self.loss(output, sum_cells(batch.density.float(), cell_size) * self.density_scale)
        density = output.detach() / self.density_scale
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        metrics.update(count_heads(density), batch.num_heads)
        self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=stage == "val", batch_size=len(batch.id))
        return StepOutput(loss, density)

    def on_validation_epoch_end(self) -> None:
        """Warn of a network that counts nothing anywhere: with a rectifier at its end it has no gradient, for ever."""
        if self.val_metrics.compute()["val/nae"] == 1 and not self.trainer.sanity_checking:
            rank_zero_warn(
                "network counts nothing in any validation image; if that stays so, a rectifier at its end is stuck at "
                "zero: use another seed, larger initial weights, or an output that has a gradient there"
            )

    def cell_size(self, image: Tensor, output: Tensor) -> int:
        """Tell the side in pixels of the cells that the network divides images into.

        Args:
            image: ``[N, C, H, W]``.
            output: What the network gives for it.

        Returns:
            Pixels of the image between neighbours in the output.

        Raises:
            ValueError: If the output does not have one channel and a cell wherever there is image.
        """
        count, _, height, width = image.shape
        from_sizes = -(-height // max(1, output.shape[-2]))
        size = output_stride(self.network, default=from_sizes)
        expected = [count, 1, -(-height // size), -(-width // size)]
        if list(output.shape) != expected:
            raise ValueError(
                f"network must give densities of shape {expected} for images of shape {list(image.shape)} "
                f"(output_stride={size}), got {list(output.shape)}"
            )
        return size

    def pictures(self, batch: CrowdBatch, prediction: Tensor) -> Iterable[tuple[str, Tensor]]:
        """Draw photograph with heads, annotated and predicted density in one range of colours, with their counts."""
        cell_size = self.cell_size(batch.image, prediction)
        annotated = sum_cells(batch.density.float(), cell_size)
        predicted = count_heads(prediction).tolist()
        height, width = batch.image.shape[2:]
        for i, name in enumerate(batch.id):
            shown = draw_photograph(batch.image[i], 400, batch.mean[i], batch.std[i])
            maps = [
                spread_cells(density[i, 0], cell_size, (height, width), shown) for density in (annotated, prediction)
            ]
            top = max(float(values.max()) for values in maps)
            points = (batch.points[i].cpu() + 0.5) * shown.shape[1] / height - 0.5
            marked = draw_dots(shown, points, radius=max(1, shown.shape[1] // 150))
            titles = (f"annotated {int(batch.num_heads[i])}", f"predicted {predicted[i]:.1f}")
            panels = [(title, draw_heat(values, 0, top)) for title, values in zip(titles, maps, strict=True)]
            yield name, arrange_panels([("photograph", marked), *panels])

    def predict_step(self, batch: PhotographBatch, batch_idx: int) -> Tensor:
        """Give the density in heads per cell, ``[N, 1, h, w]``."""
        return self.on_whole_images(batch.image).float() / self.density_scale


def sum_cells(density: Tensor, cell_size: int) -> Tensor:
    """Sum up a density map over cells.

    Args:
        density: Heads per pixel, ``[N, 1, H, W]``.
        cell_size: Side of a cell in pixels.

    Returns:
        Heads per cell, ``[N, 1, ⌈H / cell_size⌉, ⌈W / cell_size⌉]``; nothing is lost at the borders.
    """
    return F.avg_pool2d(density, cell_size, ceil_mode=True, divisor_override=1)
