"""Image restoration: super-resolution and denoising of photographs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchmetrics import MetricCollection

from acda.inference import ALL_POSES
from acda.models import collapse_pyramid
from acda.models.contracts import HasLevels, fulfils
from datamodules.batches import DegradedBatch, RestorationBatch
from lit_modules.callbacks import RestorationReport, RestoredImages
from lit_modules.errors import UsageError
from lit_modules.losses import PyramidLoss
from lit_modules.metrics import ProtocolName, Score, SsimForm, named_protocol, rgb_to_y
from lit_modules.output import arrange_panels, cut_middle, draw_heat, draw_image
from lit_modules.tasks.base import Stage, StepOutput, Task
from lit_modules.tasks.whole_images import WholeImageNetwork

_SHOWN = 256  # pixels of an image in a picture, along each side
_LARGEST_ERROR = 0.1  # that pictures tell apart
_Y_RANGE = 219 / 255  # of Y / 255, from black to white


class BatchScores(NamedTuple):
    """Scores of a batch, for each image its samples.

    Attributes:
        restored: Of what the network made of the images.
        degraded: Of the images as they came.
    """

    restored: list[list[Score]]
    degraded: list[list[Score]]


@dataclass(frozen=True)
class RestorationOutput(StepOutput):
    """What a step of an evaluation gives; callbacks get the whole.

    Attributes:
        loss: Scalar.
        prediction: Restored images, ``[N, C, H, W]`` in [0, 1].
        scores: Of these images.
    """

    scores: BatchScores


class RestorationTask(Task):
    """Trains a network to restore images, and scores restored images by a stated protocol.

    Logs ``{val,test}/psnr_y`` and ``ssim_y``, or ``psnr`` and ``ssim`` where the protocol takes all channels, the same
    of the images as they came (``{val,test}/psnr_y_input`` …), so that the gain shows, and ``{train,val,test}/loss``.
    Validation and test end with the scores and the protocol in words; in them callbacks get a
    :class:`RestorationOutput`. ``test`` also writes the scores of each image; ``predict`` writes restored images.

    Args:
        network: Maps images ``[N, C, H, W]`` in [0, 1] to restored ones of the same shape; C is as many as the
            images have, or 1 for ``channels="y"``.
        channels: What the network sees of images. ``rgb``: all channels, also one or many. ``y``: Y of YCbCr over 255,
            of RGB images; the loss and the scores are those of Y, and restored images keep the Cb and Cr that they
            came with.
        loss: Compares output and target, in single precision; None: mean squared error.
        protocol: How images are scored: ``per_image``, ``realsr_official`` or ``sidd``, see
            :func:`lit_modules.metrics.named_protocol`.
        shave: Pixels along each border that are not scored.
        ssim: Form of SSIM: ``per_channel`` or ``matlab3d``.
        tile: Evaluate images in parts of this side in pixels, a multiple of the network's ``total_stride``, with the
            surroundings that they depend on: the result is that of the whole image, in less memory. Default: whole.
        self_ensemble: In evaluation take the mean of what the network makes of the eight turns and flips of an image.
        kwargs: Further arguments of :class:`Task`.

    Raises:
        ValueError: If the protocol scores RGB and ``channels`` is ``y``, an argument of the protocol is not allowed,
            ``tile`` does not suit the network's strides, or the loss wants levels that the network does not have.

    Reference:
        Paper section 4.3, Tables 4 and 5.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Literal["rgb", "y"] = "rgb",
        *,
        loss: nn.Module | None = None,
        protocol: ProtocolName = "per_image",
        shave: int = 0,
        ssim: SsimForm = "per_channel",
        tile: int | None = None,
        self_ensemble: bool = False,
        **kwargs: Any,
    ) -> None:
        if channels not in ("rgb", "y"):
            raise ValueError(f"channels must be rgb or y, got {channels!r}")
        super().__init__(network, **kwargs)
        self.on_whole_images = WholeImageNetwork(network, tile, ALL_POSES if self_ensemble else None)
        self.channels = channels
        self.loss = nn.MSELoss() if loss is None else loss
        self.protocol = named_protocol(protocol, shave, ssim)
        if channels == "y" and self.protocol.channels != "y":
            raise ValueError(f"protocol={protocol} scores RGB, which channels=y does not restore: use per_image")
        if isinstance(self.loss, PyramidLoss) and not fulfils(network, HasLevels):
            raise ValueError(f"loss={type(self.loss).__name__} wants levels, which {type(network).__name__} has not")
        metrics = self.protocol.metrics()
        self.score_names = tuple(metrics)
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.val_input_metrics = metrics.clone(prefix="val/", postfix="_input")
        self.test_input_metrics = metrics.clone(prefix="test/", postfix="_input")
        self.scores = BatchScores([], [])

    def default_callbacks(self) -> list[Callback]:
        """Write results of test and predict."""
        return [*super().default_callbacks(), RestorationReport(), RestoredImages()]

    def network_input(self, batch: RestorationBatch) -> Tensor:
        """Cut out the middle of what the network sees of the images."""
        return cut_middle(self.take_channels(batch.image), _SHOWN)

    def take_channels(self, image: Tensor) -> Tensor:
        """Take what the network sees of images ``[N, C, H, W]``: themselves, or Y / 255 ``[N, 1, H, W]`` of RGB ones.

        Raises:
            UsageError: If Y is asked of other than RGB images.
        """
        if self.channels == "y" and image.shape[-3] != 3:
            raise UsageError(f"channels must be rgb for images of {image.shape[-3]} channels, got 'y', which is of RGB")
        return rgb_to_y(image, unit_range=True) if self.channels == "y" else image

    def rebuild_rgb(self, image: Tensor, output: Tensor) -> Tensor:
        """Make images of what the network gives.

        Args:
            image: Degraded images, ``[N, C, H, W]``.
            output: What the network makes of what it sees of them.

        Returns:
            ``[N, C, H, W]``, in [0, 1].
        """
        return (replace_y(image, output) if self.channels == "y" else output).clamp(0, 1)

    def step(self, batch: RestorationBatch, stage: Stage) -> StepOutput:
        """Take the loss of a batch; in evaluation also restore and score its images."""
        image, target = self.take_channels(batch.image), self.take_channels(batch.target)
        if stage == "train":
            return self.train_on(image, target)
        output = _check_shape(self.on_whole_images(image), image)
        scores = self._score(output, target, batch, stage)
        return RestorationOutput(self.compare(output, target), self.rebuild_rgb(batch.image, output), scores)

    def train_on(self, image: Tensor, target: Tensor) -> StepOutput:
        """Apply the network to images of a training, and compare.

        Args:
            image: What the network sees of degraded images, ``[N, C, H, W]``.
            target: The same of clean ones.

        Returns:
            Loss, and what the network makes of the images.
        """
        if isinstance(self.loss, PyramidLoss):
            assert fulfils(self.network, HasLevels)
            levels = [level.float() for level in self.network.levels(image)]
            return StepOutput(self.compare(levels, target), collapse_pyramid(levels).detach())
        output = _check_shape(self.network(image), image)
        return StepOutput(self.compare(output, target), output.detach())

    def compare(self, output: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Take the loss of what the network gives, outside autocast."""
        with torch.autocast(target.device.type, enabled=False):
            loss: Tensor = self.loss(output, target.float())
        return loss

    def _score(self, output: Tensor, target: Tensor, batch: RestorationBatch, stage: Stage) -> BatchScores:
        if self.protocol.channels == "y" and output.shape[1] not in (1, 3):
            raise UsageError(
                f"protocol must be sidd, which scores all channels jointly, for images of {output.shape[1]} channels: "
                "--model.init_args.protocol=sidd"
            )
        batch_scores = BatchScores(self.protocol.score(output, target), self.protocol.score(batch.image, batch.target))
        for scores, name in zip(batch_scores, ("metrics", "input_metrics"), strict=True):
            metrics: MetricCollection = getattr(self, f"{stage}_{name}")
            metrics.update(scores)
            on_bar = stage == "val" and scores is batch_scores.restored
            self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=on_bar, batch_size=len(batch.id))
        return batch_scores

    def summarise(self, stage: Literal["val", "test"]) -> str:
        """Say what the scores of the evaluation that has just ended are, and how they were taken."""
        logged = self.trainer.callback_metrics
        scores = (
            f"{stage}/{name} {logged[f'{stage}/{name}']:.4f} (input {logged[f'{stage}/{name}_input']:.4f})"
            for name in self.score_names
        )
        return f"{', '.join(scores)}: {self.protocol.describe()}"

    def on_validation_end(self) -> None:
        """Say how well it went."""
        if not self.trainer.sanity_checking:
            rank_zero_info(self.summarise("val"))

    def on_test_end(self) -> None:
        """Say how well it went."""
        rank_zero_info(self.summarise("test"))

    def pictures(self, batch: RestorationBatch, output: RestorationOutput) -> Iterable[tuple[str, Tensor]]:
        """Draw each image as it came, restored, and clean: its middle, with the PSNR of the whole; and the error."""
        shown = (batch.image, output.prediction, batch.target)
        for i, name in enumerate(batch.id):
            image, restored, target = (cut_middle(images[i], _SHOWN) for images in shown)
            came, became = (sum(s.psnr for s in scores[i]) / len(scores[i]) for scores in reversed(output.scores))
            panels = [
                (f"input {came:.2f} dB", draw_image(image, 0, 1)),
                (f"output {became:.2f} dB", draw_image(restored, 0, 1)),
                ("target", draw_image(target, 0, 1)),
            ]
            yield name, arrange_panels([*panels, *self.draw_maps(image, restored, target)])

    def draw_maps(self, image: Tensor, restored: Tensor, target: Tensor) -> list[tuple[str, Tensor]]:
        """Draw what a picture of an image shows beside it: where it differs from its target, and by how much.

        Args:
            image: Part of a degraded image, ``[C, h, w]``.
            restored: The same part restored.
            target: The same part of the clean image.

        Returns:
            Title and RGB picture, uint8 ``[3, h, w]``, each.
        """
        error = (self.take_channels(restored) - self.take_channels(target)).abs().mean(dim=0)
        return [(f"|error|, 0 to {_LARGEST_ERROR:g}", draw_heat(error, 0, _LARGEST_ERROR))]

    def predict_step(self, batch: DegradedBatch, batch_idx: int) -> Tensor:
        """Give restored images, float32 ``[N, C, H, W]`` in [0, 1]."""
        image = self.take_channels(batch.image)
        return self.rebuild_rgb(batch.image, _check_shape(self.on_whole_images(image), image))


def replace_y(image: Tensor, y: Tensor) -> Tensor:
    """Give RGB images another Y; Cb and Cr stay what they are.

    Of a number that is added to R, G and B alike, Cb and Cr, whose weights add up to nothing, take no notice.

    Args:
        image: RGB, ``[N, 3, H, W]`` in [0, 1].
        y: Y / 255, ``[N, 1, H, W]``.

    Returns:
        RGB, ``[N, 3, H, W]``; may leave [0, 1].
    """
    return image + (y - rgb_to_y(image, unit_range=True)) / _Y_RANGE


def _check_shape(output: Tensor, image: Tensor) -> Tensor:
    """Make sure that an output is an image like the one it was made of; gives it in single precision."""
    if output.shape != image.shape:
        raise ValueError(
            f"network must give images of the shape it is given, {list(image.shape)}, got {list(output.shape)}"
        )
    return output.float()
